"""Keeps hidden tests hidden in feedback: no source, no traceback, but the sentence that helps."""

from nbgrader import utils
from nbgrader.preprocessors import ClearHiddenTests


class HideTests(ClearHiddenTests):
    """Strips the hidden regions again, and reduces errors of graded cells to their message.

    nbgrader restores hidden tests to grade, and by itself shows them in the feedback
    (https://github.com/jupyter/nbgrader/issues/917).
    """

    def preprocess(self, nb, resources):
        for index, cell in enumerate(nb.cells):
            nb.cells[index], resources = self.preprocess_cell(cell, resources, index)
        return nb, resources

    def preprocess_cell(self, cell, resources, cell_index):
        if not utils.is_grade(cell) or utils.is_solution(cell) or cell.cell_type != "code":
            return cell, resources
        self._remove_hidden_test_region(cell)
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                name = "" if output.ename == "AssertionError" else f"{output.ename}: "
                output.traceback = [f"{name}{output.evalue}"]
        return cell, resources
