"""Lesson 0: the right answer gets its points, and each wrong one loses the points it should."""

from __future__ import annotations

import pytest
from grading import grade_in_process, reference_answers

LESSON = "00-lesson-name"
FULL_MARKS = {"test_values": 2}
# What students write, and what it should cost. Add each mistake that you meet in a class.
WRONG = {
    "nothing written": ("raise NotImplementedError", {"test_values"}),
    "not discounted": ("return sum(rewards)", {"test_values"}),
    "the first one discounted, too": (
        "return sum(r * discount ** (t + 1) for t, r in enumerate(rewards))",
        {"test_values"},
    ),
    "each by the same discount": (
        "return sum(rewards[:1]) + discount * sum(rewards[1:])",
        {"test_values"},
    ),
    "from the wrong end": (
        "return sum(r * discount ** t for t, r in enumerate(reversed(rewards)))",
        {"test_values"},
    ),
    "the list used up": (
        "value = 0.0\n    while rewards:\n        value = rewards.pop() + discount * value\n    return value",
        {"test_values"},
    ),
}


def test_the_right_answer_gets_all_points():
    """Do the instructor's answers get what the lesson is worth?"""
    points, said = grade_in_process(LESSON, reference_answers(LESSON))
    assert points == FULL_MARKS, said


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_answer_loses_its_points(mistake):
    """Does each mistake cost the points it should, and only those, with a sentence?"""
    body, loses = WRONG[mistake]
    answer = f"def discounted_return(rewards, discount):\n    {body}"
    points, said = grade_in_process(LESSON, {"discounted_return": answer})
    assert {grade_id for grade_id, earned in points.items() if not earned} == loses
    assert all(said[grade_id] for grade_id in loses)
