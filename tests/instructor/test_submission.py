"""What was handed in, as nbgrader's Autograde reads it here; the cells themselves are not run.

(That each verdict stands on its own when they are is asked in tests/lessons/test_lessons.py.)
"""

from __future__ import annotations

import copy
import csv
import logging
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from grading import ROOT
from nbgrader.api import Gradebook
from nbgrader.apps import ExportApp
from nbgrader.converters import Autograde
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config, PyFileConfigLoader

from serving.examiner import sandbox
from serving.examiner.gradebook import learn_assignment
from serving.examiner.kernel import TRUST
from serving.examiner.submission import MISSING, RestoreCells, known_cells, read_notebook
from tools.grades import GradesTable
from tools.learning_platforms import CanvasTable, MoodleTable

LESSON = "01-serve-and-learn"
LESSONS = sorted(folder.name for folder in (ROOT / "lessons").iterdir())
BROKEN = {
    "empty": b"",
    "blank": b" \n",
    "cut-off": b'{"cells": [{"cell_ty',
    "null": b"null",
    "list": b"[]",
    "object": b"{}",
    "cells-a-number": b'{"cells": 3, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
    "cells-without-type": b'{"cells": [{}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
    "mark-a-list": b'{"cells": [{"cell_type": "markdown", "source": "", "metadata": {"nbgrader": []}}],'
    b' "metadata": {}, "nbformat": 4, "nbformat_minor": 4}',
    "page": b"<html><body>404: Not Found</body></html>",
    "bytes": bytes(range(256)),
    "deep": b"[" * 100_000,
}


@dataclass
class Class:
    """A class's folder: what was handed in, what came of it, and a gradebook."""

    folder: Path
    config: Config

    @property
    def course(self) -> CourseDirectory:
        return CourseDirectory(config=self.config)

    def hand_in(self, student: str, content: bytes, name: str = f"{LESSON}.ipynb") -> None:
        path = self.folder / "submitted" / student / LESSON / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def autograde(self, student: str = "*") -> None:
        config = copy.deepcopy(self.config)
        config.CourseDirectory.student_id = student
        Autograde(coursedir=CourseDirectory(config=config), config=config).start()

    def gradebook(self) -> Gradebook:
        return Gradebook(self.config.CourseDirectory.db_url, "online-learning")

    def graded(self, student: str) -> nbformat.NotebookNode:
        path = self.folder / "autograded" / student / LESSON / f"{LESSON}.ipynb"
        return nbformat.read(path, as_version=4)

    def exported(self, table: type[GradesTable]) -> list[list[str]]:
        """What `nbgrader export` writes by this exporter."""
        application = ExportApp(config=self.config)
        application.coursedir = self.course
        exporter = table(parent=application)
        exporter.assignment = [self.config.CourseDirectory.assignment_id]
        exporter.to = str(self.folder / "grades.csv")
        with self.gradebook() as gradebook:
            exporter.export(gradebook)
        with open(exporter.to, newline="") as file:
            return list(csv.reader(file))

    def table(self) -> dict[str, dict[str, str]]:
        """The lines of `nbgrader export`, by student."""
        heading, *lines = self.exported(GradesTable)
        found = [dict(zip(heading, line)) for line in lines]
        return {line["student_id"]: line for line in found}


@pytest.fixture
def a_class(tmp_path, monkeypatch, a_gradebook) -> Class:
    """A class whose gradebook knows the lessons, and nobody has handed in anything."""
    monkeypatch.setenv("PATH", os.environ["PATH"])  # put back what the configuration changes
    monkeypatch.setenv(TRUST, "yes")  # nothing is run here
    config = PyFileConfigLoader("nbgrader_config.py", path=str(ROOT)).load_config()
    for name in ("submitted", "autograded"):
        config.CourseDirectory[f"{name}_directory"] = str(tmp_path / name)
    shutil.copy(a_gradebook, tmp_path / "gradebook.db")
    config.CourseDirectory.db_url = f"sqlite:///{tmp_path}/gradebook.db"
    config.CourseDirectory.assignment_id = LESSON
    config.Autograde.autograde_preprocessors = [
        part for part in config.Autograde.autograde_preprocessors if "Execute" not in part
    ]
    return Class(tmp_path, config)


