"""A leaderboard of frozen policies: each plays once more, greedily, on seeds that nobody has seen."""

from __future__ import annotations

import hashlib
import secrets
import statistics
from collections.abc import Callable
from typing import NamedTuple

import gymnasium as gym

from serving.evaluation import evaluate
from serving.examiner.examination import unpacked
from serving.pong import PongEnv
from tools.class_results import Result

EPISODES = 20
FIRST = "amber brisk calm clever early gentle keen lively merry mellow nimble quiet swift sunny wise".split()
SECOND = "badger crane finch fox hare heron ibis lynx marten newt otter owl raven seal wren".split()


def cart_pole() -> gym.Env:
    """With 500 steps: all who have solved the lesson's 200 would share the first place."""
    return gym.make("CartPole-v1")


PLAYED: dict[str, tuple[Callable[[], gym.Env], str]] = {
    "01-serve-and-learn": (cart_pole, "CartPole-v1, with 500 steps at most"),
    "02-pong": (PongEnv, "a game of Pong"),
    "03-learn-from-logs": (PongEnv, "a game of Pong"),
}  # what all of a class have taught a policy of their own


class Place(NamedTuple):
    student: str
    mean: float
    spread: float  # standard deviation of the episodes


def leaderboard(lesson: str, results: list[Result], seed: int | None = None) -> list[Place]:
    """The best first; empty where a lesson's policies cannot be compared. `seed` is drawn if None."""
    if lesson not in PLAYED:
        return []
    make_env, _ = PLAYED[lesson]
    seed = secrets.randbits(30) if seed is None else seed
    places = []
    for result in results:
        if result.policy:
            returns = evaluate(unpacked(result.policy), make_env, EPISODES, seed)
            places.append(
                Place(result.student, statistics.mean(returns), statistics.pstdev(returns))
            )
    return sorted(places, key=lambda place: -place.mean)


def pseudonyms(students: list[str], salt: str) -> dict[str, str]:
    """A name for each that only who knows the salt can tell; no two are the same."""
    given: dict[str, str] = {}
    for student in sorted(students):
        number = int.from_bytes(hashlib.sha256(f"{salt}/{student}".encode()).digest()[:8], "big")
        pairs = len(FIRST) * len(SECOND)
        for step in range(len(students)):
            of = (number + step) % pairs
            name = f"{FIRST[of % len(FIRST)]} {SECOND[of // len(FIRST)]}"
            if step >= pairs:
                name += f" {step // pairs + 1}"
            if name not in given.values():
                break
        given[student] = name
    return given
