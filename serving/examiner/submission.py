"""What was handed in: read as it is, set right where that is safe, and every change named.

Three parts of nbgrader's Autograde, hung in by `nbgrader_config.py`. Stock nbgrader answers a file that
is no notebook with a traceback and a submission that counts 0, calls each released test cell changed
(hidden tests were stripped from it), and passes a deleted cell over in silence.
"""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters.base import NbGraderException
from nbgrader.preprocessors import ClearHiddenTests, NbGraderPreprocessor, OverwriteCells

from serving.examiner.gradebook import learn_assignment
from serving.examiner.sandbox import NoSandbox

NOT_GRADED = "Not graded"
MISSING = "This cell (id:{cell_id}) was missing in what was handed in.\n\n"
# Keys of the autograded notebook's metadata.
REASON, REMARKS = "not_graded", "remarks"
MARKED = ("grade", "solution", "locked", "points")  # in a cell's entry for nbgrader


class SubmissionExporter(NotebookExporter):
    """Reads submissions for nbgrader's Autograde. A file that is no notebook becomes a notebook that
    says so, which nothing runs: the class's other submissions are graded, and nobody reads a traceback.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self._refuse_without_sandbox()
        course, folders = self.parent.coursedir, self.parent.assignments
        for name in {Path(folder).name for folder in folders}:
            learn_assignment(name, course, self.parent.config, self.log)
        with Gradebook(course.db_url, course.course_id) as gradebook:
            for folder in list(folders):
                if not self._expect(
                    gradebook, Path(folder), {Path(f).name for f in folders[folder]}
                ):
                    del folders[folder]

    def _refuse_without_sandbox(self) -> None:
        """Once and in a sentence, before any submission would fail by it."""
        from serving.examiner.kernel import sandbox_is_wanted  # which itself needs this module

        try:
            sandbox_is_wanted()
        except NoSandbox as error:
            self.log.error(str(error))
            raise NbGraderException(str(error)) from None

    def _expect(self, gradebook: Gradebook, folder: Path, there: set[str]) -> bool:
        """Enters the student and the submission; whether one of the files is to be graded. Where none
        is, nbgrader would end in a traceback."""
        student, assignment = folder.parent.name, folder.name
        gradebook.update_or_create_student(student)
        try:
            notebooks = gradebook.find_assignment(assignment).notebooks
        except MissingEntry:
            return True  # nbgrader says so
        wanted = {f"{notebook.name}.ipynb" for notebook in notebooks}
        if not wanted & there:
            self.log.warning(
                "%s, %s: not graded: there is %s, but no %s",
                student, assignment, ", ".join(sorted(there)), ", ".join(sorted(wanted)),
            )  # fmt: skip
            return False
        with gradebook.db.no_autoflush:  # else SQLAlchemy warns about the way nbgrader does it
            gradebook.update_or_create_submission(assignment, student)
        return True

    def from_file(self, file_stream, resources=None, **options):
        try:
            notebook = read_notebook(file_stream)
        except ValueError as error:
            notebook, resources[REASON] = placeholder(str(error)), str(error)
        return self.from_notebook_node(notebook, resources=resources, **options)

    def _preprocess(self, nb, resources):
        grading = not any(isinstance(part, RestoreCells) for part in self._preprocessors)
        if grading and REASON in nb.metadata:
            self._preprocessors = [p for p in self._preprocessors if isinstance(p, SaveRemarks)]
        return super()._preprocess(nb, resources)


def read_notebook(file_stream) -> NotebookNode:
    """The notebook in the file; raises ValueError with a sentence if there is none."""
    try:
        text = file_stream.read()
    except UnicodeDecodeError:
        raise ValueError("the file is no text, and so no notebook") from None
    if not text.strip():
        raise ValueError("the file is empty")
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"the file is no notebook (no JSON any more at line {error.lineno}, column {error.colno})"
        ) from None
    except RecursionError:
        raise ValueError("the file is no notebook (nested without end)") from None
    try:
        notebook = nbformat.reads(text, as_version=4)
        nbformat.validate(notebook, relax_add_props=True)
        # A few things that nbformat does not ask for, and nbgrader takes for granted.
        for cell in notebook.cells:
            if not isinstance(cell.metadata.get("nbgrader", {}), dict):
                raise ValueError("a cell's entry for nbgrader is none")
        return notebook
    except Exception as error:  # nbformat raises whatever its steps happen to meet
        said = " ".join(str(error).split())
        raise ValueError(f"the file is no notebook ({said[:120]})") from None


def placeholder(reason: str) -> NotebookNode:
    """What is shown in place of a submission that cannot be read."""
    return new_notebook(
        cells=[
            new_markdown_cell(
                f"## {NOT_GRADED}\n\nWhat was handed in could not be read: {reason}. This is not a "
                "grade of 0: hand in again, and it will be graded.\n\n(In JupyterLab *File → Save "
                "Notebook*, then hand in the file whose name ends in `.ipynb`.)"
            )
        ]
    )


class RestoreCells(OverwriteCells):
    """nbgrader's `OverwriteCells` that knows what was released. Graded cells get their hidden tests
    back without a word; cells that are missing, doubled, altered or unknown are named, in the log
    and in the notebook's metadata (see `SaveRemarks`)."""

    def preprocess(self, nb, resources):
        nb.metadata.pop(REASON, None)
        nb.metadata.pop(REMARKS, None)
        if REASON in resources:
            nb.metadata[REASON] = resources[REASON]
            self._log(resources, f"not graded: {resources[REASON]}")
            return nb, resources
        where = resources["nbgrader"]
        with Gradebook(where["db_url"]) as gradebook:
            known = known_cells(gradebook.find_notebook(where["notebook"], where["assignment"]))
        remarks = self.restore(nb, known)
        for remark in remarks:
            self._log(resources, remark["sentence"])
        if remarks:
            nb.metadata[REMARKS] = remarks
            sentences = "\n".join(f"* {remark['sentence']}" for remark in remarks)
            nb.cells.insert(0, new_markdown_cell(f"**Remarks of the grader**\n\n{sentences}"))
        return nb, resources

    def restore(self, nb: NotebookNode, known: dict[str, NotebookNode]) -> list[dict[str, str]]:
        """Sets the notebook's cells right; returns {"cell": grade_id, "sentence": ...} of each that
        was not. `known` are the assignment's cells by grade_id, in order."""
        remarks = []

        def remark(grade_id: str, sentence: str) -> None:
            remarks.append({"cell": grade_id, "sentence": sentence})

        found: dict[str, list[tuple[NotebookNode, dict]]] = {}
        for cell in nb.cells:
            mark = cell.metadata.pop("nbgrader", {})
            grade_id = mark.get("grade_id", "")
            if grade_id in known:
                found.setdefault(grade_id, []).append((cell, mark))
            elif grade_id:
                remark("", f"The cell `{grade_id}` is none of this lesson's; it is not graded.")
        for grade_id, cells in found.items():
            if len(cells) > 1:
                remark(
                    grade_id,
                    f"The cell `{grade_id}` was there {len(cells)} times; the last counts.",
                )
        before = 0  # where the latest of the known cells stands
        for grade_id, original in known.items():
            if grade_id not in found:
                kind = "graded" if original.metadata.nbgrader.grade else "answer"
                remark(grade_id, f"The {kind} cell `{grade_id}` was missing in what was handed in.")
                nb.cells.insert(before, missing(original))
                before += 1
                continue
            cell, mark = found[grade_id][-1]
            if overwrite(cell, mark, original):
                remark(grade_id, f"The cell `{grade_id}` had been altered; the original is graded.")
            before = next(i for i, other in enumerate(nb.cells) if other is cell) + 1
        return remarks

    def _log(self, resources: dict, sentence: str) -> None:
        student, lesson = (resources["nbgrader"][key] for key in ("student", "assignment"))
        self.log.warning("%s, %s: %s", student, lesson, sentence)


