"""The lessons as a student goes through them: what they are asked to type, and what they type."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
from dataclasses import dataclass, field

from kit import ROOT
from lab_page import JupyterLab, Notebook, Terminal
from playwright.sync_api import Page, expect

STUDENT = "ada"


@dataclass
class Lesson:
    """A lesson's cells, from its notebook, and the answers, from the instructor's.

    mistakes
        grade_id of an exercise -> an answer as it is typed by somebody who has not yet understood;
        or what such a person writes instead of what, as a pair (right, wrong)
    """

    name: str
    mistakes: dict[str, str | tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self):
        self.cells = _cells("lessons", self.name)
        self.answers = {
            _grade_id(cell): re.sub(r" *### (BEGIN|END) SOLUTION\n?", "", _source(cell))
            for cell in _cells("solutions", self.name)
            if cell["metadata"].get("nbgrader", {}).get("solution")
        }
        for exercise, mistake in self.mistakes.items():
            if isinstance(mistake, tuple):
                right, wrong = mistake
                assert right in self.answers[exercise], f"{exercise} has no {right!r}"
                self.mistakes[exercise] = self.answers[exercise].replace(right, wrong)

    @property
    def title(self) -> str:
        return re.search(r"^# \d · (.*)$", _source(self.cells[0]), re.M)[1]

    @property
    def command(self) -> str:
        """The command that starts the lesson's own policy server, as its text has it."""
        prose = "\n".join(_source(cell) for cell in self.cells if cell["cell_type"] == "markdown")
        command = re.search(
            r"^python serving/simple_policy_server\.py (?:.*\\\n)*.*$", prose, re.M
        )[0]
        return re.sub(r"\s*\\\n\s*", " ", command)

    def code(self) -> list[int]:
        """Numbers of the cells that a student runs: all with code, but for the graded ones."""
        return [
            number
            for number, cell in enumerate(self.cells)
            if cell["cell_type"] == "code" and not cell["metadata"].get("nbgrader", {}).get("grade")
        ]

    def words(self) -> list[int]:
        """Numbers of the cells that are answered in words."""
        return [
            number
            for number, cell in enumerate(self.cells)
            if cell["cell_type"] == "markdown" and self.exercise(number)
        ]

    def points(self, by_hand: bool = False) -> float:
        """How many an examiner gives, or a person."""
        marks = [cell["metadata"].get("nbgrader", {}) for cell in self.cells]
        return sum(m["points"] for m in marks if m.get("grade") and m["solution"] == by_hand)

    def find(self, words: str) -> int:
        """The number of the first code cell with these words."""
        return next(number for number in self.code() if words in _source(self.cells[number]))

    def exercise(self, number: int) -> str | None:
        """The exercise's name, if this cell is to be answered."""
        metadata = self.cells[number]["metadata"].get("nbgrader", {})
        return metadata["grade_id"] if metadata.get("solution") else None


