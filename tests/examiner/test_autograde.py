"""Plain `nbgrader autograde`, through the examiner: each graded cell stands on its own."""

from __future__ import annotations

import copy
import os

import nbformat
import pytest
from grading import NEEDS_SANDBOX, ROOT, Course, reference_answers

from serving.examiner import kernel
from serving.examiner.sandbox import NoSandbox

FULL_MARKS = {
    "01-serve-and-learn": 22,
    "02-pong": 22,
    "03-learn-from-logs": 23,
    "04-compare-algorithms": 17,
    "05-your-own-environment": 20,
}
LONG = int(os.environ.get("AUTOGRADES", "1"))  # more than once: the long form
LESSONS = FULL_MARKS if LONG > 1 else ["01-serve-and-learn"]
# All of them say what the lesson allows, also of a last step that is both.
ENDINGS = [
    "client.end_episode(episode_id, observation, truncated=truncated)",
    "client.end_episode(episode_id, observation, truncated)",
    "client.end_episode(episode_id, observation, truncated=truncated and not terminated)",
]
only_in_the_long_form = pytest.mark.skipif(LONG == 1, reason="AUTOGRADES=30, the long form")

pytestmark = NEEDS_SANDBOX


@pytest.mark.parametrize("lesson", LESSONS)
@pytest.mark.slow
def test_a_deleted_cell_costs_its_own_points(lesson, tmp_path):
    """Is only the deleted cell lost, and named, while a doubled and an altered one cost nothing?"""
    course = Course(tmp_path, lesson)
    path = course.submit("torn", reference_answers(lesson))
    notebook = nbformat.read(path, as_version=4)
    graded = [cell for cell in notebook.cells if kernel.graded(cell)]
    deleted, doubled, altered = graded[0], graded[1], graded[2]
    notebook.cells.remove(deleted)
    notebook.cells.insert(notebook.cells.index(doubled), copy.deepcopy(doubled))
    altered.source = "print('altered')"
    nbformat.write(notebook, path)
    result = course.grade("torn", timeout=900)
    lost = deleted.metadata.nbgrader
    assert result.total == FULL_MARKS[lesson] - lost.points, result.said
    assert list(result.said) == [lost.grade_id]
    assert "was missing" in result.said[lost.grade_id]


@only_in_the_long_form
@pytest.mark.timeout(0)
@pytest.mark.parametrize("lesson", FULL_MARKS)
def test_each_graded_cell_deleted_in_turn(lesson, tmp_path):
    """Are only its own points lost, whichever cell it is, and is it named in notebook and log?"""
    course = Course(tmp_path, lesson)
    deleted = {}
    for number in range(len(points_of(lesson))):
        path = course.submit(f"student{number}", reference_answers(lesson))
        notebook = nbformat.read(path, as_version=4)
        cell = [cell for cell in notebook.cells if kernel.graded(cell)][number]
        deleted[f"student{number}"] = cell.metadata.nbgrader
        notebook.cells.remove(cell)
        nbformat.write(notebook, path)
    log = course.grade_all(timeout=600 * len(deleted))
    for student, mark in deleted.items():
        graded = course.graded(student)
        assert graded.points == points_of(lesson) | {mark.grade_id: 0}, graded.said
        assert "was missing" in graded.said[mark.grade_id]
        assert f"{student}, {lesson}: The graded cell `{mark.grade_id}` was missing" in log


@only_in_the_long_form
@pytest.mark.timeout(0)
def test_each_right_way_to_say_how_an_episode_ended(tmp_path):
    """Does none of three right forms of the last line ever lose a point?"""
    lesson = "01-serve-and-learn"
    course, right = Course(tmp_path, lesson), reference_answers(lesson)
    said = {}
    for form, ending in enumerate(ENDINGS):
        answer = right["run_one_episode"].replace(ENDINGS[0], ending)
        assert ending in answer
        for attempt in range(LONG):
            course.submit(f"form{form}-{attempt}", {**right, "run_one_episode": answer})
    course.grade_all(timeout=600 * LONG * len(ENDINGS))
    for form in range(len(ENDINGS)):
        for attempt in range(LONG):
            said |= {(form, attempt): course.graded(f"form{form}-{attempt}").said}
    assert not any(said.values()), said


def points_of(lesson: str) -> dict[str, float]:
    """By graded cell, of those that the examiner decides on."""
    path = ROOT / "lessons" / lesson / f"{lesson}.ipynb"
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if kernel.graded(cell)]
    return {cell.metadata.nbgrader.grade_id: cell.metadata.nbgrader.points for cell in cells}


def test_without_a_sandbox_it_says_how_to_go_on(monkeypatch):
    """Is grading refused where bubblewrap is not to be had, and done if somebody insists?"""
    monkeypatch.delenv(kernel.TRUST, raising=False)
    monkeypatch.setattr("serving.examiner.sandbox.why_not", lambda: "there is no program bwrap")
    with pytest.raises(NoSandbox, match="apt install bubblewrap.*GRADE_WITHOUT_SANDBOX=yes"):
        kernel.sandbox_is_wanted()
    monkeypatch.setenv(kernel.TRUST, "yes")
    assert not kernel.sandbox_is_wanted()