def known_cells(notebook) -> dict[str, NotebookNode]:
    """The cells that the gradebook knows of a `nbgrader.api.Notebook`, by grade_id, in its order."""
    points = {cell.name: cell.max_score for cell in [*notebook.grade_cells, *notebook.task_cells]}
    grades = {cell.name for cell in notebook.grade_cells}
    answers = {cell.name for cell in notebook.solution_cells}
    cells = {}
    for cell in notebook.source_cells:
        new = new_code_cell if cell.cell_type == "code" else new_markdown_cell
        mark = {
            "schema_version": 3,
            "grade_id": cell.name,
            "cell_type": cell.cell_type,
            "grade": cell.name in grades,
            "solution": cell.name in answers,
            "locked": cell.locked,
            "task": cell.name in points and cell.name not in grades,
            "checksum": cell.checksum,
        }
        if cell.name in points:
            mark["points"] = points[cell.name]
        cells[cell.name] = new(cell.source, metadata={"nbgrader": mark})
    return cells


def overwrite(cell: NotebookNode, mark: dict, original: NotebookNode) -> bool:
    """Makes the student's cell the original where that is locked; whether it had been altered. `mark`
    is the student's entry for nbgrader, which decides about nothing here."""
    right = original.metadata.nbgrader
    altered = any(mark.get(key) != right[key] for key in MARKED if key in right)
    if cell.cell_type != original.cell_type:
        altered, source = True, cell.source
        cell.clear()
        cell.update(NotebookNode(original, source=source))
    cell.metadata.nbgrader = right
    if right.locked:
        altered |= cell.source.rstrip() not in (released(original), original.source.rstrip())
        cell.source = original.source
    return altered


