"""README, CONTRIBUTING and the other pages: their links lead somewhere, their commands exist."""

from __future__ import annotations

import functools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from clones import copy_kit

from serving import ROOT

PAGES = (
    "README.md", "CONTRIBUTING.md", "START.md", "SECURITY.md", "CHANGELOG.md",
    "tools/for_students/README.md",
)  # fmt: skip
COMMAND = re.compile(r"(?:\S+=\S+ )*(?:make|python|nbgrader|tools/\S+\.sh|\.venv/bin/\S+)\s")


def text(page: str) -> str:
    return (ROOT / page).read_text()


def anchor(heading: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    """Is there a file behind every relative link, and a heading behind every anchor?"""
    # What stands for students stands at the top of their repository.
    folder = ROOT if "for_students" in page else (ROOT / page).parent
    for link in re.findall(r"\]\((?!\w+:)([^)\s]+)\)", text(page)):
        path, _, heading = link.partition("#")
        target = folder / path if path else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if heading:
            anchors = map(anchor, re.findall(r"^#+ (.*)$", target.read_text(), re.M))
            assert heading in anchors, f"{page}: {link}"


def commands(page: str) -> list[str]:
    """Command lines: those of shell blocks, continued lines joined, and those between backticks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text(page), re.M | re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").split("\n")
    prose = re.sub(r"^```.*?^```", "", text(page), flags=re.M | re.S)
    lines += [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", prose)]
    return [line.strip() for line in lines if COMMAND.match(line + " ")]


ALL = sorted({(page, command) for page in PAGES for command in commands(page)})


@functools.cache
def help_of(*command: str) -> str:
    done = subprocess.run(
        [*command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{command} --help says {done.stderr}"
    return done.stdout


def options(words: list[str]) -> list[str]:
    return [word.split("=")[0] for word in words if word.startswith("--") and word != "--help"]


def check_make(words: list[str]) -> None:
    """Targets, and variables that the Makefile or a program behind it reads."""
    makefile = text("Makefile") + text("tools/install.sh")
    for word in words:
        name, is_variable, _ = word.partition("=")
        if is_variable:
            assert re.search(rf"\$[({{]?(?:if \$\()?{name}\b", makefile), f"nobody reads {name}"
        elif name not in ("...", "NAME"):
            assert re.search(rf"^{re.escape(name)}:", makefile, re.M), f"no target {name}"


def check_python(words: list[str]) -> None:
    if words and words[0] == "-m":
        program, rest = ["-m", words[1]], words[2:]
        if words[1] in ("build",):  # the reader's own
            return
        if words[1] == "serving.logs" and rest:
            program, rest = [*program, rest[0]], rest[1:]
    elif words and words[0].endswith(".py"):
        assert (ROOT / words[0]).is_file(), f"there is no {words[0]}"
        program, rest = [words[0]], words[1:]
    else:
        return
    for option in options(rest):
        assert option in help_of(sys.executable, *program), f"{program} has no {option}"


def check_nbgrader(words: list[str]) -> None:
    nested = 3 if words[:1] == ["db"] else 1
    said = help_of(sys.executable, "-m", "nbgrader", *words[:nested])
    for option in options(words):
        assert option in said, f"nbgrader {words[0]} has no {option}"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("page, command", ALL, ids=lambda value: value[:60])
def test_a_command_exists(page, command):
    """Is there the program, and does it know the target, the options, the variables?"""
    try:
        words = shlex.split(command.split(" | ")[0])
    except ValueError:
        pytest.fail(f"{command!r} has unbalanced quotes")
    variables = []
    while words and re.match(r"[A-Z_]+=", words[0]):
        variables.append(words.pop(0))
    program, *words = words
    if program == "make":
        check_make([*variables, *[word for word in words if word != "..."]])
    elif program in ("python", ".venv/bin/python"):
        check_python(words)
    elif program == "nbgrader":
        check_nbgrader(words)
    elif program.startswith(".venv/bin/"):
        assert Path(sys.executable).with_name(Path(program).name).exists(), program
    else:
        assert (ROOT / program).is_file(), program


def test_the_pages_have_commands():
    """Are commands found at all, in blocks and between backticks?"""
    assert len(ALL) > 30
    assert ("README.md", "make lab") in ALL and ("CONTRIBUTING.md", "make lock") in ALL


# -- run as they stand ------------------------------------------------------------------------------

# They end by themselves, within seconds. What serves, learns or grades is run by the tests of its own
# room, by the journeys, and in tests/journeys/test_instructor.py line by line.
QUICK = ("python tools/links.py", "python -m serving.logs", "python -m serving.my_lessons")
# What begins anew wants something that was begun: tests/test_my_lessons.py.
RUN = [pair for pair in ALL if pair[1].startswith(QUICK) and " fresh-" not in pair[1]]


@pytest.fixture(scope="module")
def a_clone(tmp_path_factory) -> Path:
    return copy_kit(tmp_path_factory.mktemp("documents") / "kit")


@pytest.mark.parametrize("page, command", RUN, ids=lambda value: value[:60])
def test_a_quick_command_does_what_it_says(page, command, a_clone):
    """Typed as it stands, in a fresh clone: does it end well, and print or write something?"""
    before = {path for path in a_clone.rglob("*")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", command], cwd=a_clone, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(a_clone)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() or {path for path in a_clone.rglob("*")} - before


def test_quick_commands_are_found():
    """Is each kind of them in the pages at least once?"""
    assert all(any(command.startswith(quick) for _, command in RUN) for quick in QUICK)
