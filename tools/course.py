"""nbgrader's course folder: who has handed in what, what each got for it, and what is remembered."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Grade:
    """What came of one submission. `points` is None if it could not be graded: that is not zero."""

    student: str
    points: float | None
    max_points: float
    seconds: float
    remark: str
    handed_in: str = ""  # a digest of the notebook
    node: str = ""  # of a Ray cluster


class Course:
    """nbgrader's course folder, as nbgrader_config.py and the options say."""

    def __init__(self, lesson: str, overrides: list[str]):
        from nbgrader.apps.nbgraderapp import NbGraderApp
        from nbgrader.coursedir import CourseDirectory

        self.lesson = lesson
        # nbgrader's own way to read its configuration; it looks in the folder where it is started.
        with contextlib.chdir(ROOT):
            app = NbGraderApp()
            app.initialize(["autograde", *overrides] if overrides else ["autograde"])
        self.config = (app.subapp or app).config
        self.directory = CourseDirectory(config=self.config)

    @property
    def db_url(self) -> str:
        return self.directory.db_url

    @property
    def gradebook(self) -> str:
        """Its file."""
        return self.db_url.removeprefix("sqlite:///")

    def notebook(self, student: str) -> Path:
        folder = self.directory.format_path(
            self.directory.submitted_directory, student, self.lesson
        )
        return Path(folder) / f"{self.lesson}.ipynb"

    def autograded(self, student: str) -> Path:
        """The folder of what nbgrader made of the submission."""
        return Path(
            self.directory.format_path(self.directory.autograded_directory, student, self.lesson)
        )

    def lessons(self) -> list[str]:
        folder = Path(self.directory.format_path(self.directory.source_directory, ".", "*")).parent
        return sorted(path.name for path in folder.iterdir() if path.is_dir())

    def students(self) -> list[str]:
        """Those who have handed something in for this lesson."""
        folders = Path(
            self.directory.format_path(self.directory.submitted_directory, "*", self.lesson)
        )
        top = Path(str(folders).split("*")[0])
        return sorted(path.name for path in top.iterdir() if (path / self.lesson).is_dir()) if (
            top.is_dir()
        ) else []  # fmt: skip


def enter(course: Course, student: str, book: Path) -> tuple[float | None, float, str]:
    """Copies what was graded in the private gradebook into the class's: the points, of how many, and
    what is to be said of them. The points are None where the file could not be read."""
    from nbgrader.api import Gradebook

    from tools.grades import by_hand, has_points, remark_of

    lesson = course.lesson
    with (
        Gradebook(f"sqlite:///{book}", course.directory.course_id) as private,
        Gradebook(course.db_url, course.directory.course_id) as common,
    ):
        graded = private.find_submission(lesson, student)
        common.update_or_create_student(student)
        with common.db.no_autoflush:  # nbgrader builds a submission before it adds it
            submission = common.update_or_create_submission(
                lesson, student, timestamp=graded.timestamp
            )
        submission.late_submission_penalty = graded.late_submission_penalty
        for notebook in graded.notebooks:
            for grade in notebook.grades:
                ours = common.find_grade(grade.name, notebook.name, lesson, student)
                ours.auto_score = grade.auto_score
                ours.needs_manual_grade = grade.needs_manual_grade
            for comment in notebook.comments:
                ours = common.find_comment(comment.name, notebook.name, lesson, student)
                ours.auto_comment = comment.auto_comment
        common.db.commit()
        most = float(submission.max_score)
        if not has_points(submission):
            reason = remark_of(submission)
            return None, most, reason[:1].lower() + reason[1:]
        cells = ", ".join(by_hand(submission))
        return float(submission.score), most, f"to be graded by hand: {cells}" if cells else ""


def remark_on(course: Course, student: str) -> str:
    """What else is to be said: what the kernel was ended for, which cells were missing."""
    from serving.examiner import evidence

    with contextlib.suppress(OSError, ValueError):
        return "; ".join(evidence.read(evidence_file(course, student))["remarks"])
    return ""


def evidence_file(course: Course, student: str) -> Path:
    from serving.examiner.evidence import SUFFIX

    return notes_of(course) / "evidence" / course.lesson / f"{student}{SUFFIX}"


def notes_of(course: Course) -> Path:
    """The folder beside the gradebook where grading keeps what it has to remember."""
    return Path(course.gradebook).parent / "grading"


def wrong_with(notebook: Path) -> str | None:
    """Why this cannot be graded at all; None if it can."""
    from serving.examiner.submission import read_notebook

    if not notebook.is_file():
        return f"there is no {notebook.name}"
    try:
        with open(notebook, encoding="utf-8") as file:
            read_notebook(file)
    except ValueError as error:
        return str(error)
    return None


def digest_of(notebook: Path) -> str:
    return hashlib.sha256(notebook.read_bytes()).hexdigest() if notebook.is_file() else ""


class Notes:
    """Who was graded, kept beside the gradebook so that an interrupted grading goes on."""

    def __init__(self, course: Course, lesson: str):
        self.path = notes_of(course) / f"{lesson}.json"
        self.grades: dict[str, Grade] = {}
        with contextlib.suppress(OSError, ValueError, TypeError):
            noted = json.loads(self.path.read_text())
            self.grades = {student: Grade(**grade) for student, grade in noted.items()}

    def add(self, grade: Grade) -> None:
        self.grades[grade.student] = grade
        self.path.parent.mkdir(exist_ok=True)
        scratch = self.path.with_suffix(".new")
        noted = {student: asdict(grade) for student, grade in sorted(self.grades.items())}
        scratch.write_text(json.dumps(noted, indent=1))
        scratch.replace(self.path)

    def holds(self, student: str, digest: str) -> bool:
        grade = self.grades.get(student)
        return grade is not None and grade.handed_in == digest and grade.points is not None


def with_overrides(parser, options: argparse.Namespace, overrides: list[str]) -> argparse.Namespace:
    """The options, and as `overrides` what is meant for nbgrader: of its own only where a course is."""
    if bad := [word for word in overrides if not word.startswith("--CourseDirectory.")]:
        parser.error(f"unknown: {' '.join(bad)} (nbgrader's --CourseDirectory.... are known)")
    options.overrides = overrides
    return options
