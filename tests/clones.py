"""The kit as somebody has just cloned it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def copy_kit(into: Path) -> Path:
    """Copies what git would hand out of this folder as it is now to the new folder `into`."""
    into.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, into / name)
    return into


def commit(kit: Path) -> Path:
    """Makes of the folder a repository of one commit."""
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "as it is now"]):
        subprocess.run([*git, *arguments], cwd=kit, check=True, timeout=60)
    return kit
