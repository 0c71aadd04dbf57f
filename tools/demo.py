#!/usr/bin/env python
"""Shows a policy server learn CartPole while it is being played, in the terminal, in a minute.

    make demo

Everything in it is real: the server is the one the lessons use, on a free port, and it starts from
a policy that knows nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import os
import shutil
import threading
import time
from dataclasses import dataclass, field

import gymnasium as gym
import numpy as np

from serving.client import PolicyClient
from serving.protocol import PolicyServerError, Status
from serving.running_server import RunningServer

TARGET = 195.0  # mean return of AVERAGED episodes
AVERAGED = 20
CAP = 200  # steps an episode
SECONDS = 40.0  # to learn in, from when the learner is up
SECONDS_TO_START = 90.0
EVALUATION_EPISODES = 20
BARS = "▁▂▃▄▅▆▇█"


@dataclass
class Run:
    """What the player has seen so far; written by its thread, read by the display."""

    limit: float = SECONDS  # seconds of learning
    started: float = field(default_factory=time.monotonic)
    learner_up: float | None = None  # seconds after the command
    returns: list[float] = field(default_factory=list)
    steps: int = 0
    first_action: float | None = None  # seconds after the command
    solved: float | None = None  # seconds after the command
    error: str | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    @property
    def left(self) -> float:
        """Seconds that are left to learn in; all of them, as long as the learner starts."""
        since = self.elapsed if self.learner_up is None else self.learner_up
        return max(0.0, self.limit - (self.elapsed - since))

    @property
    def mean(self) -> float | None:
        latest = self.returns[-AVERAGED:]
        return float(np.mean(latest)) if latest else None


def make_env() -> gym.Env:
    return gym.make("CartPole-v1", max_episode_steps=CAP)


def play_episode(client: PolicyClient, env: gym.Env, run: Run, training: bool) -> float | None:
    """One episode against the server; its return, or None if it was stopped on the way."""
    observation, _ = env.reset()
    episode_id = client.start_episode(training_enabled=training)
    total, terminated, truncated = 0.0, False, False
    while not (terminated or truncated):
        action = client.get_action(episode_id, observation)
        if run.first_action is None:
            run.first_action = run.elapsed
        observation, reward, terminated, truncated, _ = env.step(action)
        client.log_returns(episode_id, reward)
        total += reward
        run.steps += training
        if run.stop.is_set():
            return None
    client.end_episode(episode_id, observation, truncated)
    return total


def play(client: PolicyClient, run: Run) -> None:
    """Episodes until the target is reached or somebody says stop."""
    env = make_env()
    env.reset(seed=int(time.time()))
    try:
        while not run.stop.is_set():
            total = play_episode(client, env, run, training=True)
            if total is None:
                return
            run.returns.append(total)
            if len(run.returns) >= AVERAGED and run.mean >= TARGET:
                run.solved = run.elapsed
                return
    except PolicyServerError as error:
        run.error = str(error)
    finally:
        env.close()


def bar(share: float, width: int) -> str:
    full = round(max(0.0, min(1.0, share)) * width)
    return "█" * full + "░" * (width - full)


def curve(returns: list[float], width: int) -> str:
    """The learning curve as a row of blocks; a block is the mean of a few episodes."""
    if not returns:
        return ""
    parts = np.array_split(np.array(returns), min(width, len(returns)))
    return "".join(BARS[min(7, int(part.mean() / CAP * 8))] for part in parts)


def doing(status: Status | None) -> str:
    if status is None:
        return "starting the policy server"
    if status.state in ("starting", "restarting") or not status.updates:
        what = status.why or "collecting the first experience"
        return f"the learner starts: {what} (up to 15 s where no Ray runs)"
    return f"{status.state}, {status.updates_per_second:.0f} updates/s"


class Display:
    """Draws a run: in place on a terminal, a line now and then into a file or a pipe."""

    def __init__(self, run: Run):
        self.run = run
        self.live = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._height = 0
        self._said = -3.0

    def draw(self, status: Status | None, last: bool = False) -> None:
        if self.live:
            self._erase()
            lines = self.lines(status)
            width = shutil.get_terminal_size().columns - 1
            print("\n".join(line[:width] for line in lines), flush=True)
            self._height = len(lines)
        elif last or self.run.elapsed - self._said >= 3.0:
            self._said = self.run.elapsed
            print(self.line(status), flush=True)

    def lines(self, status: Status | None) -> list[str]:
        run = self.run
        width = max(20, min(60, shutil.get_terminal_size().columns - 24))
        mean = run.mean or 0.0
        exploration = 1.0 if status is None else status.exploration
        return [
            f"  mean return  {bar(mean / TARGET, width)} {mean:5.1f} of {TARGET:.0f}",
            f"  time         {bar(1 - run.left / run.limit, width)} at most {run.left:2.0f} s left",
            f"  curve        {curve(run.returns, width)}",
            "",
            f"  {len(run.returns)} episodes   {run.steps:,} steps   "
            f"{status.updates if status else 0:,} updates   exploration {exploration:.2f}   "
            f"policy v{status.policy_version if status else 0}",
            f"  {doing(status)}",
        ]

    def line(self, status: Status | None) -> str:
        run = self.run
        mean = "  -  " if run.mean is None else f"{run.mean:5.1f}"
        return (
            f"{run.elapsed:4.0f} s  mean return {mean} of {TARGET:.0f}  "
            f"episodes {len(run.returns):4}  steps {run.steps:6,}  {doing(status)}"
        )

    def _erase(self) -> None:
        if self._height:
            print(f"\x1b[{self._height}A\x1b[J", end="")


def watch(client: PolicyClient, run: Run) -> Status:
    """Lets the player play and shows how it is going, until the target or the limit is reached."""
    display = Display(run)
    player = threading.Thread(target=play, args=(client, run), daemon=True)
    player.start()
    try:
        while player.is_alive() and run.left:
            status = client.status()
            if run.learner_up is None and status.updates:
                run.learner_up = run.elapsed
            display.draw(status)
            if status.state == "failed":
                run.error = f"the learner has failed: {status.why}"
                break
            if run.learner_up is None and run.elapsed > SECONDS_TO_START:
                run.error = f"the learner is not up after {SECONDS_TO_START:.0f} s: {status.why}"
                break
            player.join(0.2)
    finally:
        run.stop.set()
    player.join(3.0)
    status = client.status()
    display.draw(status, last=True)
    return status


def evaluate(client: PolicyClient) -> list[float]:
    """Returns of episodes that are greedy and not learned from."""
    env, run = make_env(), Run()
    try:
        env.reset(seed=int(time.time()) + 1)
        return [play_episode(client, env, run, training=False) for _ in range(EVALUATION_EPISODES)]
    finally:
        env.close()


def summary(run: Run, status: Status, returns: list[float]) -> str:
    began = np.mean(run.returns[:AVERAGED]) if run.returns else 0.0
    if run.solved is not None:
        learned = f"Learned in {run.solved:.1f} s after the command."
    else:
        learned = (
            f"Not quite there in {run.elapsed:.0f} s: a slow or a busy machine, most likely. "
            "Try again, perhaps with `make demo ARGS=--seconds=120`."
        )
    return f"""
  {learned}

    first action         {run.first_action or 0:8.2f} s after the command
    mean return          {began:8.1f} of the first {AVERAGED} episodes
                         {run.mean or 0:8.1f} of the last {AVERAGED}
    played               {len(run.returns):8,} episodes, {run.steps:,} steps
    learned              {status.updates:8,} updates, policy v{status.policy_version}
    greedy evaluation    {np.mean(returns):8.1f} mean of {len(returns)} new episodes, worst {min(returns):.0f}

  A policy server answered every action while a learner process took what was played,
  learned from it and handed back newer policies.

  Next:  make lab     the lessons, in JupyterLab
         README.md    the same with your own environment, or with curl
"""


def show(client: PolicyClient, run: Run) -> int:
    """Learns, evaluates and sums up; the exit code."""
    status = watch(client, run)
    if run.error:
        print(f"\ndemo: {run.error}", file=sys.stderr)
        return 1
    returns = evaluate(client)
    print(summary(run, status, returns), flush=True)
    return 0 if run.solved is not None else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=SECONDS, metavar="S",
        help="stop after so many seconds of learning (default: %(default).0f)")  # fmt: skip
    return parser.parse_args()


def main() -> int:
    options = parse()
    run = Run(limit=options.seconds)
    print(
        "\n  A policy server starts, knowing nothing. CartPole is played against it over HTTP;\n"
        f"  an episode ends when the pole falls, or after {CAP} steps. It learns as it is played.\n",
        flush=True,
    )
    server = RunningServer(4, 2)
    try:
        with server:
            return show(server.client(), run)
    except KeyboardInterrupt:
        print("\nstopped", flush=True)
        return 130
    except (PolicyServerError, RuntimeError) as error:
        said = "".join(f"\n  {line}" for line in list(server.lines)[-3:])
        print(f"\ndemo: {error}\nThe policy server's last words:{said}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
