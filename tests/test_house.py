"""The house: who may import whom, how long a room's modules are, and whether the maps show it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from serving import ROOT

MOST_LINES = 450  # a module that is longer is two ideas
MODULES = sorted((ROOT / "serving").rglob("*.py"))


def test_imports_run_downwards():
    """Do the contracts of pyproject.toml hold?"""
    check = (
        "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_one_idea(module):
    """Can it be read in one sitting, and does its first line say what it is?"""
    text = module.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    assert re.match(r'(#!.*\n)?"""\S', text), "expected a docstring at the top"


def test_the_map_shows_the_rooms():
    """Does CONTRIBUTING.md name every room of serving/ and every module beside them, and nothing
    that is not there?"""
    (house,) = re.findall(
        r"^```house\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S
    )
    named = {
        name for line in house.splitlines() for name in re.findall(r"[\w.-]+(?:/|\.\w+)", line)
    }
    rooms = {path.name for path in (ROOT / "serving").iterdir() if path.is_dir()}
    rooms -= {"__pycache__"}
    assert {f"{room}/" for room in rooms} <= named
    modules = {path.name for path in MODULES if path.name != "__init__.py"}
    beside = {path.name for path in (ROOT / "serving").glob("*.py")} - {"__init__.py"}
    assert beside <= named
    python = {name for name in named if name.endswith(".py")}
    assert python <= modules, f"there is no {python - modules}"
