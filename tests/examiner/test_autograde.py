"""Plain `nbgrader autograde`, through the examiner: each graded cell stands on its own."""

from __future__ import annotations

import copy
import os

import nbformat
import pytest
from grading import Course, reference_answers

from serving.examiner import kernel
from serving.examiner.sandbox import NoSandbox, why_not

FULL_MARKS = {
    "01-serve-and-learn": 22,
    "02-pong": 22,
    "03-learn-from-logs": 23,
    "04-compare-algorithms": 17,
    "05-your-own-environment": 20,
}
LESSONS = FULL_MARKS if os.environ.get("LONG_TEST") else ["03-learn-from-logs"]

pytestmark = pytest.mark.skipif(why_not() is not None, reason=f"no sandbox: {why_not()}")


@pytest.mark.parametrize("lesson", LESSONS)
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


def test_without_a_sandbox_it_says_how_to_go_on(monkeypatch):
    """Is grading refused where bubblewrap is not to be had, and done if somebody insists?"""
    monkeypatch.delenv(kernel.TRUST, raising=False)
    monkeypatch.setattr("serving.examiner.sandbox.why_not", lambda: "there is no program bwrap")
    with pytest.raises(NoSandbox, match="apt install bubblewrap.*GRADE_WITHOUT_SANDBOX=yes"):
        kernel.sandbox_is_wanted()
    monkeypatch.setenv(kernel.TRUST, "yes")
    assert not kernel.sandbox_is_wanted()
