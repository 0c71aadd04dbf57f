"""What a class has made of a lesson: read from the gradebook, the graded notebooks and the evidence."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbgrader import utils
from nbgrader.api import Gradebook
from nbgrader.apps import ExportApp

from serving.examiner import evidence
from tools.course import Course, evidence_file, wrong_with
from tools.grades import GradesTable, by_name

UNTOUCHED = "replace this line with your own code"  # what a stub raises: see nbgrader_config.py


@dataclass
class Result:
    """Where one student stands.

    line
        as in grades.csv: `tools.grades.COLUMNS`
    points
        by graded cell, what it earned; None where a person has not yet said
    evidence
        what the examiner has kept: see `serving.examiner.kernel`; {} if there is none
    answers
        by graded cell, the source of the exercise that it asks about
    """

    student: str
    line: dict
    points: dict[str, float | None] = field(default_factory=dict)
    evidence: dict = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)

    @property
    def sentences(self) -> dict[str, str]:
        """By graded cell, what was wrong there."""
        verdicts = self.evidence.get("verdicts", ())
        return {v["question"]: v["sentence"] for v in verdicts if v["sentence"]}

    @property
    def curve(self) -> list[list[float]]:
        """[env steps, how good the policy was], of the question about learning."""
        verdicts = self.evidence.get("verdicts", ())
        return next((v["curve"] for v in verdicts if v.get("curve")), [])

    @property
    def policy(self) -> str | None:
        """The policy that has learned from the student, in one line of text."""
        verdicts = self.evidence.get("verdicts", ())
        return next((v["policy"] for v in verdicts if v.get("policy")), None)

    @property
    def flags(self) -> list[str]:
        """What a person should look at, in words."""
        found = list(self.evidence.get("remarks", ()))
        if not found and self.line.get("remark") and self.line["status"] != "to be graded by hand":
            found.append(self.line["remark"])
        status = self.line["status"]
        if status in ("not graded", "not graded yet") and not any(
            remark.lower().startswith(status) for remark in found
        ):
            found.append(status)
        if self.evidence and not self.evidence.get("sandboxed", True):
            found.append("it was graded without a sandbox")
        return list(dict.fromkeys(found))


@dataclass
class Topic:
    """A graded cell, and what the class has made of it."""

    grade_id: str
    meaning: str  # what its first line says
    points: float
    right: list[str] = field(default_factory=list)  # students
    wrong: list[str] = field(default_factory=list)

    def not_begun(self, results: dict[str, Result]) -> list[str]:
        """Those who have left the lesson's own line where their code should be."""
        return [
            student for student in self.wrong
            if UNTOUCHED in results[student].sentences.get(self.grade_id, "")
        ]  # fmt: skip

    def commonest(self, results: dict[str, Result]) -> tuple[str, str, int]:
        """The sentence that was said most often to those who have begun, whatever its numbers; one
        student it was said to; and how often. ("", "", 0) if nothing was said."""
        not_begun = self.not_begun(results)
        said = {
            student: results[student].sentences[self.grade_id]
            for student in self.wrong
            if self.grade_id in results[student].sentences and student not in not_begun
        }
        if not said:
            return "", "", 0
        kinds = Counter(without_numbers(sentence) for sentence in said.values())
        kind, times = kinds.most_common(1)[0]
        student = next(s for s in said if without_numbers(said[s]) == kind)
        return said[student], student, times


def without_numbers(sentence: str) -> str:
    return re.sub(r"-?\d[\d.,e+-]*", "#", sentence)


class ClassResults:
    """All of a class's results of one lesson; raises MissingEntry if the gradebook knows no such."""

    def __init__(self, course: Course):
        self.course, self.lesson = course, course.lesson
        self.results: dict[str, Result] = {}
        self.topics: dict[str, Topic] = {}
        application = ExportApp(config=course.config)
        application.coursedir = course.directory
        table = GradesTable(parent=application)
        with Gradebook(course.db_url, course.directory.course_id) as book:
            assignment = book.find_assignment(self.lesson)
            self.max_score = assignment.max_score
            for cell in book.find_notebook(self.lesson, self.lesson).source_cells:
                mark = next((grade for grade in assignment.notebooks[0].grade_cells
                             if grade.name == cell.name), None)  # fmt: skip
                if mark is not None:
                    meaning = meaning_of(cell.source, mark.cell_type)
                    self.topics[cell.name] = Topic(cell.name, meaning, mark.max_score)
            for student in sorted(book.students, key=by_name):
                line = table.line(book, assignment, student)
                self.results[student.id] = self._result(student.id, line, book)
        for student in course.students():  # what could not be read may not be in the gradebook
            if student not in self.results:
                wrong = wrong_with(course.notebook(student))
                status = "not graded" if wrong else "not graded yet"
                line = {"status": status, "remark": wrong or ""}
                self.results[student] = Result(student, line)
        for topic in self.topics.values():
            for result in self.results.values():
                earned = result.points.get(topic.grade_id)
                if earned is not None:
                    (topic.right if earned >= topic.points else topic.wrong).append(result.student)

    def _result(self, student: str, line: dict, book: Gradebook) -> Result:
        result = Result(student, line, evidence=evidence_of(self.course, student))
        if "score" not in line:
            return result
        submission = book.find_submission(self.lesson, student)
        for notebook in submission.notebooks:
            for grade in notebook.grades:
                result.points[grade.name] = None if grade.needs_manual_grade else grade.score
        folder = self.course.directory.format_path(
            self.course.directory.autograded_directory, student, self.lesson
        )
        with contextlib.suppress(OSError, ValueError):
            result.answers = answers_in(Path(folder) / f"{self.lesson}.ipynb")
        return result

    def graded(self) -> list[Result]:
        return [result for result in self.results.values() if "score" in result.line]

    def flagged(self) -> list[Result]:
        return [result for result in self.results.values() if result.flags]


def evidence_of(course: Course, student: str) -> dict:
    with contextlib.suppress(OSError, ValueError):
        return evidence.read(evidence_file(course, student))
    return {}


def answers_in(path: Path) -> dict[str, str]:
    """By graded cell, the source of the latest exercise before it."""
    found, latest = {}, ""
    for cell in nbformat.read(path, as_version=4).cells:
        if utils.is_solution(cell):
            latest = cell.source
        if utils.is_grade(cell):
            found[cell.metadata.nbgrader.grade_id] = latest
    return found


def meaning_of(source: str, cell_type: str) -> str:
    """What a graded cell says it is about: `# 3 points: the ...`, without the points."""
    if cell_type != "code":
        return "in words, read by a person"
    first = source.splitlines()[0] if source else ""
    return re.sub(r"^# \d+ points?:? ?", "", first)