def released(original: NotebookNode) -> str:
    """The cell's text as students got it."""
    cell = NotebookNode(source=original.source)
    ClearHiddenTests()._remove_hidden_test_region(cell)
    return cell.source.rstrip()


def missing(original: NotebookNode) -> NotebookNode:
    """A cell in the place of one that was deleted: it says so, and earns nothing."""
    said = MISSING.format(cell_id=original.metadata.nbgrader.grade_id).strip()
    source = said
    if original.cell_type == "code":
        source = f"# {said}"
        if original.metadata.nbgrader.grade:
            source += f"\nraise AssertionError({said!r})"
    return NotebookNode(original, source=source)


class SaveRemarks(NbGraderPreprocessor):
    """After nbgrader's `SaveAutoGrades`: what `RestoreCells` has found becomes the gradebook's comments,
    and a submission that could not be read is not graded, which is something else than 0 points."""

    def preprocess(self, nb, resources):
        where = resources["nbgrader"]
        with Gradebook(where["db_url"]) as gradebook:
            submission = gradebook.find_submission_notebook(
                where["notebook"], where["assignment"], where["student"]
            )
            reason = nb.metadata.get(REASON)
            if reason:
                for grade in submission.grades:
                    grade.auto_score, grade.needs_manual_grade = None, True
                for comment in submission.comments:
                    comment.auto_comment = f"{NOT_GRADED}: {reason}."
            order = list(known_cells(submission.notebook))
            comments = {comment.name: comment for comment in submission.comments}
            for remark in nb.metadata.get(REMARKS, []):
                comment = comments[_commented(remark["cell"], order, list(comments))]
                said = [comment.auto_comment, remark["sentence"]]
                comment.auto_comment = "\n\n".join(filter(None, said))
            gradebook.db.commit()
        return nb, resources


def _commented(grade_id: str, order: list[str], answers: list[str]) -> str:
    """The answer that a remark about a cell belongs to, as only answers can be commented on: the cell
    itself or the answer before it, else the first one."""
    upto = order[: order.index(grade_id) + 1] if grade_id in order else []
    return next((name for name in reversed(upto) if name in answers), min(answers, key=order.index))
