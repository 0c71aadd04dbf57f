"""Feedback for students: the sentence that helps, whole, and nothing of a hidden test."""

import base64
import functools
import html
import io
import re

from nbconvert.exporters import HTMLExporter
from nbconvert.preprocessors import Preprocessor
from nbformat.v4 import new_markdown_cell
from nbgrader import utils
from nbgrader.preprocessors import ClearHiddenTests
from traitlets import List

from serving.examiner.submission import REASON

# nbconvert's page keeps the line ends of outputs and cuts off what is wider than the page.
WRAPPED = """
.output_area pre, .output_text pre, .input_area pre, .highlight pre {
    white-space: pre-wrap; word-break: normal; overflow-wrap: anywhere; }
.rendered_html img { max-width: 100%; height: auto; }
"""

# In the text of a cell; what is code stays as it is.
FORMULA = re.compile(
    r"```.*?```|`[^`]*`|\$\$(?P<apart>.+?)\$\$|(?<![\\\w$])\$(?P<inline>[^\s$]|[^\s$][^$\n]*[^\s$])\$(?![\w$])",
    re.S,
)
FORMULA_SIZE = 11  # points


class HideTests(ClearHiddenTests):
    """Strips the hidden regions again, and reduces errors of graded cells to their message.

    nbgrader restores hidden tests to grade, and by itself shows them in the feedback
    (https://github.com/jupyter/nbgrader/issues/917).
    """

    # An option, as nbconvert's HTML exporter sets it for all: nbgrader's own is none, and each page
    # would come with a warning.
    display_data_priority = List(ClearHiddenTests.display_data_priority.default_value).tag(
        config=True
    )

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


class WrapLines(Preprocessor):
    """Long lines go on below, and pictures fit. A first cell says so, as the page's style sheet is
    made after all preprocessors have run."""

    def preprocess(self, nb, resources):
        nb.cells.insert(0, new_markdown_cell(f"<style>{WRAPPED}</style>"))
        return nb, resources


class DrawFormulas(Preprocessor):
    """Formulas as pictures: nbconvert leaves them to a script from the network, and a page that is read
    without it shows their source. So does one with a formula that cannot be drawn."""

    def preprocess_cell(self, cell, resources, cell_index):
        if cell.cell_type == "markdown":
            cell.source = FORMULA.sub(_drawn, cell.source)
        return cell, resources


def _drawn(found: re.Match) -> str:
    tex = found["apart"] or found["inline"]
    picture = formula(tex.strip()) if tex else None
    if picture is None:
        return found[0]
    return (
        f'<div style="text-align: center; margin: 1em 0">{picture}</div>'
        if found["apart"]
        else picture
    )


@functools.cache
def formula(tex: str) -> str | None:
    """An <img> that stands on the line; None if this is no formula."""
    from matplotlib import mathtext
    from matplotlib.font_manager import FontProperties

    font, svg = FontProperties(size=FORMULA_SIZE, math_fontfamily="cm"), io.BytesIO()
    try:
        depth = mathtext.math_to_image(f"${tex}$", svg, prop=font, dpi=72, format="svg")
    except ValueError:
        return None
    content = base64.b64encode(svg.getvalue()).decode()
    return (
        f'<img alt="{html.escape(tex)}" style="display: inline; vertical-align: {-depth:g}pt" '
        f'src="data:image/svg+xml;base64,{content}">'
    )


def what_for(cell) -> str:
    """What a graded cell gives its points for: the lesson says it in the cell's first line."""
    found = re.match(r"# [\d.]+ points?: (.+)", cell.source)
    return found[1] if found else cell.metadata.nbgrader.grade_id


class FeedbackExporter(HTMLExporter):
    """What nbgrader's page would say otherwise: "Test cell" of every graded cell in its contents, and
    a score of 0 for a submission that could not be read."""

    def from_notebook_node(self, nb, resources=None, **options):
        about = {
            cell.metadata.nbgrader.grade_id: what_for(cell)
            for cell in nb.cells
            if utils.is_grade(cell)
        }
        page, resources = super().from_notebook_node(nb, resources, **options)
        page = re.sub(
            r'(<a href="#([^"]+)">)Test cell(?=</a>)',
            lambda link: link[1] + html.escape(about.get(html.unescape(link[2]), "")),
            page,
        )
        if REASON in nb.metadata:
            page = re.sub(r"\(Score: [^)]*\)", "(not graded)", page)
        return page, resources
