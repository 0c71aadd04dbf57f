"""A class on one machine: nbgrader's Exchange between an instructor's account and a student's, by its
commands and by JupyterLab's menus."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

import nbformat
import pytest
from accounts import SHARED, Accounts
from grading import reference_answers
from kit import clone, environment
from lab_page import JupyterLab, press
from playwright.sync_api import Frame, Locator, expect

from serving import ROOT
from tools import student_bundle

PROF, ADA = "prof", "ada"
UNTOUCHED, ANSWERED, FETCHED = "02-pong", "01-serve-and-learn", "03-learn-from-logs"
SECONDS = 1800  # on a busy machine

pytestmark = [
    pytest.mark.timeout(SECONDS),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make accounts"),
    pytest.mark.skipif(
        not (shutil.which("bwrap") and shutil.which("setpriv")),
        reason="bubblewrap or setpriv is not installed",
    ),
]


class Class(Accounts):
    """An instructor with the repository, a student with what `make bundle` writes, and an Exchange."""

    def __init__(self):
        super().__init__(PROF, ADA)
        self.course = clone(self.home(PROF) / "course")
        self.kit = self.home(ADA) / "online-learning"
        with contextlib.redirect_stdout(io.StringIO()):
            assert student_bundle.main([f"--into={self.kit}"]) == 0
        (self.kit / ".venv").symlink_to(sys.prefix)
        shutil.rmtree(self.kit / "lessons" / FETCHED)  # the course comes to it later
        for name in (PROF, ADA):
            self.own(name, self.home(name))
        (line,) = re.findall(r"^sudo (install .*exchange)$", (ROOT / "README.md").read_text(), re.M)
        line = line.replace(str(SHARED), str(self.shared))
        subprocess.run(line.split(), check=True, timeout=10)

    def try_(self, user: str, command: str) -> subprocess.CompletedProcess:
        """In a terminal of theirs, in their kit."""
        return subprocess.run(
            [*self.enter(user), "bash", "-c", f"source .venv/bin/activate; {command}"],
            cwd=self.course if user == PROF else self.kit,
            env=environment(self.home(user)) | {"TMPDIR": str(self.home(user))}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS,
        )  # fmt: skip

    def run(self, user: str, command: str) -> str:
        done = self.try_(user, command)
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def feedback(self, lesson: str) -> str:
        """The page that has come to the student, beside the lesson."""
        (page,) = (self.kit / "lessons" / lesson).glob(f"feedback/*/{lesson}.html")
        return re.sub(r"<[^>]*>", "", page.read_text())

    def copies(self, lesson: str) -> list[str]:
        """Where the student has notebooks of this name; what nbgrader keeps out of sight aside."""
        found = self.home(ADA).rglob(f"{lesson}.ipynb")
        paths = (path.relative_to(self.home(ADA)) for path in found)
        return [str(path) for path in paths if not path.parts[0].startswith(".")]


@pytest.fixture(scope="module")
def a_class() -> Iterator[Class]:
    class_ = Class()
    try:
        yield class_
    finally:
        class_.close()


# -- by commands -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_release_submit_collect_and_feedback_by_commands(a_class):
    """Does a lesson go from account to account and back, with nothing but README's commands, and is
    the copy that came with the kit the one that is handed in?"""
    lesson = UNTOUCHED
    (a_class.kit / "lessons" / lesson / ".progress.json").write_text("{}")
    a_class.run(PROF, f"nbgrader release_assignment {lesson}")
    assert f"online-learning {lesson}" in a_class.run(ADA, "nbgrader list")
    a_class.run(ADA, f"nbgrader submit {lesson}")
    a_class.run(PROF, f"nbgrader collect {lesson}")
    handed_in = {path.name for path in (a_class.course / "submitted" / ADA / lesson).iterdir()}
    assert handed_in == {f"{lesson}.ipynb", "timestamp.txt", "submission_secret.txt"}
    for command in ("autograde", "generate_feedback", "release_feedback"):
        a_class.run(PROF, f"nbgrader {command} {lesson}")
    a_class.run(ADA, f"nbgrader fetch_feedback {lesson}")
    assert "Score: 0.0 / " in a_class.feedback(lesson)
    assert a_class.copies(lesson) == [f"online-learning/lessons/{lesson}/{lesson}.ipynb"]

    # Handed in once more, and collected: without the feedback, which lies beside the lesson now.
    a_class.run(ADA, f"nbgrader submit {lesson}")
    a_class.run(PROF, f"nbgrader collect --update {lesson}")
    again = {path.name for path in (a_class.course / "submitted" / ADA / lesson).iterdir()}
    assert again == handed_in


@pytest.mark.slow
def test_a_fetched_lesson_works_wherever_it_lies(a_class):
    """Fetched into a folder outside of the kit: does it find `serving` and its data, and has it its
    pictures with it?"""
    a_class.run(PROF, f"nbgrader release_assignment {FETCHED} --force")
    elsewhere = a_class.home(ADA) / "elsewhere"
    a_class.run(ADA, f"mkdir {elsewhere}")
    a_class.run(ADA, f"nbgrader fetch_assignment {FETCHED} --Exchange.assignment_dir={elsewhere}")
    (path,) = elsewhere.rglob("*.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    first = next(cell.source for cell in cells if cell.cell_type == "code")
    command = f"python={a_class.kit}/.venv/bin/python; cd {path.parent}; $python -c {quote(first)}"
    assert "data_large.gz: " in a_class.run(ADA, command)
    pictures = [name for cell in cells for name in cell.get("attachments", {})]
    shown = re.findall(r"!\[[^\]]*\]\((\S+?)\)", "".join(cell.source for cell in cells))
    assert pictures and shown == [f"attachment:{name}" for name in pictures]
    shutil.rmtree(elsewhere)


@pytest.mark.slow
def test_accounts_are_kept_apart(a_class):
    """Can a student read neither the instructor's course nor what is handed in, and not release?"""
    a_class.run(PROF, f"nbgrader release_assignment {FETCHED} --force")
    inbound = f"{SHARED}/nbgrader/exchange/online-learning/inbound"
    for forbidden in (f"ls {a_class.course}", f"ls {inbound}", f"rm -r {inbound}"):
        assert "Permission denied" in a_class.try_(ADA, forbidden).stdout, forbidden
    assert a_class.try_(ADA, f"nbgrader release_assignment {ANSWERED}").returncode != 0


