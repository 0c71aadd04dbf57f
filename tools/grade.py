#!/usr/bin/env python
"""Autogrades all that was handed in, several submissions at once.

    python tools/grade.py 01-serve-and-learn          (or: make grade LESSON=01-serve-and-learn)
    python tools/grade.py 01-serve-and-learn --ray-address=auto     on the nodes of a Ray cluster
    python tools/grade.py 01-serve-and-learn --verify

Each submission is graded as `nbgrader autograde` would: through the examiner, in the sandbox, in a
process of its own with a copy of the gradebook. What comes of it is entered into the gradebook by one
process, as soon as it is there; formgrader, feedback and export go on from there. Who was graded and
has handed in nothing new since is not graded again: interrupted, the same command goes on.

--verify runs no submission: it holds each examination again from the evidence that was kept, and says
which verdicts do not follow from it.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from serving.learner_start import learners_are_forked  # noqa: E402
from serving.running_server import servers_are_forked  # noqa: E402
from tools.course import (  # noqa: E402
    Course,
    Grade,
    Notes,
    digest_of,
    enter,
    evidence_file,
    notes_of,
    remark_on,
    with_overrides,
)
from tools.grade_on_ray import GradingOnRay, nodes_of  # noqa: E402

PATIENCE = 60.0  # seconds that a submission may take beyond its time limit, to be ended in order
LOOK_EVERY = 0.2


def grade_one(course: Course, student: str, book: Path, answer: Path, memory: int, timeout: int):
    """In a process of its own: nbgrader's autograde with a private gradebook; writes {success, log}."""
    os.setsid()
    os.environ["GRADE_MEMORY"], os.environ["GRADE_SECONDS"] = str(memory), str(timeout)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    from nbgrader.apps.api import NbGraderAPI

    os.environ["GRADE_EVIDENCE"] = str(notes_of(course))
    course.config.CourseDirectory.db_url = f"sqlite:///{book}"
    api = NbGraderAPI(config=course.config)
    done = api.autograde(course.lesson, student, force=True, create=True)
    answer.write_text(
        json.dumps({"success": done["success"], "log": done.get("log", "")[-20_000:]})
    )


class Grading:
    """A class's submissions, of which some are being graded."""

    def __init__(self, course: Course, options: argparse.Namespace, scratch: Path):
        self.course, self.options, self.scratch = course, options, scratch
        self.at_once = options.num_workers or usual_workers()
        self.running: dict[str, tuple[multiprocessing.Process, float]] = {}
        self._fork = multiprocessing.get_context("fork")  # nbgrader has been imported here

    def start(self, student: str) -> None:
        book = self.scratch / f"{student}.db"
        shutil.copyfile(self.course.gradebook, book)
        process = self._fork.Process(
            target=grade_one,
            args=(self.course, student, book, self.scratch / f"{student}.json",
                  self.options.memory, self.options.timeout),
        )  # fmt: skip
        process.start()
        self.running[student] = process, time.monotonic()

    def finished(self) -> list[Grade]:
        """Those that have ended since it was asked last, entered into the gradebook."""
        grades = []
        for student, (process, began) in list(self.running.items()):
            seconds = time.monotonic() - began
            late = seconds > self.options.timeout + PATIENCE
            if process.is_alive() and not late:
                continue
            if process.is_alive():
                end(process)
            process.join()
            del self.running[student]
            grades.append(self._grade(student, seconds, late))
        return grades

    def stop(self) -> None:
        for process, _ in self.running.values():
            end(process)

    def _grade(self, student: str, seconds: float, late: bool) -> Grade:
        answer = self.scratch / f"{student}.json"
        said = json.loads(answer.read_text()) if answer.exists() else {}
        digest = digest_of(self.course.notebook(student))
        if not said.get("success"):
            remark = f"took longer than {self.options.timeout} s" if late else why(said.get("log"))
            return Grade(student, None, 0.0, seconds, f"not graded: {remark}", digest)
        points, most, remark = enter(self.course, student, self.scratch / f"{student}.db")
        remark = "; ".join(filter(None, [remark_on(self.course, student), remark]))
        return Grade(student, points, most, seconds, remark, digest)


