"""tools/links.py: the links that open the kit at a click."""

from __future__ import annotations

import subprocess
import sys
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from serving import ROOT
from tools.links import PAGE, links

GITHUB = "https://github.com/ada/online-learning"


def test_binder_opens_the_start_page():
    """Does the link hold repository, branch and page where mybinder.org looks for them?"""
    parts = urlsplit(links(GITHUB + ".git/", branch="spring/26").binder)
    assert parts.path.split("/")[1:] == ["v2", "gh", "ada", "online-learning", "spring%2F26"]
    assert parse_qs(parts.query) == {"urlpath": [PAGE]}


def test_any_other_host_goes_to_binder_by_its_whole_address():
    """Is a repository outside GitHub opened, and offered to no Codespace?"""
    found = links("https://git.example.org/ada/course")
    _, _, kind, address, branch = urlsplit(found.binder).path.split("/")
    assert (kind, unquote(address), branch) == ("git", "https://git.example.org/ada/course", "main")
    assert found.codespaces is None and "Codespaces" not in found.badges


def test_nbgitpuller_opens_the_page_in_the_folder_that_it_pulls():
    """Does the hub's link pull the branch, and open START.md in the folder nbgitpuller makes of it?"""
    parts = urlsplit(links(GITHUB, "main", "https://hub.example.org/prefix/").nbgitpuller)
    assert parts.path == "/prefix/hub/user-redirect/git-pull"
    query = parse_qs(parts.query)
    assert query["repo"] == [GITHUB] and query["branch"] == ["main"]
    assert query["urlpath"] == ["lab/tree/online-learning/START.md"]


@pytest.mark.parametrize(
    "wrong", ["ada/online-learning", "http://github.com/ada/x", "https://github.com"]
)
def test_what_is_no_address_is_refused_in_a_sentence(wrong):
    """Does it say what was expected?"""
    done = subprocess.run(
        [sys.executable, ROOT / "tools/links.py", wrong], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2 and "expected an address such as" in done.stderr


def test_it_prints_what_to_paste():
    """Are all three links and the badges printed?"""
    done = subprocess.run(
        [sys.executable, ROOT / "tools/links.py", GITHUB, "--hub=https://hub.example.org"],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    expected = links(GITHUB, hub="https://hub.example.org")
    for link in (*expected, expected.badges):
        assert link in done.stdout