# -- by menus --------------------------------------------------------------------------------------


def the_formgrader(lab: JupyterLab) -> Frame:
    """Opened by the menu, with the table of lessons as it is now."""
    lab.menu("Nbgrader", "Formgrader")
    frame = lab.page.locator("iframe:visible").element_handle().content_frame()
    frame.goto(f"{lab.page.url.split('/lab')[0]}/formgrader/manage_assignments")
    return frame


def in_formgrader(lab: JupyterLab, lesson: str, button: str) -> str:
    """Presses a button of the lesson's line; what the dialog then says."""
    formgrader = the_formgrader(lab)
    return press(formgrader, formgrader.locator("tr", has_text=lesson), button)


class AssignmentList:
    """The student's: *Nbgrader → Assignment List*."""

    def __init__(self, lab: JupyterLab):
        self.lab, self.panel = lab, lab.page.locator("#nbgrader-assignment-list")
        lab.menu("Nbgrader", "Assignment List")
        expect(self.panel.locator("#course_list_default")).to_have_text("online-learning")

    def row(self, kind: str, lesson: str) -> Locator:
        """A lesson's line among those that are "released", "fetched" or "submitted"."""
        rows = self.panel.locator(f"#{kind}_assignments_list .list_item")
        return rows.filter(has_text=lesson).first

    def press(self, kind: str, lesson: str, button: str) -> None:
        self.row(kind, lesson).get_by_role("button", name=button, exact=True).click()


def answer(path: Path, lesson: str) -> None:
    """The reference answers, as a student would have typed and saved them."""
    notebook = nbformat.read(path, as_version=4)
    answers = reference_answers(lesson)
    for cell in notebook.cells:
        cell.source = answers.get(cell.metadata.get("nbgrader", {}).get("grade_id"), cell.source)
    nbformat.write(notebook, path)


@pytest.mark.skipif(os.environ.get("JOURNEYS") != "all", reason="JOURNEYS=all, the long form")
def test_the_same_by_menus(a_class, open_lab):
    """Does the instructor release, collect, grade and give feedback in the formgrader, and the
    student fetch, submit and read in the Assignment List?"""
    prof = open_lab(variables=["INSTRUCTOR=1"], accounts=a_class, user=PROF, kit=a_class.course)
    prof.open()
    for lesson in (ANSWERED, FETCHED):
        a_class.run(PROF, f"nbgrader list --remove --assignment={lesson}")  # by another test
        assert "Successfully released" in in_formgrader(prof, lesson, "release")
    prof.photograph("exchange-released")

    ada = open_lab(accounts=a_class, user=ADA, kit=a_class.kit)
    ada.open()
    assignments = AssignmentList(ada)
    ada.photograph("exchange-list")

    # One that came with the kit is there already; one that did not comes beside it.
    expect(assignments.row("fetched", ANSWERED)).to_be_visible()
    assignments.press("released", FETCHED, "Fetch")
    expect(assignments.row("fetched", FETCHED)).to_be_visible()
    assert a_class.copies(FETCHED) == [f"online-learning/lessons/{FETCHED}/{FETCHED}.ipynb"]
    answer(a_class.kit / "lessons" / ANSWERED / f"{ANSWERED}.ipynb", ANSWERED)
    assignments.press("fetched", ANSWERED, "Submit")
    expect(assignments.row("submitted", ANSWERED)).to_be_visible()
    ada.photograph("exchange-submitted")

    assert "Successfully collected" in in_formgrader(prof, ANSWERED, "collect")
    formgrader = the_formgrader(prof)
    formgrader.locator("tr", has_text=ANSWERED).locator("td.num-submissions a").click()
    student = formgrader.locator(f'tr:has(td.student-id:text-is("{ADA}"))')
    assert "Successfully autograded" in press(formgrader, student, "autograde")
    prof.photograph("exchange-graded")
    for button in ("generate-feedback", "release-feedback"):
        assert "Success" in in_formgrader(prof, ANSWERED, button)

    assignments = AssignmentList(ada)
    assignments.panel.locator("#refresh_assignments_list").click()
    assignments.press("submitted", ANSWERED, "Fetch Feedback")
    lesson = a_class.kit / "lessons" / ANSWERED
    ada.until(lambda: [*lesson.glob("feedback/*/*.html")], 60, "the feedback")
    assert "Score: 22.0 / 22.0" in a_class.feedback(ANSWERED)
    ada.photograph("exchange-feedback")
