"""What answers to the exercises on Pong should do, and what went wrong if they do not.

Games are compared as `serving.exercises.serve_and_learn` compares episodes; what is new is that points are counted,
whole games are evaluated, and that somebody has to start the right server first.
"""

from __future__ import annotations

import itertools
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np

from serving.client import PolicyClient
from serving.evaluation import RecordedEpisode, RecordingEnv, time_limit
from serving.exercises.findings import Findings, equal, explain, report
from serving.exercises.played_episodes import (
    LATEST,
    TOPICS,
    Task,
    compare_all,
    known_to,
    share_an_observation,
    watch,
)
from serving.exercises.visible import a_server_for, findings_of, require, require_all, show
from serving.pong.env import ACTION_SIZE, OBSERVATION_SIZE, PongEnv
from serving.protocol import PolicyServerError, Status, Transcript
from serving.running_server import SCRIPT, RunningServer

SERVER_TOPICS = {
    "sizes": "it takes observations and gives actions of Pong's sizes",
    "run": "it learns with DQN",
    "alive": "its learner is well",
    "kept": "what it learns is kept in the file pong",
}
SHARE_TOPICS = {
    "share": "the function returns the share of points that were won",
    "evaluation": "the games are the policy's, and the server does not learn from them",
}
TRAIN_TOPICS = {
    "steps": "whole games are played until there are enough steps, and the steps are returned",
    "training": "the server learns from every game what happened in it",
}
SECONDS_FOR_AN_ANSWER = 2.0
SECONDS_FOR_GAMES = 60.0  # most of which may be waiting for the learner to start


def points(episode: RecordedEpisode) -> tuple[int, int]:
    """Points won and lost in a game, by what the environment paid for them."""
    rewards = np.array(episode.rewards)
    return int((rewards > 0.5).sum()), int((rewards < -0.5).sum())


PLAY_GAME = Task(
    "play_game",
    lambda game: (*points(game), len(game.actions)),
    "points won, points lost and steps",
    {**TOPICS, "result": "the function returns points won, points lost and steps"},
)


# -- the server -------------------------------------------------------------------------------------


def inspect_server(status: Status) -> Findings:
    """Whether this is a policy server to play Pong with; topics are SERVER_TOPICS."""
    findings = Findings()
    for what, option, seen, expected in (
        ("an observation of Pong", "observation-size", status.observation_size, OBSERVATION_SIZE),
        ("Pong's choice of actions", "action-size", status.action_size, ACTION_SIZE),
    ):
        if seen != expected:
            findings.add(
                "sizes",
                f"the server was started with --{option}={seen}, which does not fit {what}: look "
                "at the tables above, and count",
            )
    if status.run != "DQN":
        findings.add("run", f"the server was started with --run={status.run}, expected --run=DQN")
    if status.state == "failed":
        findings.add("alive", f"learning has failed: {status.why}; the terminal says more")
    # Without --checkpoint-file it saves to a folder that it removes when it ends.
    if not Path(status.checkpoint_file or "").name.startswith("pong"):
        findings.add(
            "kept",
            "the server was not started with --checkpoint-file=pong: then it forgets everything "
            "when it stops, or overwrites what belongs to another game",
        )
    return findings


def try_command(command) -> Findings:
    """Starts what this command line starts, on a free port, and inspects it."""
    findings = Findings()
    try:
        with tempfile.TemporaryDirectory(prefix="policy-server-") as folder:
            server = CommandedServer(command, Path(folder))
            try:
                return inspect_server(server.start().client().status())
            finally:
                server.stop()
    except NoCommand as error:
        said = str(error)
    except (RuntimeError, PolicyServerError):
        last = server.lines[-1] if server.lines else "nothing"
        said = f"your command does not start a policy server; it said: {last}"
    for topic in SERVER_TOPICS:
        findings.add(topic, said)
    return findings


class NoCommand(ValueError):
    """This is no command line that starts a policy server."""


