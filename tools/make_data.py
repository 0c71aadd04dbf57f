#!/usr/bin/env python
"""Makes the logs that lesson 03 learns from: games of Pong played by scripted players.

    python tools/make_data.py            write serving/data_small.gz and serving/data_large.gz
    python tools/make_data.py --check    say what is in them; exit code 1 if they would differ

Nothing that learns has played here. The players are three rules with different skill (`PLAYERS`),
who take the right paddle of `PongEnv` against its default opponent in turn: a good one, a fair
one and a clumsy one. All of them explore, so that every action was tried wherever the game leads:
what an offline learner has never seen an action do, it only guesses. Chance is seeded, game by
game, so the files can be made again to the last digit; `data_small.gz` is the beginning
of `data_large.gz`.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # found from anywhere, also when the package is not installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import gzip
import itertools
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from serving.logs import Episode, LogWriter, check_log
from serving.pong import PongEnv
from serving.pong.court import COURT
from serving.pong.physics import CEILING, DOWN, FLOOR, REACH, RIGHT_LINE, STAY, UP, bounced

SERVING = Path(__file__).resolve().parents[1] / "serving"
SEED = 20_230_815
STEPS = {"data_small.gz": 7_000, "data_large.gz": 80_000}  # at least; the last game is played out
DIGITS = 4  # of observations: a fiftieth of a pixel


class Skill(NamedTuple):
    """How a player plays.

    error       by how many pixels, at most, the player misjudges where a ball will arrive
    aim         how far from the paddle's middle the ball is meant to meet it, at most, as a share of
                what just hits: the further, the steeper the ball leaves
    explore     the probability, at each step, to do something random for up to `RANDOM_STEPS` steps
    """

    error: float
    aim: float
    explore: float


PLAYERS = {
    "good": Skill(error=30.0, aim=0.8, explore=0.05),
    "fair": Skill(error=60.0, aim=0.8, explore=0.05),
    "clumsy": Skill(error=150.0, aim=0.5, explore=0.10),
}
RANDOM_STEPS = 12
SLACK = COURT.paddle_speed / 2  # pixels off that no move makes better


class Player:
    """Sees what the policy sees, an observation, and chooses one of its actions."""

    def __init__(self, skill: Skill, rng: np.random.Generator):
        self.skill, self.rng = skill, rng
        self._random_steps, self._random_action = 0, STAY
        self._coming, self._off, self._home = None, 0.0, 0.0

    def act(self, observation: np.ndarray) -> int:
        if self._random_steps == 0 and self.rng.random() < self.skill.explore:
            self._random_steps = int(self.rng.integers(1, RANDOM_STEPS + 1))
            self._random_action = int(self.rng.integers(3))
        if self._random_steps:
            self._random_steps -= 1
            return self._random_action
        return self._rule(observation)

    def _rule(self, observation: np.ndarray) -> int:
        """Walks to where the ball will arrive; while it goes away, to a place to wait at."""
        x = (observation[0] + 1) * COURT.width / 2
        y = (observation[1] + 1) * COURT.height / 2
        own = (observation[4] + 1) * COURT.height / 2
        coming = observation[2] > 0
        if coming != self._coming:  # a new volley
            self._coming = coming
            self._off = self.skill.error * self.rng.uniform(-1, 1)
            self._off += self.skill.aim * REACH * self.rng.uniform(-1, 1)
            self._home = self.rng.uniform(COURT.height / 4, COURT.height * 3 / 4)
        target = self._home
        if coming:
            arrives = y + observation[3] * COURT.steepest * (RIGHT_LINE - x)
            while arrives < CEILING or arrives > FLOOR:
                arrives = bounced(arrives)
            target = arrives + self._off
        if abs(target - own) <= SLACK:
            return STAY
        return DOWN if target > own else UP


def games(seed: int = SEED) -> Iterator[tuple[str, Episode, list[str]]]:
    """Player, episode and events of one game after the other, without end."""
    env = PongEnv()
    for number in itertools.count():
        name = list(PLAYERS)[number % len(PLAYERS)]
        rng = np.random.default_rng([seed, number])
        player = Player(PLAYERS[name], rng)
        observation, _ = env.reset(seed=int(rng.integers(2**31)))
        episode, events, terminated, truncated = [], [], False, False
        while not (terminated or truncated):
            seen = np.round(observation.astype(np.float64), DIGITS)
            action = player.act(seen)
            observation, reward, terminated, truncated, info = env.step(action)
            episode.append({"obs": seen.tolist(), "action": action, "reward": reward})
            events.append(info["event"])
        if terminated:  # a game that was cut short would be one more thing to explain
            yield name, episode, events


def write(path: Path, least_steps: int) -> Iterator[int]:
    """Writes games until there are `least_steps` steps; yields how many each game adds."""
    with LogWriter(path) as log:
        for _, episode, _ in games():
            log.write(episode)
            yield len(episode)
            if log.steps >= least_steps:
                return


def content(path: Path) -> bytes:
    """Not the file itself: another zlib may compress the same log to other bytes."""
    return gzip.decompress(path.read_bytes())


def say(path: Path) -> None:
    summary = check_log(path, 8, 3)
    size = path.stat().st_size
    actions = ", ".join(f"{action}: {n:,}" for action, n in summary.actions.items())
    print(
        f"{path.name}: {summary.episodes} games, {summary.steps:,} steps, {size / 1e6:.2f} MB; "
        f"mean return {summary.mean_return:.2f}; actions {actions}"
    )


def say_players(least_steps: int) -> None:
    """How well the players of the log play."""
    played: dict[str, Counter] = {name: Counter() for name in (*PLAYERS, "all")}
    steps = 0
    for name, episode, events in games():
        for who in (name, "all"):
            played[who].update(events)
            played[who].update(games=1)
        steps += len(episode)
        if steps >= least_steps:
            break
    for name, events in played.items():
        won, points = events["right scores"], events["right scores"] + events["left scores"]
        print(
            f"  {name:6} {events['games']:4} games, won {won / points:3.0%} of the points, "
            f"returned {events['right hits'] / points:.2f} balls a point"
        )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true",
        help="write nothing; exit code 1 if a file is not what would be written")  # fmt: skip
    check = parser.parse_args().check
    wrong = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, least_steps in STEPS.items():
            path = SERVING / name
            new = Path(scratch) / name
            with tqdm(total=least_steps, desc=name, unit="steps", leave=False) as bar:
                for steps in write(new, least_steps):
                    bar.update(steps)
            if check and not (path.exists() and content(path) == content(new)):
                wrong.append(name)
                continue
            if not check:
                shutil.copyfile(new, path)
            say(path)
    if wrong:
        print(f"not as tools/make_data.py makes them: {', '.join(wrong)}", file=sys.stderr)
        return 1
    print("players:")
    say_players(STEPS["data_large.gz"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