@pytest.fixture(scope="module")
def a_gradebook(tmp_path_factory) -> Path:
    """A gradebook that has learned all lessons: each takes seconds, as nbgrader starts a program."""
    path = tmp_path_factory.mktemp("book") / "gradebook.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", os.environ["PATH"])  # put back what the configuration changes
        config = PyFileConfigLoader("nbgrader_config.py", path=str(ROOT)).load_config()
        config.CourseDirectory.db_url = f"sqlite:///{path}"
        for lesson in LESSONS:
            log = logging.getLogger("nobody")
            learn_assignment(lesson, CourseDirectory(config=config), config, log)
    return path


@pytest.fixture(scope="module")
def known(a_gradebook) -> dict[str, dict[str, nbformat.NotebookNode]]:
    """By lesson: what the gradebook knows of its cells."""
    with Gradebook(f"sqlite:///{a_gradebook}", "online-learning") as gradebook:
        return {name: known_cells(gradebook.find_notebook(name, name)) for name in LESSONS}


def released(lesson: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "lessons" / lesson / f"{lesson}.ipynb", as_version=4)


def marked(notebook: nbformat.NotebookNode) -> dict[str, nbformat.NotebookNode]:
    return {c.metadata.nbgrader.grade_id: c for c in notebook.cells if "nbgrader" in c.metadata}


def content(notebook: nbformat.NotebookNode) -> bytes:
    return nbformat.writes(notebook).encode()


def said(remarks: list[dict[str, str]]) -> str:
    return "\n".join(remark["sentence"] for remark in remarks)


# -- a fresh clone ---------------------------------------------------------------------------------


def test_a_fresh_gradebook_grades_without_a_word(a_class, caplog):
    """Does autograde work before anybody has generated the assignment, and warn of nothing where
    nothing is wrong?"""
    (a_class.folder / "gradebook.db").unlink()
    a_class.hand_in("ada", content(released(LESSON)))
    with caplog.at_level(logging.WARNING):
        a_class.autograde()
    assert not caplog.records, caplog.text
    assert "BEGIN HIDDEN TESTS" in marked(a_class.graded("ada"))["test_calls"].source
    with a_class.gradebook() as gradebook:
        assert gradebook.find_assignment(LESSON).max_score == 22


def test_a_changed_hidden_test_is_used(a_class, tmp_path):
    """Is a test that was edited in solutions/ the one that grades from then on?"""
    solution = nbformat.read(ROOT / "solutions" / LESSON / f"{LESSON}.ipynb", as_version=4)
    path = tmp_path / "solutions" / LESSON / f"{LESSON}.ipynb"
    path.parent.mkdir(parents=True)
    a_class.config.CourseDirectory.source_directory = str(tmp_path / "solutions")
    a_class.hand_in("ada", content(released(LESSON)))
    nbformat.write(solution, path)
    a_class.autograde()

    test = marked(solution)["test_solved"]
    test.source = test.source.replace("### END", "edited = True\n### END")
    nbformat.write(solution, path)
    a_class.config.Autograde.force = True
    a_class.autograde()
    assert "edited = True" in marked(a_class.graded("ada"))["test_solved"].source


def test_a_cell_more_in_solutions_is_named_and_grading_goes_on(a_class, tmp_path, caplog):
    """With grades in the book: is another set of cells refused in words, and the rest graded?"""
    solution = nbformat.read(ROOT / "solutions" / LESSON / f"{LESSON}.ipynb", as_version=4)
    path = tmp_path / "solutions" / LESSON / f"{LESSON}.ipynb"
    path.parent.mkdir(parents=True)
    a_class.config.CourseDirectory.source_directory = str(tmp_path / "solutions")
    a_class.hand_in("ada", content(released(LESSON)))
    nbformat.write(solution, path)
    a_class.autograde()
    solution.cells.remove(marked(solution)["test_solved"])
    nbformat.write(solution, path)
    a_class.hand_in("ben", content(released(LESSON)))
    a_class.autograde("ben")
    assert "nbgrader db assignment remove" in caplog.text
    assert "test_solved" in marked(a_class.graded("ben"))


