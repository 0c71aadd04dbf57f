"""The kit as somebody has just cloned it, and `make lab` in it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from accounts import Accounts
from clones import copy_kit
from network import Network

ROOT = Path(__file__).resolve().parents[2]
SECONDS_TO_START = 120.0
SECONDS_TO_END = 20.0
SECONDS_FOR_A_COMMAND = 1500.0  # a lesson is graded within minutes, on a busy machine


def clone(into: Path) -> Path:
    """A clone of this folder as it is now, with the installed packages borrowed."""
    copy_kit(into)
    (into / ".venv").symlink_to(sys.prefix)
    return into


def environment(home: Path) -> dict[str, str]:
    """As a user with this home has it: nothing of Jupyter's, Ray's, make's or the tests' comes along."""
    drop = ("JUPYTER_", "RAY_", "PYTHONPATH", "MAKE", "MFLAGS", "POLICY_SERVER", "LEARNER_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(drop)}
    return kept | {"HOME": str(home), "TERM": "xterm"}


class RunningLab:
    """`make lab` in a clone, for a user with an empty home, in a network of its own.

    With `accounts` and the name of one of them it is the user's lab, in the kit at `kit`.
    """

    def __init__(
        self, folder: Path, options: str = "--IdentityProvider.token=", variables=(),
        accounts: Accounts | None = None, user: str = "", kit: Path | None = None,
    ):  # fmt: skip
        self.kit = kit or clone(folder / "kit")
        self.home = accounts.home(user) if accounts else folder / "home"
        self.home.mkdir(exist_ok=True)
        self.network = Network()
        self.enter = [*self.network.enter, *(accounts.enter(user) if accounts else [])]
        self.log = folder / "lab.log"
        self._ray = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets need a short path
        self.environment = environment(self.home)
        # A Ray that runs in another network has left its address in the usual place.
        self.environment["RAY_TMPDIR"] = str(self._ray)
        if accounts:
            self.environment["TMPDIR"] = str(self.home)  # that of the tests is not theirs
            accounts.own(user, self.home, self._ray)
        # -o: the environment is taken as it is, not made again for the clone
        command = ["make", "-o", ".venv/installed", "lab", f"ARGS=--no-browser {options}"]
        with open(self.log, "w") as log:
            self._make = subprocess.Popen(
                [*self.enter, *command, *variables], cwd=self.kit, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.address = self._address()

    def _address(self) -> str:
        """The first address that it prints, as a person would copy it from the terminal."""
        deadline = time.monotonic() + SECONDS_TO_START
        while self._make.poll() is None and time.monotonic() < deadline:
            if found := re.search(r"is running at:.*?(http://localhost\S+)", self.said, re.S):
                return found[1]
            time.sleep(0.1)
        self.close()
        raise RuntimeError(f"make lab has not started; it said:\n{self.said}")

    @property
    def said(self) -> str:
        return self.log.read_text()

    def run(self, *command: str) -> str:
        """What a command prints that runs beside the lab."""
        done = subprocess.run(
            [*self.enter, *command], cwd=self.kit, env=self.environment,
            capture_output=True, text=True, timeout=SECONDS_FOR_A_COMMAND,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def status(self) -> dict:
        """What the policy server says at the lessons' port; nothing if there is none."""
        asked = ["curl", "-s", "http://localhost:8900/status"]
        done = subprocess.run(
            [*self.network.enter, *asked], capture_output=True, text=True, timeout=60
        )
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def browser(self) -> Path:
        """A Chromium that sees this network."""
        script = self.home / "chromium"
        command = " ".join([*self.network.enter, "/usr/bin/chromium"])
        script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        script.chmod(0o755)
        return script

    def close(self) -> None:
        """Ends JupyterLab as Ctrl-C, twice, does, and whatever was started in it."""
        for _ in range(2):
            if self._make.poll() is None:
                os.killpg(self._make.pid, signal.SIGINT)
                time.sleep(0.5)
        try:
            self._make.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            os.killpg(self._make.pid, signal.SIGKILL)
            self._make.wait()
        left = self._left()
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):  # it ends with the one before
                process.terminate()
        for process in psutil.wait_procs(left, SECONDS_TO_END)[1]:
            process.kill()
        shutil.rmtree(self._ray, ignore_errors=True)
        self.network.close()

    def _left(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("HOME") == str(self.home):
                    found.append(process)
            except psutil.Error:  # ended meanwhile, or somebody else's
                continue
        return found
