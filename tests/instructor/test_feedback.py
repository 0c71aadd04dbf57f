"""The pages that students get back: what can be read in them without a network."""

from __future__ import annotations

import nbformat
import pytest
from grading import ROOT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from traitlets.config import PyFileConfigLoader

from tools.feedback import FORMULA, FeedbackExporter, formula

CONFIG = PyFileConfigLoader("nbgrader_config.py", path=str(ROOT)).load_config()


def page_of(notebook) -> str:
    return FeedbackExporter(config=CONFIG).from_notebook_node(notebook)[0]


@pytest.mark.parametrize("notebook", sorted(ROOT.glob("lessons/*/*.ipynb")), ids=lambda p: p.stem)
def test_each_formula_is_drawn(notebook):
    """Is there a picture for each formula of a lesson, with the formula as what is read aloud?"""
    cells = nbformat.read(notebook, as_version=4).cells
    found = [
        (match["apart"] or match["inline"]).strip()
        for cell in cells
        if cell.cell_type == "markdown"
        for match in FORMULA.finditer(cell.source)
        if match["apart"] or match["inline"]
    ]
    page = page_of(new_notebook(cells=[cell for cell in cells if cell.cell_type == "markdown"]))
    assert all(formula(tex) for tex in found)
    assert page.count('src="data:image/svg+xml') == len(found)
    assert len(found) == 0 or 'style="display: inline; vertical-align:' in page


def test_what_is_no_formula_stays_as_it_is():
    """Do prices, code, and what cannot be drawn come as they were written?"""
    written = [
        "It costs $5, or $6.",
        "In a shell `$HOME` and `$PATH`.",
        "```\necho $a $b\n```",
        r"$\unheardof{x}$",
        "",
    ]
    page = page_of(new_notebook(cells=[new_markdown_cell(text) for text in written]))
    assert 'src="data:image/svg+xml' not in page
    for text in ("It costs $5, or $6.", "$HOME", "echo $a $b", r"$\unheardof{x}$"):
        assert text in page
    assert 'src="data:image/svg+xml' not in page_of(new_notebook(cells=[new_code_cell("'$x$'")]))
    assert 'alt="a &lt; b"' in formula("a < b")
