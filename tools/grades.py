"""`nbgrader export`: a line for each student and assignment, in which "not graded" is not 0."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from nbgrader.api import Assignment, Gradebook, MissingEntry, Student, SubmittedAssignment
from nbgrader.plugins import ExportPlugin

from serving.examiner.submission import NOT_GRADED

COLUMNS = (
    *("assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email"),
    *("raw_score", "late_submission_penalty", "score", "max_score", "status", "remark"),
)


class GradesTable(ExportPlugin):
    """nbgrader's table with two columns more. Where there is no grade the scores are empty, and
    `status` says why:

    graded                  the points stand
    to be graded by hand    some do not yet: open the formgrader; `remark` names the cells
    not graded              what was handed in could not be read; `remark` says why
    not graded yet          handed in, but `nbgrader autograde` has not seen it
    nothing handed in       the student is in the gradebook, and there is no such file
    """

    def export(self, gradebook: Gradebook) -> None:
        path = self.to or "grades.csv"
        with open(path, "w", newline="") as file:
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            for assignment in gradebook.assignments:
                if self.assignment and assignment.name not in map(str, self.assignment):
                    continue
                for student in sorted(gradebook.students, key=by_name):
                    if not self.student or student.id in map(str, self.student):
                        table.writerow(self.line(gradebook, assignment, student))
        self.log.info("Grades are in %s", path)

    def line(self, gradebook: Gradebook, assignment: Assignment, student: Student) -> dict:
        line = {
            "assignment": assignment.name,
            "duedate": assignment.duedate,
            "student_id": student.id,
            "last_name": student.last_name,
            "first_name": student.first_name,
            "email": student.email,
            "max_score": assignment.max_score,
        }
        try:
            submission = gradebook.find_submission(assignment.name, student.id)
        except MissingEntry:
            submission = None
        status, remark = self.status(assignment, student, submission)
        line |= {"status": status, "remark": remark}
        if submission:
            line["timestamp"] = submission.timestamp
        if status in ("graded", "to be graded by hand"):
            penalty = submission.late_submission_penalty
            line |= {
                "raw_score": submission.score,
                "late_submission_penalty": penalty,
                "score": max(0.0, submission.score - penalty),
            }
        return line

    def status(
        self, assignment: Assignment, student: Student, submission: SubmittedAssignment | None
    ) -> tuple[str, str]:
        """The status and the remark, as the class's docstring has them."""
        if not submission:
            course = self.parent.coursedir
            folder = Path(
                course.format_path(course.submitted_directory, student.id, assignment.name)
            )
            names = sorted(file.name for file in folder.glob("*"))
            wanted = {f"{notebook.name}.ipynb" for notebook in assignment.notebooks}
            if wanted <= set(names):
                return "not graded yet", ""
            there = f"there is {', '.join(names)}, but no {', '.join(wanted - set(names))}"
            return "nothing handed in", there if names else ""
        remark = remark_of(submission)
        if not has_points(submission):
            return ("not graded" if NOT_GRADED in remark else "not graded yet"), remark
        if cells := by_hand(submission):
            return "to be graded by hand", " ".join(filter(None, [remark, *cells]))
        return "graded", remark


def by_name(student: Student) -> tuple[str, ...]:
    return tuple(part or "" for part in (student.last_name, student.first_name, student.id))


def has_points(submission: SubmittedAssignment) -> bool:
    """Whether it was graded at all."""
    return any(
        grade.auto_score is not None or grade.manual_score is not None
        for notebook in submission.notebooks
        for grade in notebook.grades
    )


def by_hand(submission: SubmittedAssignment) -> list[str]:
    """The cells that a person has still to grade."""
    return [
        grade.name
        for notebook in submission.notebooks
        for grade in notebook.grades
        if grade.needs_manual_grade
    ]


def remark_of(submission: SubmittedAssignment) -> str:
    return " ".join(dict.fromkeys(remarks(submission)))


def remarks(submission: SubmittedAssignment) -> Iterator[str]:
    """The sentences that grading has left in the gradebook, in the order of the cells."""
    for notebook in submission.notebooks:
        said = {comment.name: comment.auto_comment for comment in notebook.comments}
        for cell in notebook.notebook.source_cells:
            if (comment := said.get(cell.name)) and comment != "No response.":
                yield from (part for part in comment.split("\n\n") if part != "No response.")
