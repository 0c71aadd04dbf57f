"""How far a lesson is: what its check cells have found right, and about how many points that is."""

from __future__ import annotations

import ast
import functools
import json
from pathlib import Path
from typing import NamedTuple

from serving.exercises import progress


class Standing(NamedTuple):
    """A lesson, by its check cells as they were run last.

    right, of
        topics that were right, and all topics of the checks that were run
    points, of_points
        about how many points that is: an exercise's, by the share of its topics that are right; and
        how many points a machine gives in the whole lesson (what people grade is not among them)
    checked
        when a check was run last, such as "2030-01-02 10:00"; "" if none was
    """

    right: int = 0
    of: int = 0
    points: int = 0
    of_points: int = 0
    checked: str = ""

    @property
    def is_complete(self) -> bool:
        return self.right == self.of > 0 and self.points == self.of_points


def standing(lesson: str | Path) -> Standing:
    """How far the lesson in this folder is."""
    lesson = Path(lesson)
    kept = progress.read(lesson).values()
    points = points_by_check(lesson / f"{lesson.name}.ipynb")
    earned = sum(
        points.get(one.get("check"), 0) * len(one["right"]) / one["of"] for one in kept if one["of"]
    )
    return Standing(
        right=sum(len(one["right"]) for one in kept),
        of=sum(one["of"] for one in kept),
        points=int(earned + 0.5),
        of_points=sum(points.values()),
        checked=max((one["checked"] for one in kept), default=""),
    )


def points_by_check(notebook: str | Path) -> dict[str | None, int]:
    """The points of a lesson's graded cells, by the check that looks at the same function; those that
    no check looks at are under None. {} if there is no such notebook, or it is damaged."""
    try:
        return _points_by_check(Path(notebook), Path(notebook).stat().st_mtime_ns)
    except OSError:
        return {}


@functools.lru_cache(maxsize=32)  # a page that is open asks every second or two
def _points_by_check(notebook: Path, changed: int) -> dict[str | None, int]:
    try:
        cells = json.loads(notebook.read_text())["cells"]
        codes = [(_calls(cell), cell["metadata"].get("nbgrader", {})) for cell in cells
                 if cell["cell_type"] == "code"]  # fmt: skip
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
    checks: dict[str, str] = {}  # by what they look at, and by what their name says
    for calls, graded in codes:
        for name, about in calls if not graded.get("grade") else ():
            if name.startswith("check_"):
                checks[about], checks[name.removeprefix("check_")] = name, name
    points: dict[str | None, int] = {}
    for calls, graded in codes:
        if not graded.get("grade"):
            continue
        required = [(name, about) for name, about in calls if name.startswith("require_")]
        name, about = required[-1] if required else ("", "")
        check = checks.get(name.removeprefix("require_")) or checks.get(about)
        points[check] = points.get(check, 0) + int(graded.get("points", 0))
    return points


def _calls(cell: dict) -> list[tuple[str, str]]:
    """The calls of a cell that begin a line: the function's name, and that of its first argument."""
    try:
        tree = ast.parse("".join(cell["source"]))
    except SyntaxError:  # a student's, or one of IPython's own commands
        return []
    called = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [
        (one.func.id, one.args[0].id if one.args and isinstance(one.args[0], ast.Name) else "")
        for one in called if isinstance(one.func, ast.Name)
    ]  # fmt: skip
