"""How long a student waits for a check: each lesson's check cells, with the right answers."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator

from serving import ROOT
from tools.bench.bench import Bench, Item, Row

MEANS = (
    "Every lesson: a check that answers at once is pressed again, one that is waited for is not."
)

MOST = 3.0  # seconds
# Of the student's own server, which is not there; and what learns is no check.
CHECK = re.compile(r"^(?:if )?(check_(?!server\b|env\b)\w+)\(", re.M)


def plan(bench: Bench) -> Iterator[Item]:
    for folder in sorted((ROOT / "solutions").iterdir()):
        lesson = folder.name
        yield Item(f"check cells of {lesson}", 10,
                   lambda lesson=lesson: bench.figures["checks"].append(in_a_kernel(lesson)))  # fmt: skip


def in_a_kernel(lesson: str) -> dict:
    """The figures of a lesson, in a fresh process: a check's imports belong to it."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, lesson], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        check=True, timeout=300,
    )  # fmt: skip
    return json.loads(done.stdout)


def seconds_of_checks(lesson: str) -> dict:
    """{"lesson": ..., "seconds": {check: seconds}}; raises RuntimeError if an answer is found wrong."""
    import gymnasium
    import numpy

    cells = json.loads((ROOT / "solutions" / lesson / f"{lesson}.ipynb").read_text())["cells"]
    namespace = {"gym": gymnasium, "np": numpy, "__name__": "__main__"}
    seconds = {}
    for cell in cells:
        source, mark = "".join(cell["source"]), cell["metadata"].get("nbgrader", {})
        if cell["cell_type"] != "code" or mark.get("grade"):
            continue
        said, began = io.StringIO(), time.perf_counter()
        with contextlib.redirect_stdout(said):
            if mark.get("solution"):
                exec(source, namespace)
            elif check := CHECK.search(source):
                exec(source, namespace)
                seconds[check[1]] = time.perf_counter() - began
        if "✗" in said.getvalue():
            raise RuntimeError(f"{lesson}: {said.getvalue()}")
    return {"lesson": lesson, "seconds": seconds}


def rows(figures: dict[str, list]) -> Iterator[Row]:
    for of in figures["checks"]:
        slowest = max(of["seconds"], key=of["seconds"].get)
        longest = of["seconds"][slowest]
        yield Row(f"slowest check cell of {of['lesson']}", f"{longest:.1f} s ({slowest})",
                  f"at most {MOST:g} s", longest <= MOST)  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(seconds_of_checks(sys.argv[1])))
