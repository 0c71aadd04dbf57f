#!/usr/bin/env python
"""Makes a lesson from a template: question, picture, exercise, check, hidden test, wrong answers.

    make new-lesson NAME=06-discount

What it makes works at once, and its test passes; then it is yours to change, in this order:

    solutions/06-discount/      the notebook, with the answer and the hidden test
    serving/exercises/          what a right answer looks like: for check cells and the examiner alike
    serving/examiner/           what the examiner asks, registered in lessons.py
    tests/lessons/              wrong answers, and the points that each should lose

START.md and README.md get a line each; `make lessons` writes what students get.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "tools" / "lesson_template"
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


class Names:
    """The lesson's names in all the ways that files spell them. Raises ValueError for a bad one."""

    def __init__(self, name: str):
        if not re.fullmatch(r"0[1-9](-[a-z][a-z0-9]*)+", name):
            raise ValueError(f"NAME={name}: expected a number and words, such as 06-discount")
        self.name, self.number = name, str(int(name[:2]))
        self.module = name[3:].replace("-", "_")
        self.class_name = "".join(word.capitalize() for word in name[3:].split("-"))
        self.title = name[3:].replace("-", " ").capitalize()

    def into(self, text: str) -> str:
        """The template's text with this lesson's names in it."""
        for placeholder, name in {
            "00-lesson-name": self.name, "lesson_name": self.module, "LessonName": self.class_name,
            "Lesson title": self.title, "Lesson 0:": f"Lesson {self.name[:2]}:",
            "# 0 ·": f"# {self.number} ·",
        }.items():  # fmt: skip
            text = text.replace(placeholder, name)
        return text


def notebook(text: str) -> nbformat.NotebookNode:
    """A notebook of the template's cells: `=== KIND ID [answer | points=N]`, and the source below."""
    cells = []
    for part in re.split(r"^=== ", text, flags=re.M)[1:]:
        head, source = part.split("\n", 1)
        kind, name, *marks = head.split()
        new = nbformat.v4.new_markdown_cell if kind == "markdown" else nbformat.v4.new_code_cell
        cell = new(source.rstrip("\n"), id=name)
        for mark in marks:
            cell.metadata["nbgrader"] = {
                "grade_id": name, "schema_version": 3, "task": False,
                "solution": mark == "answer", "grade": mark != "answer", "locked": mark != "answer",
            }  # fmt: skip
            if mark != "answer":
                cell.metadata["nbgrader"]["points"] = int(mark.removeprefix("points="))
        cells.append(cell)
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def add_after(path: Path, last: str, line: str) -> None:
    """Puts the line below the last one that matches `last`."""
    lines = path.read_text().split("\n")
    place = max(number for number, text in enumerate(lines) if re.search(last, text))
    lines.insert(place + 1, line)
    path.write_text("\n".join(lines))


def make(names: Names) -> list[Path]:
    """Writes the lesson's files and registers it. Raises FileExistsError before anything is written."""
    module = f"{names.module}.py"
    written = {
        ROOT / "serving/exercises" / module: "exercise.py",
        ROOT / "serving/examiner" / module: "examiner.py",
        ROOT / "tests/lessons" / f"test_{module}": "test.py",
    }
    source = ROOT / "solutions" / names.name / f"{names.name}.ipynb"
    number = [*(ROOT / "solutions").glob(f"{names.name[:2]}-*")]
    for path in (*number, source, *written):
        if path.exists():
            raise FileExistsError(f"{path.relative_to(ROOT)} is there already: take another name")
    for path, template in written.items():
        path.write_text(names.into((TEMPLATE / template).read_text()))
    source.parent.mkdir()
    nbformat.write(notebook(names.into((TEMPLATE / "notebook.txt").read_text())), source)

    link = f"lessons/{names.name}/{names.name}.ipynb"
    add_after(ROOT / "serving/examiner/lessons.py", r'^    "\d\d-.*",$',
        f'    "{names.name}": "{names.module}:{names.class_name}",')  # fmt: skip
    add_after(ROOT / "README.md", r"^\| \[\d\d-",
        f"| [{names.name}]({link}) | say here what students do | an hour; lesson 1 |")  # fmt: skip
    add_after(ROOT / "START.md", r"^\| \*\*\d\W·",
        f"| **{names.number} · [{names.title}]({link})** | say here what you do | 1 hour | lesson 1 |")  # fmt: skip
    return [source, *written]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="two digits and words, such as 06-discount")
    try:
        made = make(Names(parser.parse_args(arguments).name))
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))
    print(*(path.relative_to(ROOT) for path in made), sep="\n")
    print(f"now: make lessons; make test ARGS={made[-1].relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
