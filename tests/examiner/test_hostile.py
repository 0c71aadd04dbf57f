"""Submissions that cheat, and submissions that harm: each of tests/hostile/ is one trick.

None of them holds a right answer. The short form runs every third; LONG_TEST=1 all of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import psutil
import pytest
from grading import NEEDS_SANDBOX, ROOT
from nbformat.v4 import new_code_cell, new_notebook
from nbgrader.utils import determine_grade

from serving.examiner import kernel

TRICKS = sorted((ROOT / "tests" / "hostile").glob("*.py"))
WITH_CART_POLE = {
    "easier_physics", "another_gymnasium", "stand_in_replaced", "easier_environment_played",
}  # fmt: skip
# Until somebody stops them: slow.
HANG = {"endless_loop", "alarm_ignored", "errors_that_look_right", "impostor_verdict"}
WRONG_ANSWERS = """
def replay(episodes):
    return -1


def importance_weight(pi, mu):
    return 0.5


def run_one_episode(env, training_enabled=True):
    return -1.0


def evaluate_policy(env, episodes):
    return []


def solved(returns):
    return False
"""
SECRET = "canary-7f3a"
EVERY = 1 if os.environ.get("LONG_TEST") else 3

pytestmark = NEEDS_SANDBOX


def graded_cell(grade_id: str) -> nbformat.NotebookNode:
    mark = {"grade": True, "grade_id": grade_id, "points": 5, "locked": True, "solution": False,
            "schema_version": 3, "cell_type": "code"}  # fmt: skip
    source = f'from serving.examiner.candidate import exam\n\nexam.require("{grade_id}")'
    return new_code_cell(source, metadata={"nbgrader": mark})


def run(trick: str, lesson: str, questions: list[str], folder: Path) -> nbformat.NotebookNode:
    """What Autograde makes of a notebook with these cells, without its files and its gradebook."""
    cells = [new_code_cell(WRONG_ANSWERS), new_code_cell(trick)]
    cells += [graded_cell(question) for question in questions]
    cells.append(new_code_cell("print(In)"))
    notebook = new_notebook(cells=cells)
    execute = kernel.GradingExecute(
        timeout_func=lambda cell: 60 if kernel.graded(cell) else 8, kernel_name="python3"
    )
    resources = {"metadata": {"path": str(folder)}, "nbgrader": {"assignment": lesson}}
    notebook, _ = execute.preprocess(notebook, resources)
    return notebook


@pytest.fixture
def a_strict_grader(monkeypatch):
    """One that waits for nobody for long, and allows little."""
    monkeypatch.setenv("GRADE_MEMORY", "1000")
    monkeypatch.setenv("GRADE_SECONDS", "120")
    monkeypatch.setattr(kernel, "SECONDS_UNTIL_READY", 15.0)
    monkeypatch.setattr(kernel, "SECONDS_AFTER_A_VERDICT", 3.0)


@pytest.fixture
def things_of_the_graders(tmp_path):
    """A gradebook, and another submission, where nobody inside should see them."""
    for name in ("gradebook.db", "submitted/other/lesson/lesson.ipynb"):
        file = tmp_path / "course" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(SECRET)
    return tmp_path / "course"


def marked_processes() -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if "left_behind" in str(p.info["cmdline"])]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in HANG else [])
        for path in TRICKS[::EVERY]
    ],
)
def test_a_trick_gains_nothing(path, tmp_path, a_strict_grader, things_of_the_graders):
    """Does it earn no point, harm nobody, and is it told in words?"""
    lesson, questions = "03-learn-from-logs", ["test_weights", "test_result"]
    if path.stem in WITH_CART_POLE:
        lesson, questions = "01-serve-and-learn", ["test_solved", "test_result", "test_evaluate"]
    handed_in = tmp_path / "handed-in"
    handed_in.mkdir()
    before = sorted(os.listdir("/tmp"))
    notebook = run(path.read_text(), lesson, questions, handed_in)
    for cell in notebook.cells:
        if kernel.graded(cell):
            points, _ = determine_grade(cell)
            assert points == 0, f"{kernel.graded(cell)} was passed"
            assert len(cell.outputs[0].evalue) > 20
    said = str([cell.outputs for cell in notebook.cells])
    assert SECRET not in said, "it has read what is the grader's"
    assert "Orchard" not in said and "class ReplayExam" not in said, "it has read the questions"
    for file in things_of_the_graders.rglob("*.*"):
        assert file.is_dir() or file.read_text() == SECRET
    assert not marked_processes(), "it has left a process behind"
    assert list(handed_in.iterdir()) == [], "it has written outside of the sandbox"
    left = {name for name in os.listdir("/tmp") if name not in before}
    assert not {n for n in left if n in ("pickled-on-the-line", "of-a-submission", "full")}
    # In two parts in the tricks: the last cell prints their source.
    assert "reached-4c1d" not in said, "it has talked to somebody"