class CommandedServer(RunningServer):
    """The policy server that a command line starts, on a free port and in a folder of its own.

    Raises NoCommand if that is no command that starts one.
    """

    def __init__(self, command, folder: Path):
        super().__init__(OBSERVATION_SIZE, ACTION_SIZE)
        try:
            words = shlex.split(command.replace("\\\n", " "))
        except (AttributeError, ValueError) as error:
            raise NoCommand(f"{command!r} is no command: {error}") from None
        if not (
            len(words) > 1
            and Path(words[0]).name.startswith("python")
            and words[1].endswith(f"serving/{SCRIPT.name}")
        ):
            raise NoCommand(
                f"the command is {command!r}, expected python serving/{SCRIPT.name} and its options"
            )
        self.folder = folder
        self.command[2:] = [*words[2:], "--port=0", "--stop-with-stdin", "--no-learner"]


# -- games ------------------------------------------------------------------------------------------


def watch_share(
    share_of_points: Callable, env: gym.Env, client: PolicyClient, games: int
) -> Findings:
    """Lets the function evaluate the policy in `env`; topics are SHARE_TOPICS."""
    findings, recording, known = Findings(), RecordingEnv(env), known_to(client)
    answer = error = None
    try:
        with time_limit(SECONDS_FOR_GAMES, f"share_of_points(env, {games})"):
            answer = share_of_points(recording, games)
    except (Exception, SystemExit) as raised:  # noqa: BLE001 - it is the student's code
        error = explain(raised, "share_of_points")
    played, transcripts = _since(known, client, recording)
    if wrong := _wrong_evaluation(played, transcripts, games):
        findings.add("evaluation", error or wrong)
    if error:
        findings.add("share", error)
    else:
        _compare_share(findings, played, answer)
    return findings


def _wrong_evaluation(
    played: list[RecordedEpisode], transcripts: list[Transcript], games: int
) -> str | None:
    """What is wrong with these games as an evaluation of the policy."""
    ended = sum(game.done for game in played)
    if ended != games or len(played) != games:
        return f"{ended} games were played to their end, expected {games}"
    if not transcripts:
        return (
            "the policy server saw nothing of these games: ask get_action() about every "
            "observation, and play what it answers"
        )
    if any(transcript.training_enabled for transcript in transcripts):
        return "the server learns from these games: start them with training_enabled=False"
    if len(transcripts) != games:
        return f"{games} games were played, and the server saw {len(transcripts)} episodes"
    if wrong_calls := compare_all(played, transcripts, training=False).of("calls"):
        return wrong_calls[0]
    if any(transcript.ending is None for transcript in transcripts):
        return "a game was never ended: call end_episode() when it is over"
    return None


def _compare_share(findings: Findings, played: list[RecordedEpisode], answer) -> None:
    won, lost = np.sum([points(game) for game in played] or [(0, 0)], axis=0)
    expected = won / (won + lost) if won + lost else 0.0
    if equal(expected, answer):
        return
    of_games = [points(game) for game in played]
    hints = {
        "that is the number of points won; divide it by the points of both sides": won,
        "a share is a number from 0 to 1": 100 * expected,
        "that is won against lost; divide by the points of both sides": won / max(lost, 1),
        "that is the share of points lost": 1 - expected,
        "count points, not games": np.mean([mine > other for mine, other in of_games] or [0]),
        "that is the mean of the games' shares, in which a point of a short game counts more than "
        "one of a long game: add up the points of all games, then divide": np.mean(
            [mine / max(1, mine + other) for mine, other in of_games] or [0]
        ),
    }
    hint = next((hint for hint, wrong in hints.items() if equal(wrong, answer)), None)
    findings.add(
        "share",
        f"share_of_points returned {answer!r}, expected {expected:.4g}: of {won + lost} points "
        f"the policy won {won}{'; ' + hint if hint else ''}",
    )


def watch_train(train: Callable, env: gym.Env, client: PolicyClient, steps: int) -> Findings:
    """Lets the function play so many steps of training in `env`; topics are TRAIN_TOPICS."""
    findings, recording, known = Findings(), RecordingEnv(env), known_to(client)
    call = f"train(env, {steps})"
    try:
        with time_limit(SECONDS_FOR_GAMES, call):
            answer = train(recording, steps)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the student's code
        for topic in TRAIN_TOPICS:
            findings.add(topic, explain(error, "train"))
        return findings
    played, transcripts = _since(known, client, recording)
    made = sum(len(game.actions) for game in played)
    before_the_last = made - len(played[-1].actions) if played else 0
    if left := [game for game in played if not game.done]:
        findings.add("steps", f"a game was left after {len(left[0].actions)} steps: play it on")
    elif made < steps:
        findings.add("steps", f"{call} stopped after {made} steps")
    elif before_the_last >= steps:
        findings.add(
            "steps",
            f"{call} began another game after {before_the_last} steps: the game in which {steps} "
            "are reached is the last one",
        )
    elif not equal(made, answer):
        findings.add("steps", f"{call} returned {answer!r}, expected the steps it made, {made}")
    if len(transcripts) != len(played):
        findings.add(
            "training",
            f"the environment played {len(played)} games, and the server saw {len(transcripts)}",
        )
    else:
        for sentence in compare_all(played, transcripts).of():
            findings.add("training", sentence)
    return findings


