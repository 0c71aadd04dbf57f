"""Many games of Pong against the live policy, from this process or from Ray workers."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import signal
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from serving import ROOT
from serving.client import PolicyClient
from serving.command_line import uninterrupted
from serving.logs import LogError, LogWriter
from serving.pong import PongEnv
from serving.pong.env import ACTION_SIZE, OBSERVATION_SIZE
from serving.protocol import PolicyServerError

LATEST_POINTS = 50  # that the progress bar's share is of
SECONDS_TO_START = 120.0  # for workers
SECONDS_TO_STOP = 10.0  # for workers to break off their games
PATIENCE = 2.0  # seconds for an answer that is waited for when Ctrl-C comes
MOST_DEATHS = 10  # of workers in a row, with no game finished in between


class Game(NamedTuple):
    """What came of a game. `points`: 1 won, 0 lost, in order; `episode` as serving.logs has it, or
    empty if it was not to be kept."""

    number: int
    steps: int
    points: list[int]
    episode: list[dict]


class GamePlan(NamedTuple):
    """How to play: all that a player in another process needs to know."""

    policy_server: str
    level: str
    train: bool
    off_policy: bool
    keep: bool
    seed: int

    def player(self) -> Player:
        return Player(self)


class Player:
    """Plays games, one after the other."""

    def __init__(self, plan: GamePlan):
        self.plan = plan
        self.client = PolicyClient(plan.policy_server, quiet=True)
        self.env = PongEnv(plan.level)
        self.stopped = False

    def play(self, number: int) -> Game:
        """Plays game `number`; equal numbers under equal seeds are equal games, as far as the
        policy is. If stopped or interrupted, the episode ends as truncated."""
        plan, client = self.plan, self.client
        rng = np.random.default_rng([plan.seed, number])
        observation, _ = self.env.reset(seed=int(rng.integers(2**31)))
        episode_id = uuid.uuid4().hex  # ours, so that also a start that is interrupted can be ended
        steps, points, episode = 0, [], []
        done = terminated = truncated = False
        try:
            client.start_episode(episode_id, training_enabled=plan.train)
            while not (done or self.stopped):
                if plan.off_policy:
                    action = int(rng.integers(ACTION_SIZE))
                    client.log_action(episode_id, observation, action)
                else:
                    action = client.get_action(episode_id, observation)
                seen = observation
                observation, reward, terminated, truncated, info = self.env.step(action)
                client.log_returns(episode_id, reward)
                steps, done = steps + 1, terminated or truncated
                if info["event"].endswith("scores"):
                    points.append(int(info["event"] == "right scores"))
                if plan.keep:
                    episode.append({"obs": seen.tolist(), "action": action, "reward": reward})
            if episode and not terminated:
                episode[-1]["truncated"] = True
            client.end_episode(episode_id, observation, truncated=truncated or not done)
        except BaseException:
            with contextlib.suppress(PolicyServerError):
                client.end_episode(episode_id, observation, truncated=True)
            raise
        return Game(number, steps, points, episode)

    def ready(self) -> bool:
        """An answer says that the process is up, and has imported what it needs."""
        return True

    def stop(self) -> None:
        """Breaks off the game that is being played in another thread."""
        self.stopped = True


# -- on Ray -----------------------------------------------------------------------------------------


class WorkerPool:
    """Players in processes of their own, on this machine or anywhere on Ray's cluster.

    A worker that dies is replaced, and its game played again: none is lost, none counts twice.
    """

    def __init__(self, plan: GamePlan, workers: int, ray_address: str):
        import ray

        from serving.ray_cluster import attach_ray

        self._ray = ray
        attach_ray(ray_address)
        environment = {"env_vars": {"PYTHONPATH": str(ROOT)}}
        if len(ray.nodes()) > 1:  # other machines need not have the kit
            environment = {"py_modules": [str(ROOT / "serving")]}
        # They mostly wait for the policy server, so they need not have a CPU each; two threads, so
        # that a worker hears stop() while it plays.
        self._worker = ray.remote(Player).options(
            num_cpus=0,
            max_concurrency=2,
            scheduling_strategy="SPREAD",
            runtime_env=environment,
        )
        self._plan = plan
        self._playing: dict = {}  # what ray.wait() waits for -> (worker, game number)
        self._workers = [self._worker.remote(plan) for _ in range(workers)]
        self.deaths = 0

    def wait(self) -> None:
        """Waits until all workers are up."""
        ray = self._ray
        try:
            ray.get([worker.ready.remote() for worker in self._workers], timeout=SECONDS_TO_START)
        except ray.exceptions.GetTimeoutError:
            raise RolloutError(
                f"Ray has not started {len(self._workers)} workers within {SECONDS_TO_START:.0f} s"
            ) from None
        except ray.exceptions.RayError as error:
            raise RolloutError(f"Ray cannot start the workers: {error}") from None

    def games(self, numbers: Iterator[int]) -> Iterator[Game]:
        """Plays the games with these numbers; yields them as they end."""
        ray, deaths_in_a_row = self._ray, 0
        for worker, number in zip(self._workers, numbers):
            self._play(worker, number)
        while self._playing:
            for reference in ray.wait(list(self._playing), timeout=1.0)[0]:
                worker, number = self._playing.pop(reference)
                try:
                    game = ray.get(reference)
                except ray.exceptions.RayActorError as error:
                    self.deaths, deaths_in_a_row = self.deaths + 1, deaths_in_a_row + 1
                    if deaths_in_a_row > MOST_DEATHS:
                        raise RolloutError(f"the workers keep dying: {error}") from None
                    self._play(self._successor(worker), number)
                    continue
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from None
                deaths_in_a_row = 0
                yield game
                for number in itertools.islice(numbers, 1):
                    self._play(worker, number)

    def close(self) -> None:
        """Breaks off what is being played, waits a little for it, and ends the workers."""
        ray = self._ray
        for worker in self._workers:
            worker.stop.remote()
        if self._playing:
            ray.wait(list(self._playing), num_returns=len(self._playing), timeout=SECONDS_TO_STOP)
        for worker in self._workers:
            ray.kill(worker)
        self._playing.clear()
        ray.shutdown()

    def _successor(self, dead):
        self._workers.remove(dead)
        self._workers.append(self._worker.remote(self._plan))
        return self._workers[-1]

    def _play(self, worker, number: int) -> None:
        self._playing[worker.play.remote(number)] = worker, number


# -- the command ------------------------------------------------------------------------------------


class RolloutError(Exception):
    """There is no going on; one sentence says why."""


class Score:
    """What has been played so far, and the progress bar that shows it."""

    def __init__(self, games: int | None, steps: int | None, quiet: bool):
        self.games = self.steps = self.won = self.points = 0
        self.latest: deque[int] = deque(maxlen=LATEST_POINTS)
        self._started = time.monotonic()
        self._by_steps = steps is not None
        self._bar = tqdm(
            desc="0 games",
            total=steps if self._by_steps else games,
            disable=quiet,
            bar_format="{percentage:3.0f}%|{bar:20}| {desc}, {remaining} left"
            if games or steps
            else "{desc}, {elapsed}",
        )

    def add(self, game: Game) -> None:
        self.games, self.steps = self.games + 1, self.steps + game.steps
        self.won, self.points = self.won + sum(game.points), self.points + len(game.points)
        self.latest.extend(game.points)
        self._bar.set_description_str(
            f"{self.games:,} games, {self.rate:,.0f} steps/s, won {share(self.latest)} of the "
            f"last {len(self.latest)} points",
            refresh=False,
        )
        done, wanted = self.steps if self._by_steps else self.games, self._bar.total
        # The last game seldom ends with the very step; a bar that is more than full shows nothing.
        self._bar.update((done if wanted is None else min(done, wanted)) - self._bar.n)

    @property
    def rate(self) -> float:
        return self.steps / max(time.monotonic() - self._started, 1e-3)

    def close(self) -> str:
        """Ends the bar; returns what to say at last."""
        self._bar.close()
        seconds = time.monotonic() - self._started
        won = f"{self.won / self.points:.0%}" if self.points else "none"
        return (
            f"{self.games:,} games, {self.steps:,} steps in {seconds:.0f} s "
            f"({self.rate:,.0f} steps/s); won {won} of {self.points:,} points, "
            f"{share(self.latest)} of the last {len(self.latest)}"
        )


def share(points: deque[int]) -> str:
    return f"{sum(points) / len(points):.0%}" if points else "none"


def numbers(more: Callable[[], bool]) -> Iterator[int]:
    """Numbers of games to play, for as long as there are more to be played."""
    for number in itertools.count():
        if not more():
            return
        yield number


def play(options: argparse.Namespace) -> None:
    """Plays until --games, --steps or Ctrl-C; what was played is counted, shown and written."""
    begun = 0

    def more() -> bool:
        nonlocal begun
        begun += 1
        if player.stopped:
            return False
        few_games = options.games is None or begun <= options.games
        return few_games and (options.steps is None or score.steps < options.steps)

    plan = GamePlan(
        policy_server=options.policy_server,
        level=options.level,
        train=not options.no_train,
        off_policy=options.off_policy,
        keep=options.out is not None,
        seed=options.seed,
    )
    player = plan.player()
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(LogWriter(options.out)) if options.out else None
        pool = None
        if options.num_workers:
            print(f"starting {options.num_workers} Ray workers ...", flush=True)
            pool = WorkerPool(plan, options.num_workers, options.ray_address)
            stack.callback(pool.close)
            pool.wait()
        else:
            stack.enter_context(ended_between_steps(player))
        score = Score(options.games, options.steps, options.quiet)
        try:
            many = numbers(more)
            for game in pool.games(many) if pool else map(player.play, many):
                if not game.steps:
                    continue  # broken off before it began
                with uninterrupted():  # what is counted is written
                    score.add(game)
                    if log:
                        log.write(game.episode)
        except KeyboardInterrupt:
            pass  # the usual way to end
        finally:
            said = score.close()
    print(said, flush=True)
    if log:
        print(f"wrote {log.episodes:,} games to {options.out}", flush=True)


@contextlib.contextmanager
def ended_between_steps(player: Player) -> Iterator[None]:
    """While the block runs, Ctrl-C ends the player's game between two steps. If it hit a question
    on its way, nobody could say whether an action counts whose answer was never heard.

    Who waits for an answer longer than PATIENCE, or presses Ctrl-C again, is interrupted anyway.
    """

    def end(signum, frame) -> None:
        player.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)

    before = signal.signal(signal.SIGINT, end)
    rung = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, rung)
        signal.signal(signal.SIGINT, before)


def check_server(address: str) -> None:
    """Raises unless a policy server of Pong's sizes is there."""
    status = PolicyClient(address, quiet=True, timeout=10.0).status()
    sizes = status.observation_size, status.action_size
    if sizes != (OBSERVATION_SIZE, ACTION_SIZE):
        raise RolloutError(
            f"the policy server at {address} was started with --observation-size={sizes[0]} and "
            f"--action-size={sizes[1]}: Pong needs {OBSERVATION_SIZE} and {ACTION_SIZE}"
        )


def run(options: argparse.Namespace) -> int:
    """Plays as the options of `do_rollouts.py` say; the exit code."""
    try:
        check_server(options.policy_server)
        play(options)
    except (RolloutError, PolicyServerError, LogError) as error:
        print(f"do_rollouts: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
