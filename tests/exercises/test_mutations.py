"""No answer that differs from the reference in one place is praised, unless it is right as well.

The check cells look, with the very functions that examiners ask; the short form takes every fifth.
Left out: lesson 02's command and the environment of lesson 05, which may be any; `learn`, which waits
for RLlib (tests/exercises/test_own_environment.py has its mistakes).
"""

from __future__ import annotations

import os

import pytest
from checks import CHECKS, check
from grading import grade_in_process, reference_answers
from light_server import light_servers  # noqa: F401 - a fixture
from mutations import mutations

from serving import evaluation

pytestmark = pytest.mark.usefixtures("light_servers")

EVERY = 1 if os.environ.get("LONG_TEST") else 5
PATIENCE = 0.2  # of the time limits: many a mutant never ends

ALL = [
    (lesson, exercise, what, source)
    for lesson, exercise in CHECKS
    for what, source in mutations(reference_answers(lesson)[exercise])
]
# By exercise: the line of the reference, what stands in its place, and why that is right as well.
RIGHT_AS_WELL = {
    "run_one_episode": {
        "total, terminated, truncated = (0.0, False, False)": {
            "truncated, terminated, total = (0.0, False, False)": "0.0 is False here, and False 0",
            "terminated, truncated, total = (0.0, False, False)": "likewise",
            "total, terminated, truncated = (False, False, 0.0)": "likewise",
        },
        "client.end_episode(episode_id, observation, truncated=truncated and (not terminated))": {
            f"client.end_episode(episode_id, observation, truncated={ending})": (
                "where both are set, either may be said"
            )
            for ending in ("truncated or not terminated", "truncated and truncated",
                           "not terminated and (not terminated)")
        },
    },
    "solved": {
        "return len(returns) >= 20 and sum(returns[-20:]) / 20 >= 195": {
            f"return {first} and sum(returns[-20:]) / 20 >= 195": (
                "an episode's return is 200 at most, and 19 of them are 190 on average over 20"
            )
            for first in ("sum(returns[-20:]) / 20 >= 195", "len(returns) >= 19")
        },
    },
    "play_game": {
        "won, lost, steps = (0, 0, 0)": {
            "steps, lost, won = (0, 0, 0)": "three times 0",
            "lost, steps, won = (0, 0, 0)": "likewise",
        },
    },
    "share_of_points": {
        "return won / (won + lost) if won + lost else 0.0": {
            "return won / (won + lost) if won + won else 0.0": "who has won none has a share of 0",
        },
    },
    "replay": {
        "client.end_episode(episode_id, last['obs'], truncated=last.get('truncated', False))": {
            "client.end_episode(episode_id, last['obs'], truncated=last.get('truncated'))": (
                "None is not true"
            ),
        },
    },
    "learning_curve": {
        "env = gym.make('CartPole-v1', max_episode_steps=200)": {
            f"env = gym.make('CartPole-v1'{cap})": (
                "a line of the stub's; only a policy that survives so long would notice"
            )
            for cap in ("", ", max_episode_steps=201", ", max_episode_steps=199")
        },
        "total, length = play_episode(env, client)": {
            "length, total = play_episode(env, client)": "CartPole pays 1 for each step",
        },
    },
    "mean_and_spread": {
        "means, spreads, numbers = ([], [], [])": {
            "numbers, spreads, means = ([], [], [])": "three empty lists",
            "spreads, numbers, means = ([], [], [])": "likewise",
        },
        "for i in range(max((len(curve) for curve in curves), default=0)):": {
            "for i in range(max((len(curve) for curve in curves), default=-1)):": "an empty range",
        },
    },
    "conclude": {
        "for what in ('episodes', 'seconds'):": {
            "for what in ('seconds', 'episodes'):": "one after the other",
        },
    },
    "sizes": {
        "return (env.observation_space.shape[0], int(env.action_space.n))": {
            "return (env.observation_space.shape[-1], int(env.action_space.n))": "a row of numbers",
        },
    },
}  # fmt: skip
# Two curves of a check do not show it; the examiner makes more.
FOUND_BY_THE_EXAMINER = {
    ("learning_curve", f"env.reset(seed=seed) -> {changed}") for changed in ("pass", "env.reset()")
}
EQUIVALENT = {
    (exercise, f"{line} -> {other}")
    for exercise, of in RIGHT_AS_WELL.items()
    for line, others in of.items()
    for other in others
}


@pytest.mark.parametrize(
    "lesson, exercise, what, source",
    [pytest.param(*mutant, id=f"{mutant[1]}: {mutant[2]}") for mutant in ALL[::EVERY]],
)
def test_one_mistake_is_not_praised(lesson, exercise, what, source, capsys, monkeypatch):
    """Does the check find it, or at least the examiner, or is it none?"""
    monkeypatch.setattr(evaluation, "patience", PATIENCE)
    answers = {**reference_answers(lesson), exercise: source}
    praised = check(lesson, exercise, source)
    if (exercise, what) in FOUND_BY_THE_EXAMINER:
        points, _ = grade_in_process(lesson, answers, frozenset({"test_learning"}))
        praised = all(points.values())
    assert praised == ((exercise, what) in EQUIVALENT), capsys.readouterr().out


def test_what_is_right_as_well_is_still_there():
    """Is no reason left behind by an answer that has changed?"""
    assert EQUIVALENT | FOUND_BY_THE_EXAMINER <= {(exercise, what) for _, exercise, what, _ in ALL}
    assert len(ALL) >= 300
