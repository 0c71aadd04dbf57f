#!/usr/bin/env python
"""Writes requirements.lock, requirements.hashes and environment.yml: the versions installed here, as
tested.

    .venv/bin/python tools/make_lock.py [--check]

What goes in is what pyproject.toml asks for, and what that asks for in turn; whatever else happens
to be installed stays out. `--check` writes nothing and fails if the files would change.

The hashes are those of every file that the package index has of a version, for any platform and
Python; `uv` asks for them, and only when a version has changed.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]

# Where conda-forge has a smaller build than the package index, and what it is called there.
FROM_CONDA = {"torch": "pytorch-cpu"}

# What is installed as others ask for it, and removed again: tools/install.sh says why.
REMOVED = {"rfc3987-syntax": "1.1.0", "lark": "1.3.1"}

LOCK_HEAD = """\
# Every version, as tested. Written by `make lock`; environment.yml is written with it.
"""

# The lock is for all Pythons, and some packages are needed by the oldest only.
OLDEST = {"python_version": "3.11", "python_full_version": "3.11.0"}

# What a torch that was built for graphics cards brings along, if it is the one installed here.
FOR_GRAPHICS_CARDS = re.compile(r"(nvidia|cuda|triton)(-|$)")

HASHES_HEAD = """\
# requirements.lock, with the hashes of its packages' files for every platform. Written by `make lock`.
# torch is not in it: its CPU builds are other files than those of the package index.
"""

ENVIRONMENT_HEAD = """\
# For Binder and conda. Written by `make lock`: python and CPU torch from conda-forge, the rest is
# requirements.lock. No local reference here (-e ., -r file): repo2docker would then rebuild torch
# and Ray after every commit. `postBuild` installs the kit itself.
name: online-learning
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
"""


def required() -> list[Requirement]:
    """What pyproject.toml names: to run, to test, and to build."""
    described = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = described["project"]
    named = [*project["dependencies"], *described["build-system"]["requires"]]
    for extra in project["optional-dependencies"].values():
        named += extra
    requirements = map(Requirement, named)
    # An extra that builds on another names the kit itself, which no index has.
    return [requirement for requirement in requirements if requirement.name != project["name"]]


def installed(wanted: list[Requirement]) -> dict[str, str]:
    """Names and versions of `wanted` and of all they need; raises PackageNotFoundError."""
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    while wanted:
        requirement = wanted.pop()
        # A package may be asked for once plainly and once for an extra: each brings its own needs.
        for extra in {"", *requirement.extras}:
            key = (canonicalize_name(requirement.name), extra)
            if key in seen:
                continue
            seen.add(key)
            if key[0] in REMOVED:
                versions |= REMOVED
                continue
            package = distribution(requirement.name)
            # "2.13.0+cpu" is a build no other machine finds.
            versions[package.metadata["Name"]] = Version(package.version).public
            for line in package.requires or []:
                need = Requirement(line)
                if FOR_GRAPHICS_CARDS.match(canonicalize_name(need.name)):
                    continue
                pythons = ({"extra": extra}, {"extra": extra, **OLDEST})
                if need.marker is None or any(map(need.marker.evaluate, pythons)):
                    wanted.append(need)
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))


def lock(versions: dict[str, str]) -> str:
    return LOCK_HEAD + "".join(f"{name}=={version}\n" for name, version in versions.items())


def environment(versions: dict[str, str]) -> str:
    lines = []
    for name, conda_name in FROM_CONDA.items():
        release = Version(versions[name]).release
        lines.append(f"  - {conda_name}={release[0]}.{release[1]}\n")
    lines += ["  - pip\n", "  - pip:\n"]
    lines += [
        f"      - {name}=={version}\n"
        for name, version in versions.items()
        if name not in FROM_CONDA
    ]
    return ENVIRONMENT_HEAD + "".join(lines)


def hashed(versions: dict[str, str]) -> str:
    """Lines such as `name==1.2.3`, without torch; the hashes stand between them in the file."""
    return "".join(
        f"{name}=={version}\n" for name, version in versions.items() if name not in FROM_CONDA
    )


def pins_of(text: str) -> dict[str, str]:
    """Normalized names and versions of the lines that have one."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\n]+)", text, re.M)
    return {canonicalize_name(name): version for name, version in pins}


def hashes(versions: dict[str, str]) -> str:
    """Asks the package index; raises SystemExit with uv's words where that does not work.

    Packages with other needs than Python 3.11.0 are refused: Debian 12 has 3.11.2.
    """
    uv = shutil.which("uv") or sys.exit(
        "there is no uv here, which asks for the hashes: install it"
    )
    done = subprocess.run(
        [uv, "pip", "compile", "--no-deps", "--universal", "--python-version=3.11.0", "--quiet",
         "--generate-hashes", "--no-annotate", "--no-header", "-"],
        input=hashed(versions), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"uv has not found the hashes:\n{done.stderr}")
    return HASHES_HEAD + done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    check = parser.parse_args().check
    versions = installed(required())
    stale = []
    for name, text in {
        "requirements.lock": lock(versions),
        "environment.yml": environment(versions),
    }.items():
        path = ROOT / name
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if not check:
                path.write_text(text)
    path = ROOT / "requirements.hashes"
    if not path.exists() or pins_of(path.read_text()) != pins_of(hashed(versions)):
        stale.append(path.name)
        if not check:
            path.write_text(hashes(versions))
    if check and stale:
        print(f"{' and '.join(stale)} differ from what is installed; write them with `make lock`")
        return 1
    print(
        f"{len(versions)} packages; {', '.join(stale) or 'nothing'} {'written' if stale else 'to write'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
