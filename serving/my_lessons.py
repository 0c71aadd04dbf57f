"""Where one stands, and how to begin anew without losing what there is.

python -m serving.my_lessons                            how far the lessons are; which server runs
python -m serving.my_lessons fresh-lesson 1             the lesson as it came; the old one is kept
python -m serving.my_lessons fresh-policy cartpole      the next start learns from nothing
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from serving import ROOT as KIT
from serving import checkpoints
from serving.client import PolicyClient
from serving.exercises import progress
from serving.exercises.standing import standing
from serving.first_connection import found
from serving.protocol import PolicyServerError, ServerUnreachable


def kit_of_ones_own() -> Path:
    """The folder that lessons and checkpoints are in: the kit one stands in, or else the one that runs.
    On a hub that one is everybody's, and a student's copy is a folder of their home."""
    here = Path.cwd()
    for folder in (here, KIT, *sorted(path for path in here.iterdir() if path.is_dir())):
        if (folder / "START.md").exists() and os.access(folder, os.W_OK):
            return folder
    return KIT


ROOT = kit_of_ones_own()
LESSONS = ROOT / "lessons"


class Refused(Exception):
    """Nothing was done; the sentence says why."""


def lessons() -> list[Path]:
    return sorted(folder for folder in LESSONS.glob("[0-9]*") if folder.is_dir())


def lesson_of(name: str) -> Path:
    """The folder of a lesson's number or name."""
    for folder in lessons():
        number = folder.name.partition("-")[0]
        if name in (folder.name, number) or name == str(int(number)):
            return folder
    known = ", ".join(folder.name for folder in lessons())
    raise Refused(f"there is no lesson {name!r}; there are {known}")


def told(folder: Path) -> str:
    """How far a lesson is, by its check cells."""
    now = standing(folder)
    if not now.of:
        return f"  {folder.name:24} not checked yet"
    mark = "✓" if now.is_complete else " "
    points = f"about {now.points} of {now.of_points} points"
    return f"{mark} {folder.name:24} {now.right:2} of {now.of:2} checked are right, {points}, {now.checked}"


def server() -> str:
    """Which policy server runs, in a sentence."""
    client = PolicyClient(quiet=True, timeout=5.0)
    try:
        return found(client.status(), client.address)
    except ServerUnreachable:
        return f"No policy server runs at {client.address}."
    except PolicyServerError as error:
        return f"The policy server at {client.address} does not talk to us: {error}"


def fresh_lesson(name: str) -> str:
    """Puts the lesson back as it came with the kit. The notebook of now, its figures and its progress
    are kept beside it under another name."""
    folder = lesson_of(name)
    notebook = folder / f"{folder.name}.ipynb"
    fresh = _as_it_came(notebook)
    if notebook.exists() and notebook.read_bytes() == fresh:
        raise Refused(f"{folder.name} is as it came: there is nothing to begin anew")
    kept = [
        _aside(path)
        for path in (notebook, folder / "figures.json", folder / progress.FILE)
        if path.exists()
    ]
    notebook.write_bytes(fresh)
    return f"{notebook.relative_to(ROOT)} is as it came; what you had is kept as {_and(kept)}"


def fresh_policy(name: str) -> str:
    """Moves a checkpoint and its logs aside, so that a server of this --checkpoint-file starts from
    nothing; the old one goes on under the name that is returned."""
    pointer = Path(name)
    if not checkpoints.folder_of(pointer).is_dir():
        raise Refused(
            f"there is no checkpoint {name!r} here: a policy server would start from nothing"
        )
    lock = checkpoints.lock(pointer, patience=0.0)  # refused while a policy server saves to it
    os.close(lock)
    parts = [pointer, checkpoints.folder_of(pointer), Path(f"{pointer}.logs")]
    stamp = _stamp()
    for part in reversed(parts):
        if part.exists():
            part.rename(
                part.with_name(part.name.replace(pointer.name, f"{pointer.name}-{stamp}", 1))
            )
    return (
        f"the next policy server with --checkpoint-file={name} starts from nothing; the old policy "
        f"goes on with --checkpoint-file={name}-{stamp}"
    )


def _as_it_came(notebook: Path) -> bytes:
    """The notebook as the kit's history has it: when it was generated last."""
    where = notebook.relative_to(ROOT).as_posix()
    git = shutil.which("git")
    if git:
        done = subprocess.run([git, "show", f"HEAD:./{where}"], cwd=ROOT, capture_output=True)
        if done.returncode == 0:
            return done.stdout
    raise Refused(
        f"how {where} came is not known: this folder is no clone (of git). Download the kit once more, "
        "and take the lesson from there"
    )


def _aside(path: Path) -> str:
    there = path.with_name(f"{path.stem}-{_stamp()}{path.suffix}")
    path.rename(there)
    return there.name


def _stamp() -> str:
    return time.strftime("%Y-%m-%d-%H%M%S")


def _and(names: list[str]) -> str:
    return ", ".join(names) if names else "nothing: there was none"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m serving.my_lessons",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    one = commands.add_parser("fresh-lesson", help="the lesson as it came; the old one is kept")
    one.add_argument("what", metavar="LESSON", help="its number or name")
    one = commands.add_parser("fresh-policy", help="start from nothing; the old policy is kept")
    one.add_argument("what", metavar="NAME", help="of --checkpoint-file, such as cartpole")
    options = parser.parse_args(arguments)
    try:
        if options.command is None:
            print("\n".join([*map(told, lessons()), "", server()]))
        elif options.command == "fresh-lesson":
            print(fresh_lesson(options.what))
        else:
            print(fresh_policy(options.what))
    except (Refused, checkpoints.CheckpointError, OSError) as error:
        print(f"my_lessons: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
