"""`nbgrader export` for learning platforms: a line for each student, a column for each lesson.

    nbgrader export --exporter=tools.learning_platforms.CanvasTable --to=grades-canvas.csv
    nbgrader export --exporter=tools.learning_platforms.MoodleTable --to=grades-moodle.csv

Where there are no points that stand, a cell is empty, and both leave the grade that they have as it is.
Who has no points at all is left out.
"""

from __future__ import annotations

import csv

from nbgrader.api import Assignment, Gradebook, Student

from tools.grades import GradesTable, by_name


class PlatformTable(GradesTable):
    """Base: what the platforms differ in is how they name a student."""

    columns: tuple[str, ...] = ()  # that say who it is, in the platform's order
    default = ""  # the file's name

    def who(self, student: Student) -> tuple[str, ...]:
        """The student's cells, one for each of `columns`."""
        raise NotImplementedError

    def most(self, assignments: list[Assignment]) -> list[list[object]]:
        """Lines between the heading and the students."""
        return []

    def title(self, assignment: Assignment) -> str:
        return assignment.name

    def export(self, gradebook: Gradebook) -> None:
        path = self.to or self.default
        wanted = set(map(str, self.assignment or ()))
        assignments = [a for a in gradebook.assignments if not wanted or a.name in wanted]
        only = set(map(str, self.student or ()))
        with open(path, "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow([*self.columns, *map(self.title, assignments)])
            table.writerows(self.most(assignments))
            for student in sorted(gradebook.students, key=by_name):
                points = [self.points(gradebook, a, student) for a in assignments]
                if any(p != "" for p in points) and (not only or student.id in only):
                    table.writerow([*self.who(student), *points])
        self.log.info("Grades are in %s", path)

    def points(self, gradebook: Gradebook, assignment: Assignment, student: Student) -> object:
        """What the student has, or "" as long as it does not stand."""
        line = self.line(gradebook, assignment, student)
        return line["score"] if line["status"] == "graded" else ""


class CanvasTable(PlatformTable):
    """Canvas: Grades → Import. It finds students by the id that the institution knows them by, which is
    taken to be the one in the gradebook."""

    columns = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
    default = "grades-canvas.csv"

    def who(self, student: Student) -> tuple[str, ...]:
        names = ", ".join(filter(None, (student.last_name, student.first_name)))
        return (names or student.id, "", student.id, student.id, "")

    def most(self, assignments: list[Assignment]) -> list[list[object]]:
        empty = [""] * (len(self.columns) - 1)
        return [["    Points Possible", *empty, *(a.max_score for a in assignments)]]


class MoodleTable(PlatformTable):
    """Moodle: Grades → Import → CSV file. Map the user by "Username", "ID number" or "Email address", and
    each lesson to its grade item."""

    columns = ("First name", "Last name", "Username", "ID number", "Email address")
    default = "grades-moodle.csv"

    def who(self, student: Student) -> tuple[str, ...]:
        names = (student.first_name or "", student.last_name or "")
        return (*names, student.id, student.id, student.email or "")

    def title(self, assignment: Assignment) -> str:
        return f"Assignment: {assignment.name} (Real)"
