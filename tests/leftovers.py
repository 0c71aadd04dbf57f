"""What tests leave behind: processes that inherited the session's mark, ports, folders."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from pathlib import Path

import psutil

MARK = "ONLINE_LEARNING_KIT_TESTS"  # environment variable that all our descendants inherit
RAY_TEMP = "RAY_TMPDIR"


def marked_processes(mark: str) -> list[psutil.Process]:
    """Living processes that inherited `mark`: children, and orphans too, which have no parent to
    find them by."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:  # ended meanwhile, or somebody else's
            continue
    return found


def leftovers(mark: str, folder: Path) -> list[str]:
    """Processes with `mark`, the ports they listen on, and policy servers' folders in `folder`."""
    found = []
    for process in marked_processes(mark):
        try:
            command = " ".join(process.cmdline())[-150:]
            listening = [
                connection.laddr.port
                for connection in process.net_connections("tcp")
                if connection.status == psutil.CONN_LISTEN
            ]
            found.append(f"process {process.pid} ({command}), listening on {listening}")
        except psutil.Error:
            continue
    found += [f"folder {entry}" for entry in sorted(folder.glob("policy-server-*"))]
    return found


def end(processes: list[psutil.Process], patience: float = 10.0) -> None:
    """SIGTERM, then SIGKILL."""
    for process in processes:
        try:
            process.terminate()
        except psutil.Error:
            pass
    _, alive = psutil.wait_procs(processes, patience)
    for process in alive:
        try:
            process.kill()
        except psutil.Error:
            pass
    psutil.wait_procs(alive, patience)


def free_port() -> int:
    """A port at which nobody listens, and which nobody is given meanwhile who asks for any: it lies below
    those that the system gives away."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("100 ports between 20,000 and 32,000 are taken")
