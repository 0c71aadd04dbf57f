#!/usr/bin/env python
"""Writes what students get: a repository without answers, and an archive of it.

    make bundle                                             build/online-learning/ and .zip
    make bundle ARGS="--into=DIR --repository=ADDRESS"      with links that open it at a click

The repository is a folder with a history of its own: called again, what is new becomes one more
commit on top, and students get it with `git pull` (or by a link to nbgitpuller, see
tools/links.py). Whatever is written is searched for lines of solutions and hidden tests, in all of
its history, and a find ends it.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import json
import re
import shutil
import subprocess

from tools.links import links

ROOT = Path(__file__).resolve().parents[1]
FOR_STUDENTS = ROOT / "tools" / "for_students"  # what is written for them
# What is for everybody. Folders are taken whole, as far as git knows their files.
EVERYBODYS = (
    "START.md", "LICENSE", "environment.yml", "postBuild", "requirements.lock",
    "requirements.hashes", "lessons", "serving", "images", "tools/install.sh", "tools/jupyter",
    "tools/start-ray.sh", "tools/terminal.sh", ".devcontainer", ".gitignore", ".dockerignore", "tools/hub",
    # These tests need no answer to an exercise, and little time.
    "tests/conftest.py", "tests/leftovers.py", "tests/test_protocol.py", "tests/pong/test_pong_env.py",
    "tests/pong/test_pong_physics.py", "tests/pong/follow_pong.mjs",
)  # fmt: skip
NOT_STUDENTS = ("serving/examiner/", "images/comparison.json", "images/learning.json")
TARGETS = ("help", ".venv", "lab", "test", "clean")  # of the Makefile
# Of pyproject.toml, what comes after this line is for those who change the kit.
KIT_MAKERS = "# The house: imports run downwards."

# Lesson 04 plays and replays by itself what lessons 1 and 3 have asked for. Whoever reads ahead finds
# it there, and in no other file.
READ_AHEAD = ("serving/notebook/experiment.py",)

SECRET = re.compile(
    r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END (?:SOLUTION|HIDDEN TESTS)", re.S
)
WHOLE = "exam.require("  # a line of a hidden test that nothing else has
TOGETHER = 3  # so many lines of an answer in a row are no chance,
LETTERS = 20  # if they have so many letters each


class Leak(Exception):
    """Something that students should not have is in what was written."""


def git(folder: Path, *arguments: str) -> str:
    """What git says in `folder`; raises CalledProcessError."""
    who = ("-c", "user.name=Online learning kit", "-c", "user.email=kit@localhost")
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, stdout=subprocess.PIPE, check=True, timeout=120
    )
    return done.stdout.decode("utf-8", "replace")


def files() -> list[str]:
    """Relative paths of what is copied as it is."""
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", *EVERYBODYS)
    return [
        name
        for name in listed.split("\0")
        if name and (ROOT / name).is_file() and not name.startswith(NOT_STUDENTS)
    ]


def makefile() -> str:
    """The Makefile with students' targets only: its paragraphs, less those of other targets."""
    kept = []
    for paragraph in (ROOT / "Makefile").read_text().split("\n\n"):
        target = re.search(r"^([a-z.-]+):[^=]", paragraph, re.M)
        if target and target[1] not in (*TARGETS, ".PHONY"):
            continue
        paragraph = re.sub("; INSTRUCTOR=1 shows .*", "", paragraph)
        kept.append(re.sub(r"^\.PHONY: .*", f".PHONY: {' '.join(TARGETS)}", paragraph, flags=re.M))
    return "\n\n".join(kept).rstrip() + "\n"


def write(into: Path, repository: str | None) -> None:
    """Everything of the bundle into an empty folder."""
    for name in files():
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, into / name)
    (into / "Makefile").write_text(makefile())
    project, _ = (ROOT / "pyproject.toml").read_text().split(KIT_MAKERS)
    (into / "pyproject.toml").write_text(project.rstrip() + "\n")
    readme = (FOR_STUDENTS / "README.md").read_text()
    at_a_click = f"{links(repository).badges}\n\n" if repository else ""
    (into / "README.md").write_text(readme.replace("BADGES\n\n", at_a_click))
    shutil.copy2(FOR_STUDENTS / "nbgrader_config.py", into)
    shutil.copy2(FOR_STUDENTS / "test_kit.py", into / "tests")


