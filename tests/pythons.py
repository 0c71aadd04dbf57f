"""The Pythons of this machine that the kit is made for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
TELL = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"


def _version(python: str | Path) -> str:
    """Of an interpreter that starts and can make virtual environments; "" of any other."""
    try:
        done = subprocess.run([python, "-c", TELL], capture_output=True, text=True, timeout=60)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def found() -> dict[str, str]:
    """Version -> interpreter: the one that runs these tests, those on the PATH, and pyenv's."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    pythons = {here: sys.executable}
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for version in VERSIONS:
        candidates = [shutil.which(f"python{version}"), *pyenv.glob(f"{version}.*/bin/python")]
        for candidate in filter(None, candidates):
            if version not in pythons and _version(candidate) == version:
                pythons[version] = str(candidate)
    return dict(sorted(pythons.items()))
