"""Accounts of one machine for the length of a test, and an Exchange of nbgrader's between them."""

from __future__ import annotations

import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIRST_UID = 61001
SHARED = Path("/usr/local/share")  # nbgrader looks for its Exchange in there


class Accounts:
    """Users with ids and homes of their own, which the kernel keeps apart like all others. Only
    programs that `enter` goes in front of find them in /etc/passwd, and a /usr/local/share that is
    theirs: in a mount namespace of their own, so that the machine itself has nothing of it.

    Takes root and bubblewrap.
    """

    def __init__(self, *names: str):
        self.folder = Path(tempfile.mkdtemp(prefix="accounts-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.shared = self.folder / "share"
        self.shared.mkdir(mode=0o755)
        taken = {user.pw_uid for user in pwd.getpwall()}
        free = (uid for uid in range(FIRST_UID, 65000) if uid not in taken)
        self._uids = dict(zip(names, free))
        self._passwd, self._group = self.folder / "passwd", self.folder / "group"
        for file in (self._passwd, self._group):
            shutil.copyfile(f"/etc/{file.name}", file)
        for name, uid in self._uids.items():
            self.home(name).mkdir(mode=0o700)
            self.own(name, self.home(name))
            with open(self._passwd, "a") as passwd, open(self._group, "a") as group:
                passwd.write(f"{name}:x:{uid}:{uid}::{self.home(name)}:/bin/bash\n")
                group.write(f"{name}:x:{uid}:\n")

    def home(self, name: str) -> Path:
        return self.folder / name

    def own(self, name: str, *paths: Path) -> None:
        """Makes files and folders, with all that is in them, theirs."""
        owner = f"{self._uids[name]}:{self._uids[name]}"
        subprocess.run(
            ["chown", "--recursive", "--no-dereference", owner, *paths], check=True, timeout=60
        )

    def enter(self, name: str) -> list[str]:
        """Goes in front of a command, which then runs as this user."""
        uid = str(self._uids[name])
        mounts = {self.shared: SHARED, self._passwd: "/etc/passwd", self._group: "/etc/group"}
        binds = [str(word) for pair in mounts.items() for word in ("--bind", *pair)]
        return [
            *("bwrap", "--dev-bind", "/", "/", *self._ways_in(), *binds),
            *("--cap-add", "ALL", "--die-with-parent", "setpriv", "--reuid", uid, "--regid", uid),
            *("--clear-groups", "--inh-caps=-all", "--ambient-caps=-all", "--"),
        ]

    def _ways_in(self) -> list[str]:
        """Python and the kit may be in a folder that others may not enter, such as root's home: then
        it is replaced by one that holds nothing else."""
        closed: set[Path] = set()
        ways: list[str] = []
        for path in {Path(folder).resolve() for folder in (sys.base_prefix, sys.prefix, ROOT)}:
            above = [*reversed(path.parents)]
            if doors := [folder for folder in above if not folder.stat().st_mode & 0o001]:
                closed.add(doors[0])
                between = above[above.index(doors[0]) + 1 :]
                ways += [str(word) for folder in between for word in ("--dir", folder)]
                ways += ["--ro-bind", str(path), str(path)]
        return [str(word) for folder in closed for word in ("--tmpfs", folder)] + ways

    def close(self) -> None:
        shutil.rmtree(self.folder)
