"""make new-lesson: what it makes is a lesson, from the first minute on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from clones import copy_kit
from grading import NEEDS_SANDBOX

pytestmark = pytest.mark.slow

NAME = "06-discounted-returns"
SOLVE_AND_GRADE = f"""
import sys, pathlib
from grading import ROOT, Course, reference_answers
course = Course(pathlib.Path(sys.argv[1]), "{NAME}")
course.submit("ada", reference_answers("{NAME}"))
course.submit("ben", {{}})
print(course.grade("ada").total, course.grade("ben").total)
"""


class Kit:
    """A copy of the kit, whose own `serving`, tools and tests are used."""

    def __init__(self, folder: Path):
        self.folder = copy_kit(folder)

    def run(self, *command: str, code: int = 0, timeout: float = 400) -> str:
        path = os.pathsep.join([str(self.folder), str(self.folder / "tests")])
        done = subprocess.run(
            [sys.executable, *command], cwd=self.folder, capture_output=True, text=True,
            timeout=timeout, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def a_kit_with_a_new_lesson(tmp_path_factory) -> Kit:
    kit = Kit(tmp_path_factory.mktemp("new") / "kit")
    kit.run("tools/new_lesson.py", NAME)
    database = f"--CourseDirectory.db_url=sqlite:///{kit.folder.parent}/gradebook.db"
    kit.run("-m", "nbgrader", "generate_assignment", NAME, "--create", "--force", database)
    return kit


def test_its_wrong_answers_lose_and_its_right_one_wins(a_kit_with_a_new_lesson):
    """Do the tests that come with it pass, before anybody has changed a line?"""
    said = a_kit_with_a_new_lesson.run(
        "-m", "pytest", "-p", "no:cacheprovider", "tests/lessons/test_discounted_returns.py"
    )
    assert "100%" in said and "skipped" not in said


@NEEDS_SANDBOX
@pytest.mark.timeout(600)
def test_it_is_graded_by_plain_nbgrader(a_kit_with_a_new_lesson, tmp_path):
    """Does `nbgrader autograde` give the right answer all points, and the stub none?"""
    said = a_kit_with_a_new_lesson.run("-c", SOLVE_AND_GRADE, str(tmp_path))
    assert [float(points) for points in said.split()[-2:]] == [2, 0]


def test_students_get_neither_answer_nor_hidden_test(a_kit_with_a_new_lesson):
    """Is the released notebook a stub with its picture in it, and without what is the instructor's?"""
    path = a_kit_with_a_new_lesson.folder / "lessons" / NAME / f"{NAME}.ipynb"
    text = path.read_text()
    assert "NotImplementedError" in text and "Discounted returns" in text
    assert "reversed(rewards)" not in text and "exam.require" not in text
    assert any(cell.get("attachments") for cell in json.loads(text)["cells"])


def test_it_is_in_the_house(a_kit_with_a_new_lesson):
    """Do START.md and README.md name it, and do the house's tests take its modules and names?"""
    said = a_kit_with_a_new_lesson.run(
        "-m", "pytest", "-p", "no:cacheprovider", "tests/test_house.py", "tests/test_packaging.py",
        "-k", "house or start_page or links or map or one_idea or imports",
    )  # fmt: skip
    assert "100%" in said


def test_a_name_that_will_not_do_changes_nothing(tmp_path):
    """Is a name without a number, or one that is taken, refused in a sentence, and nothing written?"""
    kit = Kit(tmp_path / "kit")
    before = {path: path.stat().st_mtime_ns for path in kit.folder.rglob("*") if path.is_file()}
    for name in ("discount", "6-discount", "06-Discount", "01-other", "06-pong"):
        said = kit.run("tools/new_lesson.py", name, code=2)
        assert "expected a number and words" in said or "is there already" in said
    after = {path: path.stat().st_mtime_ns for path in kit.folder.rglob("*") if path.is_file()}
    assert after == before
