"""The visible part of graded cells, as *Validate* runs it."""

from __future__ import annotations

import nbformat
from nbclient import NotebookClient
from nbgrader.utils import determine_grade

SOLVED = """\
import logging, sys
logger = logging.getLogger("a-library")
logger.addHandler(logging.StreamHandler())

def solved(returns):
    logger.warning("new in this version")
    print("[====>   ]", file=sys.stderr)
    latest = returns[-20:]
    return len(latest) == 20 and sum(latest) / 20 >= {target}
"""
GRADED = "from serving.exercises.serve_and_learn import require_solved\n\nrequire_solved(solved)"


def points(target: int) -> tuple[float, str]:
    """Of a notebook with this answer, by nbgrader; and what its graded cell has said."""
    mark = {
        "grade": True,
        "solution": False,
        "points": 2,
        "grade_id": "test_solved",
        "locked": True,
    }
    mark |= {"schema_version": 3, "task": False, "cell_type": "code"}
    cells = [nbformat.v4.new_code_cell(text) for text in (SOLVED.format(target=target), GRADED)]
    cells[1].metadata["nbgrader"] = mark
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", allow_errors=True, timeout=60).execute()
    return determine_grade(cells[1])[0], str(cells[1].outputs)


def test_what_a_library_says_costs_no_points():
    """Does a right answer that calls what warns, and draws bars, on stderr pass, and a wrong one not?"""
    right, said = points(195)
    assert right == 2, said
    assert "new in this version" in said and "[====>   ]" in said
    wrong, said = points(190)
    assert wrong == 0 and "expected False" in said
