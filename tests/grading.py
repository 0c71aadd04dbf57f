"""Submissions for the graders' tests: what a student would hand in, and what nbgrader makes of it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from serving import evaluation
from serving.examiner.lessons import examination_of
from serving.examiner.process import PATIENCE
from serving.examiner.sandbox import why_not

ROOT = Path(__file__).resolve().parents[1]
# On a machine with nothing but Python and make the other tests are to be had.
NEEDS_SANDBOX = pytest.mark.skipif(why_not() is not None, reason=f"no sandbox: {why_not()}")


@dataclass
class Graded:
    """Points by grade_id, the sentences of failed tests, and the seconds autograding took."""

    points: dict[str, float]
    said: dict[str, str]
    seconds: float
    feedback: str = ""

    @property
    def total(self) -> float:
        return sum(self.points.values())


class Course:
    """An instructor's course folder below `folder`, with this kit's lessons as assignments."""

    def __init__(self, folder: Path, assignment: str):
        self.folder, self.assignment = folder, assignment
        self.options = [
            f"--CourseDirectory.{name}_directory={folder / name}"
            for name in ("submitted", "autograded", "feedback", "release")
        ] + [f"--CourseDirectory.db_url=sqlite:///{folder}/gradebook.db"]
        # The hidden tests live in the gradebook from here on, as an instructor's do.
        self.run("generate_assignment", assignment, "--force", "--create", *self.options)

    def run(self, *arguments: str, timeout: float = 600) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", *arguments],
            cwd=ROOT, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def submit(self, student: str, answers: dict[str, str]) -> Path:
        """The lesson with the student's `answers` (grade_id: source) in it."""
        notebook = nbformat.read(
            self.folder / "release" / self.assignment / f"{self.assignment}.ipynb", as_version=4
        )
        by_id = {
            c.metadata.nbgrader.grade_id: c for c in notebook.cells if "nbgrader" in c.metadata
        }
        for grade_id, source in answers.items():
            by_id[grade_id].source = source
        path = self.folder / "submitted" / student / self.assignment / f"{self.assignment}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)
        return path

    def grade(self, student: str, timeout: float = 600) -> Graded:
        """Runs plain `nbgrader autograde` on the student's submission."""
        started = time.monotonic()
        self.run(
            "autograde", self.assignment, f"--student={student}", "--force", *self.options,
            timeout=timeout,
        )  # fmt: skip
        graded = self.graded(student)
        graded.seconds = time.monotonic() - started
        return graded

    def grade_all(self, timeout: float) -> str:
        """Runs plain `nbgrader autograde` on what was not graded yet; returns its log."""
        return self.run("autograde", self.assignment, *self.options, timeout=timeout)

    def graded(self, student: str) -> Graded:
        """What came of a submission, in the notebook and in the gradebook."""
        notebook = nbformat.read(
            self.folder / "autograded" / student / self.assignment / f"{self.assignment}.ipynb",
            as_version=4,
        )
        points, said = {}, {}
        for cell in notebook.cells:
            mark = cell.metadata.get("nbgrader", {})
            if not mark.get("grade") or cell.cell_type != "code":
                continue
            errors = [o for o in cell.outputs if o.output_type == "error"]
            noise = [o for o in cell.outputs if o.get("name") == "stderr"]
            points[mark["grade_id"]] = 0 if errors or noise else mark["points"]
            if errors or noise:
                said[mark["grade_id"]] = errors[0].evalue if errors else noise[0].text
        stored = self._stored_points(student)
        assert stored == points, f"the gradebook has {stored}, the notebook says {points}"
        return Graded(points, said, 0.0)

    def feedback(self, student: str) -> str:
        self.run(
            "generate_feedback", self.assignment, f"--student={student}", "--force", *self.options
        )
        name = f"{self.assignment}.html"
        return (self.folder / "feedback" / student / self.assignment / name).read_text()

    def _stored_points(self, student: str) -> dict[str, float]:
        from nbgrader.api import Gradebook

        with Gradebook(f"sqlite:///{self.folder}/gradebook.db", "online-learning") as book:
            submission = book.find_submission(self.assignment, student)
            return {
                grade.name: grade.score
                for notebook in submission.notebooks
                for grade in notebook.grades
                if grade.cell.cell_type == "code"  # the others are for a person to grade
            }


def reference_answers(assignment: str) -> dict[str, str]:
    """The solution cells of the instructor's notebook, marks removed."""
    notebook = nbformat.read(ROOT / "solutions" / assignment / f"{assignment}.ipynb", as_version=4)
    return {
        cell.metadata.nbgrader.grade_id: re.sub(r"\n *### (BEGIN|END) SOLUTION", "", cell.source)
        for cell in notebook.cells
        if cell.metadata.get("nbgrader", {}).get("solution")
    }


def grade_in_process(
    assignment: str,
    answers: dict[str, str],
    skip: frozenset[str] = frozenset(),
    imported: dict | None = None,
) -> tuple[dict, dict]:
    """Points and sentences as autograding would give them, without nbgrader and its kernel.

    Runs the solution cells of the instructor's notebook, with `answers` in their place, and has the
    examiner ask in this process: seconds instead of half a minute. The full way is `Course.grade`. Test cells in
    `skip` are left out. `imported` is what other cells of the notebook have imported.
    """
    notebook = nbformat.read(ROOT / "solutions" / assignment / f"{assignment}.ipynb", as_version=4)
    namespace: dict = {"__name__": "__main__", **(imported or {})}
    points, said = {}, {}
    examination = examination_of(assignment)(namespace, seed=7)
    evaluation.patience, before = PATIENCE, evaluation.patience
    try:
        for cell in notebook.cells:
            mark = cell.metadata.get("nbgrader", {})
            if mark.get("solution"):
                with contextlib.suppress(Exception):
                    exec(answers.get(mark["grade_id"], cell.source), namespace)
            elif mark.get("grade") and cell.cell_type == "code" and mark["grade_id"] not in skip:
                verdict = examination.ask(mark["grade_id"])
                points[mark["grade_id"]] = mark["points"] if verdict.passed else 0
                if not verdict.passed:
                    said[mark["grade_id"]] = verdict.sentence
    finally:
        evaluation.patience = before
        examination.close()
    return points, said