def _since(
    known: set[str], client: PolicyClient, recording: RecordingEnv
) -> tuple[list[RecordedEpisode], list[Transcript]]:
    """The games that were played in `recording`, and what the server saw of them."""
    played = [game for game in recording.episodes if game.actions]
    transcripts = [
        transcript
        for transcript in client.episodes(last=LATEST).episodes
        if transcript.episode_id not in known and share_an_observation(played, transcript)
    ]
    return played, transcripts


class ShortGame(gym.Wrapper):
    """A game of Pong that is over after so many points, of which each takes a beginner about 50
    steps."""

    def __init__(self, env: gym.Env, points: int):
        super().__init__(env)
        self._points = points

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        terminated = terminated or sum(info["score"]) >= self._points
        return observation, reward, terminated, truncated and not terminated, info


class DrawnGames(gym.Env):
    """Looks like Pong, and what happens is drawn, whatever the paddle does: a policy that knows
    nothing meets points of both sides here, and games of any length.

    lengths
        steps of the games, one after the other, and again from the beginning
    endings
        of these games: "terminated", "truncated", or "both", as when the last point falls in the
        very step in which the time is up
    chances
        of each of `EVENTS` at a step, of these games
    """

    EVENTS = ("", "left hits", "right hits", "left scores", "right scores")
    PAYS = (0.0, 0.0, 0.1, -1.0, 1.0)
    observation_space, action_space = PongEnv().observation_space, PongEnv().action_space

    def __init__(
        self,
        seed: int,
        lengths: tuple[int, ...],
        endings: tuple[str, ...] = ("terminated", "truncated"),
        chances: tuple[tuple[float, ...], ...] = ((0.3, 0.1, 0.2, 0.25, 0.15),),
    ):
        self._rng = np.random.default_rng(seed)
        self._games = zip(*map(itertools.cycle, (lengths, endings, chances)))

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        self._left, self._ending, self._chances = next(self._games)
        self._score = [0, 0]
        return self._look(), {"event": "", "score": (0, 0)}

    def step(self, action):
        self._left -= 1
        event = int(self._rng.choice(len(self.EVENTS), p=self._chances))
        name = self.EVENTS[event]
        if name.endswith("scores"):
            self._score[name == "right scores"] += 1
        terminated = not self._left and self._ending != "truncated"
        truncated = not self._left and self._ending != "terminated"
        info = {"event": name, "score": tuple(self._score)}
        return self._look(), self.PAYS[event], terminated, truncated, info

    def _look(self) -> np.ndarray:
        return self._rng.uniform(-1, 1, OBSERVATION_SIZE).astype(np.float32)


# Chances: the two of a tie come one after the other.
NOBODY_SCORES = ((0.5, 0.25, 0.25, 0.0, 0.0),)
A_WHITEWASH, A_TIE = ((0, 0, 0, 0, 1),), ((0, 0, 0, 0, 1), (0, 0, 0, 1, 0))


# -- what the lesson shows --------------------------------------------------------------------------


def check_server(client: PolicyClient) -> bool:
    """Asks the server for its status, and prints what is right and what is not."""
    print(f"Asking {client.address}/status ...")
    start_again = "stop the server with Ctrl-C, correct the command, start it again, check again"
    try:
        status = PolicyClient(client.address, timeout=SECONDS_FOR_AN_ANSWER).status()
    except PolicyServerError as error:
        print(f"✗ {error}\n    Type your command into a terminal, and leave that open.")
        return False
    right = report(inspect_server(status), SERVER_TOPICS, start_again)
    if right and status.state == "starting":
        print("Its learner is starting: it acts already, and learns in a few seconds.")
    return right