def usual_workers() -> int:
    """Three for two processors: what grades one submission are processes that wait for each other now
    and then. (On two, a class of 24 took 82 s with two at once, 61 to 64 s with three, 72 s with four.)"""
    return max(1, 3 * (os.cpu_count() or 1) // 2)


def end(process: multiprocessing.Process) -> None:
    """Ends the process and its family: the sandbox and the examiner go with it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def why(log: str | None) -> str:
    """The last error of nbgrader's log, without its traceback."""
    errors = [line for line in (log or "").splitlines() if "Error" in line or "Exception" in line]
    return errors[-1].strip()[:200] if errors else "its process ended without a word"


def table(grades: list[Grade]) -> str:
    lines = [f"{'student':24} {'points':>12} {'seconds':>8}  remark"]
    for grade in grades:
        of = "-" if grade.points is None else f"{grade.points:g} of {grade.max_points:g}"
        lines.append(f"{grade.student:24} {of:>12} {grade.seconds:8.1f}  {grade.remark}")
    return "\n".join(lines)


def write_csv(path: Path, lesson: str, grades: list[Grade]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["student", "lesson", "points", "max_points", "seconds", "remark"])
        for grade in grades:
            points = "" if grade.points is None else f"{grade.points:g}"
            writer.writerow(
                [grade.student, lesson, points, f"{grade.max_points:g}", f"{grade.seconds:.1f}",
                 grade.remark]
            )  # fmt: skip


def grade_all(course: Course, students: list[str], notes: Notes, options) -> None:
    """Grades them, as many at once as there are workers, and notes each as it ends."""
    from tqdm import tqdm

    waiting = list(students)
    with tempfile.TemporaryDirectory(prefix="grading-") as scratch:
        where = GradingOnRay if options.ray_address else Grading
        grading = where(course, options, Path(scratch))
        try:
            # Starting servers and learners is a third of what grading costs, where they are not forked.
            with (
                learners_are_forked(),
                servers_are_forked(),
                tqdm(total=len(students), unit="submission", disable=options.quiet) as bar,
            ):
                while waiting or grading.running:
                    while waiting and len(grading.running) < grading.at_once:
                        student = waiting.pop(0)
                        notebook = course.notebook(student)
                        if notebook.is_file():
                            grading.start(student)
                        else:
                            wrong = f"not graded: there is no {notebook.name}"
                            notes.add(Grade(student, None, 0.0, 0.0, wrong))
                            bar.update()
                    for grade in grading.finished():
                        notes.add(grade)
                        bar.update()
                    time.sleep(LOOK_EVERY)
        finally:
            grading.stop()


def verify(course: Course, students: list[str]) -> int:
    """Says of each submission whether what was kept bears the verdicts out; 1 if not of all."""
    from serving.examiner import evidence

    doubtful, notes = 0, Notes(course, course.lesson)
    for student in students:
        try:
            kept = evidence.read(evidence_file(course, student))
            problems, passed = (
                evidence.problems_of(kept),
                sum(verdict["sentence"] is None for verdict in kept["verdicts"]),
            )
            says = f"{passed} of {len(kept['verdicts'])} questions passed, as was kept"
        except FileNotFoundError:
            grade = notes.grades.get(student)
            is_grade = grade is None or grade.points is not None
            problems = ["nothing was kept"] if is_grade else []
            says = grade.remark if grade else ""
        except ValueError as error:
            problems = [str(error)]
        doubtful += bool(problems)
        print(f"{student:24} {problems[0] if problems else says}")
        for problem in problems[1:]:
            print(f"{'':24} {problem}")
    return 1 if doubtful else 0


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lesson", help="such as 01-serve-and-learn")
    parser.add_argument("students", nargs="*", help="only these; all that have handed in otherwise")
    parser.add_argument(
        "--num-workers", type=int, help="so many at once; three for two processors otherwise"
    )
    parser.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="grade on the nodes of this Ray cluster; auto: one that this machine has joined",
    )
    parser.add_argument("--timeout", type=int, default=1_800, help="seconds a submission may take")
    parser.add_argument("--memory", type=int, default=3_000, help="MiB that a submission may use")
    parser.add_argument(
        "--regrade", action="store_true", help="also those that were graded already"
    )
    parser.add_argument("--verify", action="store_true", help="verdicts from what was kept")
    parser.add_argument("--csv", type=Path, help="grades as a file; default: grading/LESSON.csv")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return with_overrides(parser, *parser.parse_known_intermixed_args(arguments))


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    from nbgrader.api import Gradebook, MissingEntry

    from serving.examiner.gradebook import learn_assignment
    from serving.examiner.kernel import sandbox_is_wanted
    from serving.examiner.sandbox import NoSandbox

    if options.verify:
        course = Course(options.lesson, options.overrides)
        return verify(course, options.students or course.students())
    try:
        sandbox_is_wanted()
    except NoSandbox as error:
        print(error)
        return 1
    course = Course(options.lesson, options.overrides)
    log = logging.getLogger("grade")
    log.addHandler(logging.StreamHandler(sys.stdout))
    log.setLevel(logging.INFO)
    learn_assignment(options.lesson, course.directory, course.config, log)
    with Gradebook(course.db_url, course.directory.course_id) as book:
        try:
            book.find_assignment(options.lesson)
        except MissingEntry:
            known = ", ".join(course.lessons())
            print(f"There is no {options.lesson} in solutions/: there are {known}.")
            return 1
    students = options.students or course.students()
    if not students:
        print(f"Nobody has handed in {options.lesson}: it is looked for in "
              f"{course.notebook('STUDENT')}.")  # fmt: skip
        return 1
    notes = Notes(course, options.lesson)
    todo = [
        student for student in students
        if options.regrade or not notes.holds(student, digest_of(course.notebook(student)))
    ]  # fmt: skip
    if skipped := len(students) - len(todo):
        print(f"{skipped} of {len(students)} were graded already; again with --regrade.")
    interrupted = False
    try:
        grade_all(course, todo, notes, options)
    except ConnectionError as error:
        print(f"--ray-address={options.ray_address}: {error}")
        return 1
    except KeyboardInterrupt:
        interrupted = True
    grades = [notes.grades[student] for student in students if student in notes.grades]
    print(table(grades))
    if nodes := nodes_of(grades):
        print(f"Graded by a Ray cluster: {nodes}.")
    path = options.csv or notes.path.with_suffix(".csv")
    path.parent.mkdir(exist_ok=True)
    write_csv(path, options.lesson, grades)
    print(f"Also in {path}.")
    if interrupted:
        print("Interrupted: the same command goes on where this one was.")
    return 130 if interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