class Walk:
    """A student on the way through a lesson."""

    def __init__(self, lab: JupyterLab, lesson: Lesson):
        self.lab, self.lesson = lab, lesson
        self.notebook: Notebook = lab.follow(lesson.title)
        self.said: dict[int, str] = {}  # by each cell that was run, the latest

    def run(self, number: int) -> str:
        self.said[number] = self.notebook.run(number)
        return self.said[number]

    def run_stubs(self) -> str:
        """*Run All Cells*, before anything was answered; returns what the cell says it stops at."""
        self.lab.menu("Run", "Run All Cells")
        return self.notebook.error()

    def start_server(self, command: str | None = None) -> Terminal:
        """Types the lesson's command, or this one, in a terminal."""
        terminal = self.lab.terminal()
        terminal.type(command or self.lesson.command, "http://localhost:8900")
        self.back()
        return terminal

    def back(self) -> None:
        """To the notebook."""
        self.lab.tab(f"{self.lesson.name}.ipynb")

    def write_words(self) -> None:
        """Answers what is to be answered in words."""
        for number in self.lesson.words():
            self.notebook.write(number, self.lesson.answers[self.lesson.exercise(number)])

    def answer(self, after: str | None = None, until: str | None = None) -> dict[str, str]:
        """Runs cell after cell, from behind the one with the words `after` up to the one with
        `until`, and answers the exercises on the way: the mistake first, then the right answer.
        Returns, by exercise, what the cell after each mistake has said."""
        found = {}
        code = self.lesson.code()
        first = self.lesson.find(after) + 1 if after else 0
        last = self.lesson.find(until) if until else code[-1]
        for number, following in zip(code, [*code[1:], None]):
            if not first <= number <= last:
                continue
            if exercise := self.lesson.exercise(number):
                if mistake := self.lesson.mistakes.get(exercise):
                    self.notebook.replace(number, mistake)
                    found[exercise] = self.run(number) + self.run(following)
                    self.lab.photograph(f"{self.lesson.name}-mistake-{exercise}")
                self.notebook.replace(number, self.lesson.answers[exercise])
            said = self.run(number)
            assert "✗" not in said, f"a right answer is found fault with: {said}"
            assert "Traceback" not in said and "Error" not in said, f"cell {number} fails: {said}"
        return found

    def validate(self) -> str:
        """Presses *Validate*, which should not be noticed by the server of the lesson, if one runs."""
        before = self.lab.running.status()
        said = self.notebook.validate()
        if before:
            after = self.lab.running.status()
            assert after["env_steps"] == before["env_steps"], "the server learned from Validate"
        return words(said)

    def hand_in(self) -> None:
        """Saves the notebook, and hands in what is in the lesson's folder."""
        self.notebook.save()
        folder = self.lab.running.kit / "lessons" / self.lesson.name
        saved = folder / f"{self.lesson.name}.ipynb"
        sources = [_squeezed(answer) for answer in self.lesson.answers.values()]

        def is_saved() -> bool:
            cells = {_squeezed(_source(cell)) for cell in json.loads(saved.read_text())["cells"]}
            return cells.issuperset(sources)

        self.lab.until(is_saved, 60, "the saved answers")
        handed_in = self.lab.running.kit / "submitted" / STUDENT / self.lesson.name
        shutil.copytree(folder, handed_in, ignore=shutil.ignore_patterns(".*"))


def graded(lab: JupyterLab, lesson: Lesson) -> tuple[dict[str, str], str]:
    """Has that very file graded by README's commands: the student's line in grades.csv, and what there
    is to be read in the feedback."""
    name, running = lesson.name, lab.running
    for command in (
        f"nbgrader autograde {name}",
        f"nbgrader generate_feedback {name}",
        "nbgrader export --to=grades.csv",
    ):
        running.run("bash", "-c", f"source .venv/bin/activate; {command}")
    with open(running.kit / "grades.csv", newline="") as file:
        lines = {(line["student_id"], line["assignment"]): line for line in csv.DictReader(file)}
    page = lab.page.context.new_page()
    page.goto(f"file://{running.kit}/feedback/{STUDENT}/{name}/{name}.html")
    lab.photograph(f"{name}-feedback", page)
    page.close()
    text = (running.kit / "feedback" / STUDENT / name / f"{name}.html").read_text()
    return lines[STUDENT, name], html.unescape(re.sub(r"<[^>]*>", "", text))


def watch_a_demo(lab: JupyterLab, page: Page, picture: str) -> None:
    """Has the Pong page play against itself, until it shows twenty decisions."""
    page.wait_for_selector("#level option", state="attached", timeout=60_000)
    page.click("[data-mode=demo]")
    page.click("#overlay-button")
    expect(page.locator("#decisions tr").nth(20)).to_be_attached(timeout=60_000)
    lab.photograph(picture, page)


def words(said: str) -> str:
    """On one line, however it was wrapped."""
    return " ".join(said.replace("\\\n", " ").split())


def _cells(folder: str, name: str) -> list[dict]:
    return json.loads((ROOT / folder / name / f"{name}.ipynb").read_text())["cells"]


def _source(cell: dict) -> str:
    return "".join(cell["source"])


def _squeezed(source: str) -> str:
    """However the editor has indented an empty line."""
    return "\n".join(line.rstrip() for line in source.strip().splitlines())


def _grade_id(cell: dict) -> str:
    return cell["metadata"]["nbgrader"]["grade_id"]
