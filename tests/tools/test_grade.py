"""A whole class at once: right, wrong, broken and hostile submissions, and the gradebook afterwards."""

from __future__ import annotations

import csv
import re
import subprocess
import sys

import pytest
from grading import NEEDS_SANDBOX, ROOT, Course, reference_answers
from nbgrader.api import Gradebook

from serving.examiner import evidence
from tools.course import wrong_with

LESSON = "03-learn-from-logs"
WEIGHT = {"importance_weight": reference_answers(LESSON)["importance_weight"]}  # 3 of its points
EXITS = "import os\n\n\ndef replay(episodes):\n    os._exit(0)"

pytestmark = [NEEDS_SANDBOX, pytest.mark.slow]


@pytest.fixture(scope="module")
def a_class(tmp_path_factory):
    """Four submissions, none of which takes long to grade."""
    course = Course(tmp_path_factory.mktemp("course"), LESSON)
    course.submit("half", WEIGHT)
    course.submit("exits", {"replay": EXITS})
    course.submit("empty", {}).write_text("")
    course.submit("torn", {}).write_text('{"cells": [')
    return course


def grade(course: Course, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, ROOT / "tools" / "grade.py", LESSON, "--quiet", *arguments, *course.options],
        capture_output=True, text=True, timeout=600, cwd=ROOT,
    )  # fmt: skip


def test_each_submission_costs_only_itself(a_class):
    """Are all named, with points in the gradebook, and not graded told apart from zero?"""
    done = grade(a_class)
    assert done.returncode == 0, done.stdout + done.stderr
    with open(a_class.folder / "grading" / f"{LESSON}.csv") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert rows["half"]["points"] == "3"
    assert rows["exits"]["points"] == "0" and "stopped" in rows["exits"]["remark"]
    assert rows["empty"]["points"] == "" and "is empty" in rows["empty"]["remark"]
    assert rows["torn"]["points"] == "" and "is no notebook" in rows["torn"]["remark"]
    with Gradebook(f"sqlite:///{a_class.folder}/gradebook.db", "online-learning") as book:
        assert book.find_submission(LESSON, "half").score == 3
    a_class.run("export", f"--to={a_class.folder}/grades.csv", *a_class.options)
    with open(a_class.folder / "grades.csv") as file:
        exported = {row["student_id"]: row for row in csv.DictReader(file)}
    assert {student: row["status"] for student, row in exported.items()} == {
        "half": "graded", "exits": "graded", "empty": "not graded", "torn": "not graded"
    }  # fmt: skip
    assert "no JSON any more" in exported["torn"]["remark"] and exported["torn"]["score"] == ""

    again = grade(a_class)
    assert "2 of 4 were graded already" in again.stdout
    assert "Traceback" not in done.stderr + again.stderr


def test_what_is_no_notebook_is_named(tmp_path):
    """Is it said what is wrong with a file before anything is started?"""
    file = tmp_path / "lesson.ipynb"
    assert wrong_with(file) == "there is no lesson.ipynb"
    file.write_text("{}")
    assert "is no notebook" in wrong_with(file)
    file.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    assert wrong_with(file) is None, "plain nbgrader gives it nothing, and so do we"


def test_what_was_kept_bears_the_verdicts_out(a_class):
    """Is each examination held again without the submissions, and one named whose evidence was changed,
    or is not there?"""
    grade(a_class)
    done = grade(a_class, "half", "exits", "--verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 7 questions passed" in done.stdout
    path = a_class.folder / "grading" / "evidence" / LESSON / "exits.evidence.gz"
    kept = evidence.read(path)
    kept["verdicts"][0]["sentence"] = None
    evidence.write(path, kept)
    done = grade(a_class, "--verify")
    assert done.returncode == 1
    said = {line.split()[0]: line for line in done.stdout.splitlines() if line[0] != " "}
    assert "kept is 'passed'" in said["exits"] and "not graded" in said["torn"]
    elsewhere = path.rename(path.with_suffix(".away"))
    done = grade(a_class, "exits", "--verify")
    elsewhere.rename(path)
    assert done.returncode == 1 and "nothing was kept" in done.stdout


def test_the_report_says_who_stands_where(a_class):
    """Does the page have the whole class: what to look at, with the evidence; what was wrong most, with
    a sentence and a cell; and everybody's points?"""
    grade(a_class)
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "report.py", LESSON, *a_class.options],
        capture_output=True, text=True, timeout=120, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    page = (a_class.folder / "grading" / f"{LESSON}.html").read_text()
    look_at, _, rest = page.partition("What the class got wrong")
    for words in ("exits", "stopped: ", "exits.evidence.gz", "empty", "is empty", "torn"):
        assert words in look_at
    assert "half" not in look_at
    assert "replay raised NotImplementedError" in rest and "raise NotImplementedError(" in rest
    assert re.search(r"half.*graded</td><td[^>]*>3<", rest)
    assert "http" not in page, "the page needs nobody else"
