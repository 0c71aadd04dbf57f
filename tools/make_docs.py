#!/usr/bin/env python
"""Writes the reference: what the docstrings say, as pages that ask no other host for anything.

    make docs                             build/docs/index.html
    make docs ARGS="--into=DIR"

Of the learner and the examiner there are none: they take RLlib and solutions to be imported, and
whoever changes them reads them.
"""

from __future__ import annotations

import argparse
import pkgutil
import re
import sys
import warnings
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import pdoc
from jinja2 import pass_context
from pdoc.render_helpers import to_markdown_with_context

import serving

TERM = re.compile(r"^(?P<term>[\w*]+(?:, [\w*]+)*)\n(?P<meaning>(?: {4,}\S.*(?:\n|$))+)", re.M)
LEFT_OUT = ("serving.learner", "serving.examiner")


def modules() -> list[str]:
    """Names of modules, and of packages of which pdoc finds the modules by itself."""
    found = pkgutil.walk_packages(serving.__path__, "serving.")
    names, described = [], set()
    for name in (module.name for module in found):
        if name not in described and not name.startswith(LEFT_OUT):
            names.append(name)
            described.update(pdoc.extract.walk_specs([name]))
    return names


@pass_context
def to_markdown(context, docstring: str) -> str:
    """Terms with their meanings indented below them, as this kit's docstrings have them, are a list."""

    def item(found: re.Match) -> str:
        return f"- **{found['term']}**: {' '.join(found['meaning'].split())}\n"

    return to_markdown_with_context(context, TERM.sub(item, docstring))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--into", type=Path, default=serving.ROOT / "build" / "docs",
        metavar="DIR", help="where the pages are written (default: build/docs)")  # fmt: skip
    into = parser.parse_args(arguments).into
    # An __init__ that was generated knows no names of its module; it is shown as it is written.
    warnings.filterwarnings("ignore", r"Error parsing type annotation .*\.__init__\b")
    pdoc.render.configure(show_source=False, footer_text="Online learning, served")
    pdoc.render.env.filters["to_markdown"] = to_markdown
    pdoc.pdoc(*modules(), output_directory=into)
    print(f"{into / 'index.html'}: {len([*into.rglob('*.html')]) - 1} modules")
    return 0


if __name__ == "__main__":
    sys.exit(main())
