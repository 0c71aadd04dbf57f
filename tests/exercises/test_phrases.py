"""No right answer is found fault with, in whatever words: thousands of them, put together by rule.

The check cells look, with the very functions that examiners ask; the examiner itself looks at a few of
each exercise. The short form takes every twenty-fifth, the long form all.
"""

from __future__ import annotations

import os

import gymnasium as gym
import numpy as np
import pytest
from checks import OWN, check
from grading import grade_in_process, reference_answers
from light_server import light_servers  # noqa: F401 - a fixture
from phrases import RIGHT, answers

pytestmark = pytest.mark.usefixtures("light_servers")

LONG = bool(os.environ.get("LONG_TEST"))
EVERY, EVERY_EXAMINED = (1, 30) if LONG else (25, 300)
ALL = [
    pytest.param(lesson, exercise, answer, id=f"{lesson[:2]}-{exercise}-{number}")
    for lesson, exercise, template, choices, most in RIGHT
    for number, answer in enumerate(answers(template, choices, most))
]
LEARNING = {"test_learning", "test_solved", "test_act", "test_observing", "test_served"}  # wait


@pytest.mark.parametrize("lesson, exercise, answer", ALL[::EVERY])
def test_a_right_answer_is_praised(lesson, exercise, answer, capsys):
    """Has the check cell nothing to say against it?"""
    assert check(lesson, exercise, answer), answer + capsys.readouterr().out


@pytest.mark.parametrize("lesson, exercise, answer", ALL[::EVERY_EXAMINED])
@pytest.mark.slow
def test_a_right_answer_gets_its_points(lesson, exercise, answer):
    """Has the examiner nothing to say against it, as far as nobody waits for a learner?"""
    answered = {**reference_answers(lesson), exercise: answer}
    skip = LEARNING - ({"test_solved"} if lesson != OWN else set())
    _, said = grade_in_process(lesson, answered, frozenset(skip), {"gym": gym, "np": np})
    assert not said, f"{answer}\n{said}"