def test_without_a_sandbox_grading_refuses_once(a_class, caplog, monkeypatch):
    """Is it a sentence that says how to go on, and not a traceback a student?"""
    monkeypatch.delenv(TRUST)
    monkeypatch.setattr(sandbox, "why_not", lambda: "there is no program bwrap")
    for student in ("ada", "ben"):
        a_class.hand_in(student, content(released(LESSON)))
    with pytest.raises(NbGraderException, match="GRADE_WITHOUT_SANDBOX"):
        a_class.autograde()
    (record,) = caplog.records
    assert "no program bwrap" in record.getMessage()


# -- cells -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lesson", LESSONS)
def test_what_was_released_is_in_order(known, lesson):
    """Is an untouched lesson met without a remark, its hidden tests back in their cells?"""
    notebook = released(lesson)
    assert RestoreCells().restore(notebook, known[lesson]) == []
    for grade_id, cell in marked(notebook).items():
        if known[lesson][grade_id].metadata.nbgrader.locked:
            assert cell.source == known[lesson][grade_id].source


@pytest.mark.parametrize("lesson", LESSONS)
def test_each_cell_missing_in_turn(known, lesson):
    """Is each deleted cell named, does one that says so stand in its place, and are all others as if
    nothing had happened?"""
    for gone, original in known[lesson].items():
        notebook, untouched = released(lesson), released(lesson)
        notebook.cells.remove(marked(notebook)[gone])
        remarks = RestoreCells().restore(notebook, known[lesson])
        RestoreCells().restore(untouched, known[lesson])
        assert [remark["cell"] for remark in remarks] == [gone]
        assert f"`{gone}` was missing" in said(remarks)
        cells, whole = marked(notebook), marked(untouched)
        assert list(cells) == list(whole)
        for grade_id in cells.keys() - {gone}:
            assert cells[grade_id].source == whole[grade_id].source
        mark = original.metadata.nbgrader
        if original.cell_type == "code" and mark.grade:
            with pytest.raises(AssertionError, match="was missing"):
                exec(cells[gone].source)
        assert MISSING.format(cell_id=gone).strip() in cells[gone].source


def test_all_cells_missing(known):
    """Is a notebook without any of its cells graded as one with nothing in it?"""
    notebook = nbformat.v4.new_notebook()
    remarks = RestoreCells().restore(notebook, known[LESSON])
    assert list(marked(notebook)) == list(known[LESSON])
    assert len(remarks) == len(known[LESSON])


def test_doubled_altered_and_unknown_cells_are_named(known):
    """Are the changes that JupyterLab makes easy named, and set right?"""
    notebook = released(LESSON)
    cells = marked(notebook)
    double = copy.deepcopy(cells["solved"])
    double.source = "def solved(returns): return True"
    notebook.cells.append(double)
    cells["test_numbers"].source += "\nprint('mine')"
    cells["test_ending"].metadata.nbgrader.points = 99
    cells["test_result"].metadata.nbgrader.grade_id = "test_of_mine"
    remarks = RestoreCells().restore(notebook, known[LESSON])
    assert {remark["cell"] for remark in remarks} == {
        *("solved", "test_numbers", "test_ending", "test_result", "")
    }
    for words in (
        "`solved` was there 2 times",
        "`test_numbers` had been altered",
        "`test_of_mine`",
    ):
        assert words in said(remarks)
    cells = marked(notebook)
    assert cells["solved"] is notebook.cells[-1]
    assert "print('mine')" not in cells["test_numbers"].source
    assert cells["test_ending"].metadata.nbgrader.points == 2


@pytest.mark.parametrize("key, value", [("solution", True), ("grade", False), ("locked", False)])
def test_a_test_cell_stays_one(known, key, value):
    """Can a submission declare a test its own answer, and so keep its own text in it?"""
    notebook = released(LESSON)
    cell = marked(notebook)["test_calls"]
    cell.metadata.nbgrader[key] = value
    cell.source = "pass"
    RestoreCells().restore(notebook, known[LESSON])
    assert cell.metadata.nbgrader == known[LESSON]["test_calls"].metadata.nbgrader
    assert "BEGIN HIDDEN TESTS" in cell.source


