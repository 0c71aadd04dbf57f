"""An empty Debian, a user who is not root, README's commands. Part of the long form: EMPTY_ROOT=1.

debootstrap makes it, of the release and from the mirror that this machine's apt is set up with; what
pip is set up with goes along, too. It is entered by bubblewrap, with processes and a /dev of its own,
and the machine's network. `pytest -s` shows the minutes and megabytes that stand in README.

Of `make test` it runs what is in SHORT; EMPTY_ROOT=all runs everything that finds its parts there,
which neither Chromium nor Node.js nor bubblewrap are.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from clones import commit, copy_kit

from serving import ROOT

SECONDS = 3600.0  # for one command, on a busy machine
SHORT = """tests/test_client.py tests/test_policy.py tests/server/test_http_api.py
tests/learner/test_process.py tests/pong/test_pong_env.py tests/notebook/test_own_server.py"""
ASKED_FOR = os.environ.get("EMPTY_ROOT", "")
FIRST = "lessons/01-serve-and-learn/01-serve-and-learn.ipynb"

pytestmark = [
    pytest.mark.timeout(0),
    pytest.mark.skipif(not ASKED_FOR, reason="EMPTY_ROOT=1, the long form"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a root"),
    pytest.mark.skipif(
        not (shutil.which("debootstrap") and shutil.which("bwrap")),
        reason="debootstrap or bubblewrap is not installed",
    ),
]


def mirror() -> tuple[str, str]:
    """Release and address of this machine's Debian, as its apt has them."""
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI) $(COMPONENT)",
         "Created-By: Packages"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    for line in targets.splitlines():
        if line.startswith(f"{release} ") and line.endswith(" main"):
            return release, line.split()[1]
    pytest.skip(f"apt names no mirror of {release}")


def pip_settings() -> dict[str, str]:
    """What pip is set up with here; what the environment says comes last, and so counts."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    found = re.findall(r"^(global|:env:)\.([\w-]+)=(['\"])(.*)\3$", listed, re.M)
    found.sort(key=lambda setting: setting[0] == ":env:")
    return {name: value for _, name, _, value in found}


def local(settings: dict[str, str]) -> set[Path]:
    """Files and folders of this machine that these settings name. The pages of an index that is a
    folder lead to files beside it."""
    found = set()
    for word in " ".join(settings.values()).replace("\\n", " ").split():
        if re.match("/|file:", word):
            path = Path(urllib.parse.urlparse(word).path)
            found.add(path.parent if word.startswith("file:") else path)
    return {path for path in found if path.exists()}


class EmptyRoot:
    """A Debian with nothing in it, in a folder, and the user `student`."""

    def __init__(self, folder: Path, kit: Path):
        self.folder = folder / "root"
        release, address = mirror()
        subprocess.run(
            ["debootstrap", "--variant=minbase", release, self.folder, address],
            check=True, stdout=subprocess.DEVNULL, timeout=SECONDS,
        )  # fmt: skip
        settings = pip_settings()
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        (self.folder / "etc" / "pip.conf").write_text("[global]\n" + "".join(lines))
        self._seen = [Path("/etc/resolv.conf"), Path("/etc/hosts")]
        self._student_sees = [kit, *local(settings)]  # apt writes where some of them may lie
        self.run("apt-get -qq update && useradd --create-home --shell /bin/bash student")

    def install(self, packages: str) -> None:
        """By apt, with what else they want by themselves."""
        self.run(f"DEBIAN_FRONTEND=noninteractive apt-get -qq install {packages}")

    def command(self, line: str, user: str) -> list[str]:
        """Enters the root, and nothing of this machine's environment comes along."""
        programs = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        paths = self._seen + (self._student_sees if user == "student" else [])
        seen = []
        for path in paths:
            seen += [word for folder in reversed(path.parents) for word in ("--dir", folder)]
            seen += ["--ro-bind", path, path]
        return [
            *("env", "--ignore-environment", programs, "bwrap", "--bind", self.folder, "/", *seen),
            *("--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm", "--proc", "/proc"),
            *("--unshare-pid", "--die-with-parent"),
            *("--cap-add", "ALL", "--chdir", "/", "su", "--login", user, "--command", line),
        ]

    def run(self, line: str, user: str = "root", fails: bool = False) -> str:
        """What it says; an error if it ends otherwise than expected."""
        done = subprocess.run(
            self.command(line, user), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=SECONDS,
        )  # fmt: skip
        assert (done.returncode != 0) == fails, done.stdout[-5000:]
        return done.stdout


@pytest.fixture(scope="module")
def an_empty_root(tmp_path_factory) -> Iterator[EmptyRoot]:
    """With git, make and Python, and a clone of the kit as it is now in the student's home."""
    folder = tmp_path_factory.mktemp("empty")
    kit, bundle = commit(copy_kit(folder / "kit")), folder / "kit.bundle"
    subprocess.run(
        ["git", "bundle", "create", "-q", bundle, "HEAD"], cwd=kit, check=True, timeout=60
    )
    try:
        root = EmptyRoot(folder, bundle)
        root.install("git make python3")
        root.run(f"git clone -q {bundle} kit", "student")
        yield root
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def make_lab(root: EmptyRoot, log: Path) -> Iterator[str]:
    """The address that `make lab` prints, token and all; ended by Ctrl-C."""
    with open(log, "w") as said:
        process = subprocess.Popen(
            root.command("cd kit && exec make lab", "student"), stdin=subprocess.DEVNULL,
            stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(r"http://localhost:\S+\?token=\w+", log.read_text())):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield found[0]
    finally:
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(1)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_readmes_two_commands(an_empty_root, tmp_path):
    """Does `make` say what is missing, and once that is there, does `make lab` answer with lesson 1 in
    it, to a user who is not root, and do the tests pass?"""
    readme = (ROOT / "README.md").read_text()
    said = an_empty_root.run("cd kit && make lab", "student", fails=True)
    (missing,) = re.findall(r"on Debian and Ubuntu (\S+),", said)
    (packages,) = re.findall(r"`sudo apt install ([^`]+)`", readme)
    assert missing in packages.split()
    an_empty_root.install(packages)

    began = time.monotonic()
    with make_lab(an_empty_root, tmp_path / "lab.log") as address:
        minutes = (time.monotonic() - began) / 60
        parts = urllib.parse.urlsplit(address)
        lab, token = f"{parts.scheme}://{parts.netloc}", {"token": parts.query[len("token=") :]}
        lesson = httpx.get(f"{lab}/api/contents/{FIRST}", params=token, timeout=60)
        assert lesson.status_code == 200 and lesson.json()["content"]["cells"]
        assert httpx.get(f"{lab}/lab/tree/START.md", params=token, timeout=60).status_code == 200
    began = time.monotonic()
    with make_lab(an_empty_root, tmp_path / "lab.log"):
        seconds = time.monotonic() - began

    arguments = " ALL=1" if ASKED_FOR == "all" else f" ARGS={shlex.quote(' '.join(SHORT.split()))}"
    tested = an_empty_root.run(f"cd kit && make test{arguments}", "student")
    assert re.search(r"\d+ passed", tested) and "failed" not in tested, tested
    size = an_empty_root.run("du --summarize --block-size=1000000 kit/.venv", "student")
    print(
        f"\nmake lab, the first time: {minutes:.1f} minutes; again: {seconds:.1f} s; "
        f".venv: {size.split()[0]} MB\n{tested.strip().splitlines()[-1]}"
    )