def examine_play_game(play_game: Callable, client: PolicyClient, longest: int = 700) -> Findings:
    """Games of all lengths and endings, with and without training; topics are those of PLAY_GAME.

    longest: steps of a game in which the policy survives."""
    endings = ("terminated", "truncated", "both")
    for env, games, arguments in (
        (DrawnGames(1, (9, 1, 14), endings), 3, {}),
        (DrawnGames(2, (12, 5), ("truncated", "terminated")), 2, {"training_enabled": False}),
        (_short_game(), 1, {}),  # not first: what shows in it depends on how the policy plays
        (DrawnGames(3, (longest,), ("truncated",)), 1, {"training_enabled": False}),
    ):
        findings = watch(play_game, env, client, games, task=PLAY_GAME, **arguments)
        if findings:
            break
    return findings


def examine_share(share_of_points: Callable, client: PolicyClient) -> Findings:
    """Games with points of both sides, of none, of one, a tie, real ones; topics are SHARE_TOPICS."""
    for env, games in (
        (DrawnGames(4, (21, 6, 40, 11)), 4),
        (DrawnGames(5, (8, 3), chances=NOBODY_SCORES), 2),
        (DrawnGames(7, (3,), chances=A_WHITEWASH), 1),
        (DrawnGames(8, (4,), chances=A_TIE), 2),
        (_short_game(), 2),
    ):
        findings = watch_share(share_of_points, env, client, games)
        if findings:
            break
    return findings


def examine_train(train: Callable, client: PolicyClient) -> Findings:
    """Training that ends with a game exactly, within a game, and with the first one; topics are
    TRAIN_TOPICS."""
    for lengths, steps in (((10,), 30), ((17, 5, 23), 40), ((30,), 7)):
        findings = watch_train(train, DrawnGames(6, lengths), client, steps)
        if findings:
            break
    return findings


def check_play_game(play_game: Callable) -> bool:
    """Plays a few games against a server of its own, and prints what is right and what is not."""
    says = (
        "Playing seven games, short and long ones, against a policy server of this check's own ..."
    )
    return show(lambda: _of_play_game(play_game), PLAY_GAME.topics, says)


def check_share_of_points(share_of_points: Callable) -> bool:
    """The same for a function that evaluates."""
    says = "Evaluating eleven short games, against a policy server of this check's own ..."
    return show(lambda: _of_share(share_of_points), SHARE_TOPICS, says)


def check_train(train: Callable) -> bool:
    """The same for a function that trains."""
    says = "Training for 30, 40 and 7 steps, with a policy server of this check's own ..."
    return show(lambda: _of_train(train), TRAIN_TOPICS, says)


def require_server(command) -> None:
    """Raises AssertionError unless the command starts a server for Pong."""
    require_all(lambda: try_command(command), SERVER_TOPICS)


def require_play_game(play_game: Callable, topic: str) -> None:
    """Raises AssertionError with what is wrong about `topic`, one of PLAY_GAME's."""
    require(lambda: findings_of(play_game, _of_play_game), topic, PLAY_GAME.topics)


def require_share(share_of_points: Callable, topic: str) -> None:
    """Raises AssertionError with what is wrong about `topic`, one of SHARE_TOPICS."""
    require(lambda: findings_of(share_of_points, _of_share), topic, SHARE_TOPICS)


def require_train(train: Callable) -> None:
    """Raises AssertionError with what is wrong about `train`."""
    require_all(lambda: findings_of(train, _of_train), TRAIN_TOPICS)


def _of_play_game(play_game: Callable) -> Findings:
    with a_server_for(play_game, OBSERVATION_SIZE, ACTION_SIZE) as client:
        return examine_play_game(play_game, client)


def _of_share(share_of_points: Callable) -> Findings:
    with a_server_for(share_of_points, OBSERVATION_SIZE, ACTION_SIZE) as client:
        return examine_share(share_of_points, client)


def _of_train(train: Callable) -> Findings:
    with a_server_for(train, OBSERVATION_SIZE, ACTION_SIZE) as client:
        return examine_train(train, client)


def _short_game() -> gym.Env:
    """To the first point, 100 steps at most: a good policy rallies for long."""
    return ShortGame(gym.wrappers.TimeLimit(PongEnv(), max_episode_steps=100), points=1)
