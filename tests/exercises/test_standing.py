"""About how many points a lesson's checks have found: by the graded cells of its notebook."""

from __future__ import annotations

import json

import pytest

from serving import ROOT
from serving.exercises.standing import Standing, points_by_check, standing

LESSONS = sorted(folder for folder in (ROOT / "lessons").glob("[0-9]*") if folder.is_dir())


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda folder: folder.name)
def test_every_point_belongs_to_a_check(lesson):
    """Are the points of all graded cells counted, each once, with a check that the notebook runs?"""
    notebook = lesson / f"{lesson.name}.ipynb"
    cells = json.loads(notebook.read_text())["cells"]
    graded = [cell["metadata"]["nbgrader"]["points"] for cell in cells
              if cell["cell_type"] == "code" and cell["metadata"].get("nbgrader", {}).get("grade")]  # fmt: skip
    points = points_by_check(notebook)
    text = "".join("".join(cell["source"]) for cell in cells)
    assert sum(points.values()) == sum(graded)
    assert all(check and f"{check}(" in text for check in points)


def test_what_is_right_is_worth_its_exercises_points(tmp_path):
    """Is an exercise worth the share of its topics that are right, and one that was never checked
    nothing?"""
    lesson = tmp_path / LESSONS[0].name
    lesson.mkdir()
    assert standing(lesson) == Standing()
    notebook = LESSONS[0] / f"{LESSONS[0].name}.ipynb"
    (lesson / notebook.name).write_bytes(notebook.read_bytes())
    assert standing(lesson) == Standing(of_points=22)
    kept = {"a": {"check": "check_run_one_episode", "right": list("abc"), "of": 6, "checked": "1"},
            "b": {"check": "check_evaluate_policy", "right": ["a"], "of": 1, "checked": "2"}}  # fmt: skip
    (lesson / ".progress.json").write_text(json.dumps(kept))
    assert standing(lesson) == Standing(4, 7, 12, 22, "2")  # half of 17, and 3
    kept["a"]["right"] = list("abcdef")
    kept["c"] = {"check": "check_solved", "right": ["a"], "of": 1, "checked": "3"}
    (lesson / ".progress.json").write_text(json.dumps(kept))
    assert standing(lesson) == Standing(8, 8, 22, 22, "3")
    assert standing(lesson).is_complete


def test_a_damaged_notebook_has_no_points(tmp_path):
    """Is what cannot be read no more than unknown?"""
    notebook = tmp_path / "a.ipynb"
    for text in ("", "{}", "[]", '{"cells": [3]}', '{"cells": [{"cell_type": "code"}]}'):
        notebook.write_text(text)
        assert points_by_check(notebook) == {}
