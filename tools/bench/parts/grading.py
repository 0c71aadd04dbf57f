"""A class of lesson 01, mixed, graded by `make grade` and by plain `nbgrader autograde`."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from serving import ROOT
from tools.bench.bench import Bench, Item, Row

MEANS = (
    "A class of 24 of the first lesson, right, wrong, broken and hostile, in one go: what an "
    "instructor waits for, and that all get the same points as one after another."
)

LESSON = "01-serve-and-learn"
ALONE, ALONE_TIMES = 12.0, 5  # seconds that one submission may take; how often it is tried
AT_LEAST = 1.7  # times as fast as one after another
RIGHT = 12
# Of run_one_episode: what the reference says, and what somebody else might.
MISTAKES = [
    ("while not (terminated or truncated)", "while not terminated"),
    ("truncated=truncated", "truncated=False"),
    ("client.log_returns(episode_id, reward)", "pass"),
    ("client.log_returns(episode_id, reward)", "client.log_returns(episode_id, total)"),
    ("training_enabled=training_enabled", "training_enabled=True"),
    ("return total", "return reward"),
]
TRICKS = ["verdict_method_replaced", "gradebook_edited", "findings_replaced"]  # of tests/hostile/


class Class:
    """A course in `folder`, where the lesson is released and so many have handed in."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.options = [
            f"--CourseDirectory.{name}_directory={folder / name}"
            for name in ("submitted", "autograded", "feedback", "release")
        ] + [f"--CourseDirectory.db_url=sqlite:///{folder}/gradebook.db"]
        self.run("-m", "nbgrader", "generate_assignment", LESSON, "--force", "--create")
        file = f"{LESSON}.ipynb"
        self.released = json.loads((folder / "release" / LESSON / file).read_text())
        cells = json.loads((ROOT / "solutions" / LESSON / file).read_text())["cells"]
        self.reference = {
            mark["grade_id"]: re.sub(r"\n *### (BEGIN|END) SOLUTION", "", "".join(cell["source"]))
            for cell in cells
            if (mark := cell["metadata"].get("nbgrader", {})).get("solution")
        }

    def run(self, *arguments: str) -> float:
        """Seconds that Python took for this. Its exit code is no matter: some cannot be graded."""
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments, *self.options],
            cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=3_600,
        )  # fmt: skip
        return time.perf_counter() - began

    def hand_in(self, student: str, answers: dict[str, str] | None, without: str = "") -> None:
        """The lesson with these answers, and without a cell; a torn file where there are none."""
        cells = []
        for cell in self.released["cells"]:
            name = cell["metadata"].get("nbgrader", {}).get("grade_id")
            if not name or name != without:
                cells.append({**cell, "source": (answers or {}).get(name, cell["source"])})
        notebook = json.dumps({**self.released, "cells": cells})
        path = self.folder / "submitted" / student / LESSON / f"{LESSON}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(notebook if answers is not None else notebook[:1_000])

    def hand_in_all(self) -> None:
        """24 submissions; those that take long are not put together."""
        run = self.reference["run_one_episode"]
        for number in range(RIGHT):
            self.hand_in(f"right-{number}", self.reference)
        for number, (old, new) in enumerate(MISTAKES):
            self.hand_in(
                f"wrong-{number}", {**self.reference, "run_one_episode": run.replace(old, new)}
            )
        self.hand_in("broken-torn", None)
        self.hand_in("broken-stub", {})
        self.hand_in("broken-cell", self.reference, without="test_numbers")
        for name in TRICKS:
            trick = (ROOT / "tests" / "hostile" / f"{name}.py").read_text()
            self.hand_in(f"hostile-{name}", {"run_one_episode": trick})

    def points(self) -> dict[str, float]:
        """Of those whom the gradebook knows to have been graded."""
        from nbgrader.api import Gradebook

        with Gradebook(f"sqlite:///{self.folder}/gradebook.db", "online-learning") as book:
            return {s.student.id: s.score for s in book.assignment_submissions(LESSON)}


def plan(bench: Bench) -> Iterator[Item]:
    for _ in range(ALONE_TIMES):
        yield Item("one submission, alone", 12, lambda: bench.figures["grading"].append(alone()))
    yield Item("a class of 24, at once and one after another", 400,
               lambda: bench.figures["grading"].append(a_class()))  # fmt: skip


def alone() -> dict:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        course = Class(Path(folder))
        course.hand_in("ada", course.reference)
        seconds = course.run("-m", "nbgrader", "autograde", LESSON)
        return {"alone_seconds": seconds, "points": course.points()}


def a_class() -> dict:
    """Seconds and points of both ways, each with a gradebook of its own."""
    found: dict = {}
    for way, command in (
        ("at_once", ("tools/grade.py", LESSON, "--quiet")),
        ("one_after_another", ("-m", "nbgrader", "autograde", LESSON)),
    ):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            course = Class(Path(folder))
            course.hand_in_all()
            found[way] = {"seconds": course.run(*command), "points": course.points()}
    return found


def rows(figures: dict[str, list]) -> Iterator[Row]:
    alone = [of["alone_seconds"] for of in figures["grading"] if "alone_seconds" in of]
    if alone:
        yield Row(f"one submission of lesson 01 autograded, alone, median of {len(alone)}",
                  f"{statistics.median(alone):.1f} s ({min(alone):.1f} to {max(alone):.1f} s)",
                  f"under {ALONE:g} s", statistics.median(alone) < ALONE)  # fmt: skip
    for of in figures["grading"]:
        if "at_once" not in of:
            continue
        fast, slow = of["at_once"], of["one_after_another"]
        same, ratio = fast["points"] == slow["points"], slow["seconds"] / fast["seconds"]
        yield Row("a class of 24 submissions, `make grade`",
                  f"{fast['seconds']:.0f} s, {ratio:.2f} times as fast as plain nbgrader "
                  f"({slow['seconds']:.0f} s); {'the same' if same else 'OTHER'} points",
                  f"at least {AT_LEAST:g} times, the same points", same and ratio >= AT_LEAST)  # fmt: skip
