"""What nbgrader's gradebook knows of an assignment: taken from `solutions/`, when it is needed.

nbgrader itself learns it in `nbgrader generate_assignment` only, and refuses to grade before. In a fresh
clone, whose `lessons/` are there already, nobody has a reason to run that.
"""

from __future__ import annotations

from logging import Logger
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader import utils
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import GenerateAssignment
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import SaveCells
from traitlets.config import Config
from traitlets.utils.importstring import import_item


def learn_assignment(name: str, course: CourseDirectory, config: Config, log: Logger) -> None:
    """Makes the gradebook know the assignment's cells as they stand in `solutions/` now.

    Does nothing if it does already, or if there is no such assignment. A gradebook that holds
    submissions takes changed tests and points, but no other set of cells: then it stays as it is, and
    the log says so.
    """
    folder = Path(course.format_path(course.source_directory, ".", name))
    for path in sorted(folder.glob("*.ipynb")):
        resources = {
            "nbgrader": {
                "notebook": path.stem,
                "assignment": name,
                "student": ".",
                "db_url": course.db_url,
            }
        }
        solution = _as_saved(path, course, config, resources)
        with Gradebook(course.db_url, course.course_id) as gradebook:
            if _known_cells(gradebook, name, path.stem) == _cells(solution):
                continue
            gradebook.update_or_create_assignment(name)
        try:
            SaveCells(config=config)(solution, resources)
        except RuntimeError:
            log.warning(
                "solutions/%s has other cells to grade than the gradebook, which holds submissions "
                "of it: graded is by the gradebook's. To begin anew, remove the assignment and its "
                "grades with `nbgrader db assignment remove %s --force`.", name, name,
            )  # fmt: skip
        else:
            log.info("The gradebook knows the cells of %s now, from solutions/", name)


def _as_saved(path: Path, course: CourseDirectory, config: Config, resources: dict) -> NotebookNode:
    """The notebook as `generate_assignment` would save its cells: without answers, with tests."""
    notebook = nbformat.read(path, as_version=4)
    for item in GenerateAssignment(coursedir=course, config=config).preprocessors:
        preprocessor = import_item(item) if isinstance(item, str) else item
        if preprocessor is SaveCells:
            break
        notebook, resources = preprocessor(config=config)(notebook, resources)
    return notebook


def _cells(notebook: NotebookNode) -> dict[str, str]:
    """Checksums, of text and points, by grade_id."""
    return {
        cell.metadata.nbgrader.grade_id: cell.metadata.nbgrader.get("checksum")
        for cell in notebook.cells
        if utils.is_grade(cell) or utils.is_solution(cell) or utils.is_locked(cell)
    }


def _known_cells(gradebook: Gradebook, assignment: str, notebook: str) -> dict[str, str]:
    try:
        known = gradebook.find_notebook(notebook, assignment)
    except MissingEntry:
        return {}
    return {cell.name: cell.checksum for cell in known.source_cells}
