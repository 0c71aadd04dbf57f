"""Processes that the bench starts: players of its own, and whatever must be ended after it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

PLAYERS = Path(__file__).with_name("players.py")
MARK = "ONLINE_LEARNING_KIT_BENCH"  # environment variable that everything started here inherits


def started_here(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:  # ended meanwhile, or somebody else's
            continue
    return found


def end_all(mark: str) -> None:
    """Ends every process that was started here, orphans too."""
    for signal_, patience in (("terminate", 5.0), ("kill", 5.0)):
        for process in (processes := started_here(mark)):
            with contextlib.suppress(psutil.Error):
                getattr(process, signal_)()
        psutil.wait_procs(processes, patience)


class Player:
    """A process of players.py, imported and waiting for an address."""

    def __init__(self, role: str, **options):
        flags = [f"--{name}={value}" for name, value in options.items()]
        self.process = subprocess.Popen(
            [sys.executable, str(PLAYERS), role, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"the player '{role}' did not start")

    def play(self, address: str) -> None:
        self.process.stdin.write(f"{address}\n")
        self.process.stdin.flush()

    def result(self, timeout: float) -> dict:
        """What it has seen; tells it to stop if it plays until told."""
        output, _ = self.process.communicate(timeout=timeout)
        return json.loads(output)

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *exception) -> None:
        self.process.kill()
        self.process.wait()


def a_free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        return taken.getsockname()[1]


def wait_for_port(port: int, process: subprocess.Popen, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("localhost", port), 1.0):
            return
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens on port {port} after {seconds:.0f} s")


def memory(*processes: psutil.Process) -> float:
    """MB (2**20 bytes) that these processes and their descendants hold: proportional set size, in
    which a page that several share counts once (Linux; see proc(5), smaps_rollup)."""
    family = {process for one in processes for process in (one, *one.children(recursive=True))}
    return sum(process.memory_full_info().pss for process in family) / 2**20