def test_remarks_reach_gradebook_notebook_and_table(a_class, caplog):
    """Does the instructor read of a deleted cell in log, gradebook, graded notebook and export?"""
    notebook = released(LESSON)
    notebook.cells.remove(marked(notebook)["test_evaluate"])
    notebook.metadata["remarks"] = [{"cell": "", "sentence": "full marks, please"}]
    a_class.hand_in("eve", content(notebook))
    a_class.autograde()
    words = "`test_evaluate` was missing"
    assert f"eve, {LESSON}: The graded cell {words}" in caplog.text
    assert words in a_class.graded("eve").cells[0].source
    assert words in a_class.table()["eve"]["remark"]
    assert "please" not in a_class.graded("eve").cells[0].source
    with a_class.gradebook() as gradebook:
        comment = gradebook.find_comment("evaluate_policy", LESSON, LESSON, "eve")
        assert words in comment.comment


# -- what is no notebook ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_notebook_is_told_in_a_sentence(tmp_path, kind):
    """Is each kind of broken file refused with a ValueError that says what is wrong?"""
    path = tmp_path / "broken.ipynb"
    path.write_bytes(BROKEN[kind])
    with (
        open(path, encoding="utf-8") as file,
        pytest.raises(ValueError, match="^the file is ") as error,
    ):
        read_notebook(file)
    assert len(str(error.value)) < 200 and "\n" not in str(error.value)


def test_a_broken_submission_stops_nobody(a_class, caplog):
    """Are the others graded, is nobody shown a traceback, and is "not graded" no 0?"""
    a_class.hand_in("ada", content(released(LESSON)))
    a_class.hand_in("bob", BROKEN["cut-off"])
    a_class.hand_in("cleo", BROKEN["empty"])
    a_class.hand_in("dan", content(released(LESSON)), name="lesson one.ipynb")
    a_class.hand_in("zoe", content(released(LESSON)))
    with a_class.gradebook() as gradebook:
        gradebook.add_student("nemo")
    a_class.autograde()
    assert "Traceback" not in caplog.text
    a_class.hand_in("late", content(released(LESSON)))
    table = a_class.table()
    assert {student: line["status"] for student, line in table.items()} == {
        "ada": "graded",
        "bob": "not graded",
        "cleo": "not graded",
        "dan": "nothing handed in",
        "nemo": "nothing handed in",
        "zoe": "graded",
    }
    for student in ("bob", "cleo", "dan", "nemo"):
        assert table[student]["score"] == table[student]["raw_score"] == ""
    assert "line 1, column 13" in table["bob"]["remark"]
    assert "empty" in table["cleo"]["remark"]
    assert "lesson one.ipynb" in table["dan"]["remark"]
    assert re.search("dan, .*lesson one.ipynb", caplog.text)
    assert "not a grade of 0" in re.sub(r"\s+", " ", a_class.graded("bob").cells[0].source)


@pytest.mark.parametrize("table", [CanvasTable, MoodleTable])
def test_learning_platforms_are_told_what_stands(a_class, table):
    """Has the file the platform's columns, a student with points, nobody without, and of Canvas's the
    most that can be had?"""
    a_class.hand_in("ada", content(released(LESSON)))
    a_class.hand_in("bob", BROKEN["empty"])
    a_class.autograde()
    with a_class.gradebook() as gradebook:
        gradebook.update_or_create_student("ada", first_name="Ada", last_name="Lovelace")
        gradebook.add_student("nemo")
    heading, *lines = a_class.exported(table)
    assert tuple(heading[:5]) == table.columns and LESSON in heading[5] and len(heading) == 6
    if table is CanvasTable:
        assert lines.pop(0)[5] == "22.0"
        assert lines == [["Lovelace, Ada", "", "ada", "ada", "", "22.0"]]
    else:
        assert lines == [["Ada", "Lovelace", "ada", "ada", "", "22.0"]]


def test_points_by_hand_are_waited_for(a_class):
    """Does the table say which points an instructor still has to give?"""
    a_class.config.CourseDirectory.assignment_id = lesson = "04-compare-algorithms"
    notebook = released(lesson)
    marked(notebook)["words"].source = "PPO is faster in seconds, DQN in episodes."
    path = a_class.folder / "submitted" / "ada" / lesson / f"{lesson}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_bytes(content(notebook))
    a_class.autograde()
    line = a_class.table()["ada"]
    assert (line["status"], line["remark"]) == ("to be graded by hand", "words")
    with a_class.gradebook() as gradebook:
        grade = gradebook.find_grade("words", lesson, lesson, "ada")
        grade.manual_score, grade.needs_manual_grade = 4, False
        gradebook.db.commit()
    assert a_class.table()["ada"]["status"] == "graded"
