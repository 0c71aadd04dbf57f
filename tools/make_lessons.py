#!/usr/bin/env python
"""Generates lessons/ (what students get) from solutions/ (what instructors write) with nbgrader.

python tools/make_lessons.py            generate
python tools/make_lessons.py --check    fail if lessons/ is not what solutions/ generates
"""

from __future__ import annotations

import argparse
import filecmp
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MEASURED = "figures.json"  # lesson 04's, of whoever tried it out
FORBIDDEN = ("BEGIN SOLUTION", "BEGIN HIDDEN TESTS", "END SOLUTION", "END HIDDEN TESTS")


def assignments() -> list[str]:
    return sorted(folder.name for folder in (ROOT / "solutions").iterdir() if folder.is_dir())


def generate(into: Path) -> None:
    """Runs nbgrader's generate_assignment for all lessons; raises SystemExit with its words."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable, "-m", "nbgrader", "generate_assignment", "*",
            "--force", "--create", f"--CourseDirectory.release_directory={into}",
            f"--CourseDirectory.db_url=sqlite:///{scratch}/gradebook.db",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    if done.returncode:
        sys.exit(f"nbgrader could not generate the lessons:\n{done.stdout}{done.stderr}")
    for name in assignments():
        check_solution(ROOT / "solutions" / name / f"{name}.ipynb")
        check_lesson(into / name / f"{name}.ipynb")


def check_solution(path: Path) -> None:
    """The source carries no outputs: what students see, their own server has said."""
    for cell in json.loads(path.read_text())["cells"]:
        if cell.get("outputs") or cell.get("execution_count"):
            sys.exit(f"{path.relative_to(ROOT)} has outputs; clear them before you commit")


def check_lesson(path: Path) -> None:
    """Nothing that students should not see is left."""
    text = path.read_text()
    for mark in FORBIDDEN:
        if mark in text:
            sys.exit(f"{path} still contains {mark!r}")


def differences(left: Path, right: Path) -> list[str]:
    """Relative paths of files that are not the same on both sides."""
    names = {
        file.relative_to(side)
        for side in (left, right)
        for file in side.rglob("*")
        if file.is_file() and not {".ipynb_checkpoints", MEASURED} & set(file.parts)
    }
    return sorted(
        str(name)
        for name in names
        if not (left / name).is_file()
        or not (right / name).is_file()
        or not filecmp.cmp(left / name, right / name, shallow=False)
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare, change nothing")
    options = parser.parse_args()
    lessons = ROOT / "lessons"
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "lessons"
        generate(fresh)
        drift = differences(fresh, lessons) if lessons.is_dir() else ["lessons/"]
        if not drift:
            print(f"lessons/ is what solutions/ generates ({', '.join(assignments())})")
            return 0
        if options.check:
            print("lessons/ differs from what solutions/ generates: " + ", ".join(drift))
            print("edit solutions/, then run: make lessons")
            return 1
        shutil.rmtree(lessons, ignore_errors=True)
        shutil.copytree(fresh, lessons)
        print("generated " + ", ".join(drift))
    return 0


if __name__ == "__main__":
    sys.exit(main())
