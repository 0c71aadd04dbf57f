"""make docs: a reference of everything that is public, which asks nobody for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from serving import ROOT
from tools import make_docs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def the_pages(tmp_path_factory) -> Path:
    """Written with every warning an error."""
    folder = tmp_path_factory.mktemp("docs")
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "tools" / "make_docs.py", f"--into={folder}"],
        cwd=ROOT, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
    return folder


def test_every_public_module_has_a_page(the_pages):
    """Has each module of serving/ one that the list leads to, but for those of learner and examiner?"""
    expected = set()
    for path in (ROOT / "serving").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(part for part in parts if part not in ("__init__", "__main__"))
        if name != "serving" and not name.startswith(make_docs.LEFT_OUT):
            expected.add(name)
    index = (the_pages / "index.html").read_text()
    links = set(re.findall(r'<a href="(serving/[^"]+)\.html">', index))
    assert {link.replace("/", ".") for link in links} == expected
    assert all((the_pages / f"{link}.html").exists() for link in links)


def test_docstrings_are_what_is_shown(the_pages):
    """Are a method's words there, and terms with their meanings a list of such?"""
    page = (the_pages / "serving" / "client.html").read_text()
    text = re.sub(r"<[^>]*>", "", page)
    assert "Starts an episode and returns its id." in text
    assert "<li><strong>address</strong>: such as" in page


def test_no_host_is_asked(the_pages):
    """Is nothing loaded from elsewhere: no script, style, picture or font?"""
    loaded = re.compile(
        r"""(?:<script[^>]*\bsrc|<img[^>]*\bsrc|<link[^>]*\bhref)=["']?(?:https?:)?//|url\(["']?https?:|@import"""
    )
    for page in the_pages.rglob("*.html"):
        assert not (found := loaded.search(page.read_text())), f"{page.name}: {found}"