# -- leaks ------------------------------------------------------------------------------------------


def lines(text: str) -> list[str]:
    """Without indentation and empty lines: an answer that was moved is the same answer."""
    return [stripped for line in text.split("\n") if (stripped := line.strip())]


def rows(text: str, together: int) -> set[tuple[str, ...]]:
    """All so many lines in a row that say something: brackets alone do not."""
    found = lines(text)
    rows_ = zip(*(found[start:] for start in range(together)))
    return {row for row in rows_ if sum(map(len, row)) >= LETTERS * together}


def secrets() -> set[tuple[str, ...]]:
    """Rows of lines of every solution and hidden test; a shorter one is one row."""
    found = set()
    for path in sorted((ROOT / "solutions").glob("*/*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]:
            for answer in SECRET.findall("".join(cell["source"])):
                found |= rows(answer, min(TOGETHER, len(lines(answer))))
    return found


def leaks(text: str, known: set[tuple[str, ...]]) -> list[str]:
    """What of it students should not read. Notebooks hold their lines in quotes: unpacked first."""
    found = [WHOLE] if WHOLE in text else []
    here = set().union(*(rows(text, together) for together in range(1, TOGETHER + 1)))
    return found + [" / ".join(row) for row in sorted(here & known)]


def readable(path: Path) -> str:
    """The text of a file; of a notebook the text of its cells."""
    text = path.read_bytes().decode("utf-8", "replace")
    if path.suffix == ".ipynb":
        return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return text


def check(folder: Path) -> int:
    """How many files the repository's history holds, all versions counted. Raises Leak."""
    known = secrets()
    if not known:
        raise Leak("there are no solutions to look for: is this the instructor's repository?")
    versions = git(folder, "rev-list", "--all", "--objects").split("\n")
    checked = 0
    scratch = folder / ".git" / "version-of-a-file"
    for version in versions:
        blob, _, name = version.partition(" ")
        if not name or git(folder, "cat-file", "-t", blob).strip() != "blob":
            continue
        if re.search(r"(^|/)(solutions|examiner|hostile)(/|$)|mutants", name):
            raise Leak(f"{name} is in the history of {folder}")
        content = subprocess.run(
            ["git", "cat-file", "blob", blob],
            cwd=folder,
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        scratch = scratch.with_suffix(Path(name).suffix)
        scratch.write_bytes(content)
        found = leaks(readable(scratch), known)
        scratch.unlink()
        if found and name not in READ_AHEAD:
            raise Leak(f"{name} shows a part of an answer: {found[0]}")
        checked += 1
    return checked


# -- the repository ---------------------------------------------------------------------------------


def empty(folder: Path) -> None:
    """A repository without files; its history stays. Raises SystemExit for a folder with something
    else in it."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".git").exists():
        if any(folder.iterdir()):
            sys.exit(f"{folder} is neither empty nor a repository: name another one with --into")
        git(folder, "init", "--quiet", "--initial-branch=main")
    for entry in folder.iterdir():
        if entry.name not in (".git", ".venv"):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def commit(folder: Path) -> bool:
    """Whether anything is new since the last time."""
    git(folder, "add", "--all")
    if not git(folder, "status", "--porcelain"):
        return False
    git(folder, "commit", "--quiet", "--message=What students get")
    return True


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--into", type=Path, default=ROOT / "build" / "online-learning",
        metavar="DIR", help="the repository (default: build/online-learning)")  # fmt: skip
    parser.add_argument("--repository", metavar="ADDRESS",
        help="where it will be published, https://github.com/USER/NAME or the like")  # fmt: skip
    options = parser.parse_args(arguments)
    folder = options.into.resolve()
    if folder == ROOT or folder in ROOT.parents:
        sys.exit(f"{folder} holds the kit itself: name another folder with --into")
    empty(folder)
    write(folder, options.repository)
    new = commit(folder)
    try:
        checked = check(folder)
    except Leak as leak:
        print(f"student_bundle: {leak}; do not publish {folder}", file=sys.stderr)
        return 1
    archive = folder.with_name(f"{folder.name}.zip")
    git(folder, "archive", f"--prefix={folder.name}/", f"--output={archive}", "HEAD")
    print(
        f"{folder}: {'a new commit' if new else 'nothing new'}; {checked} versions of files, no answers"
    )
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
