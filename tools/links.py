#!/usr/bin/env python
"""Prints the links that open the kit at a click, at START.md, for a README, a mail or a course page.

    python tools/links.py https://github.com/USER/NAME
    python tools/links.py https://github.com/USER/NAME --branch=spring --hub=https://hub.example.org

Binder opens any public repository; Codespaces one that is on GitHub. nbgitpuller brings a repository
onto a JupyterHub, into the home folder of whoever clicks, and what is new since the last click on
top of it; the hub's image is described by the Dockerfile. The repository should be what
`make bundle` writes: it has no answers in it.
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import NamedTuple
from urllib.parse import quote, urlencode

PAGE = "lab/tree/START.md"
BINDER = "https://mybinder.org"
CODESPACES = "https://codespaces.new"


class Links(NamedTuple):
    binder: str
    codespaces: str | None  # only for GitHub
    nbgitpuller: str | None  # only with a hub

    @property
    def badges(self) -> str:
        """Markdown: a picture to click on for each link that has one."""
        badges = f"[![Open on Binder]({BINDER}/badge_logo.svg)]({self.binder})"
        if self.codespaces:
            badges += (
                f" [![Open in GitHub Codespaces](https://github.com/codespaces/badge.svg)]"
                f"({self.codespaces})"
            )
        return badges


def links(repository: str, branch: str = "main", hub: str | None = None) -> Links:
    """The links for the repository at this address. Raises ValueError for what is no address."""
    repository = repository.strip().rstrip("/").removesuffix(".git")
    if not re.fullmatch(r"https://[^/\s]+(/[^/\s]+)+", repository):
        raise ValueError(
            f"{repository!r}: expected an address such as https://github.com/USER/NAME"
        )
    if hub is not None and not re.fullmatch(r"https?://[^/\s]+(/\S*)?", hub):
        raise ValueError(f"{hub!r}: expected the address of a JupyterHub, https://hub.example.org")
    github = re.fullmatch(r"https://github\.com/([^/]+/[^/]+)", repository)
    at = quote(branch, safe="")
    where = f"gh/{github[1]}" if github else f"git/{quote(repository, safe='')}"
    binder = f"{BINDER}/v2/{where}/{at}?urlpath={quote(PAGE, safe='')}"
    codespaces = f"{CODESPACES}/{github[1]}/tree/{at}?quickstart=1" if github else None
    pulled = None
    if hub:
        name = repository.rsplit("/", 1)[1]
        page = PAGE.replace("tree/", f"tree/{name}/")
        query = urlencode({"repo": repository, "branch": branch, "urlpath": page})
        pulled = f"{hub.rstrip('/')}/hub/user-redirect/git-pull?{query}"
    return Links(binder, codespaces, pulled)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repository", metavar="ADDRESS", help="of the students' repository")
    parser.add_argument("--branch", default="main", help="of it (default: %(default)s)")
    parser.add_argument("--hub", metavar="ADDRESS", help="of a JupyterHub with nbgitpuller")
    options = parser.parse_args(arguments)
    try:
        found = links(options.repository, options.branch, options.hub)
    except ValueError as error:
        parser.error(str(error))
    for name, link in found._asdict().items():
        if link:
            print(f"{name:12} {link}")
    print(f"\nfor a README:\n{found.badges}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
