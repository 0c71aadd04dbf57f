"""Who holds a port of this machine, and whether it is a policy server that one may stop: one's own."""

from __future__ import annotations

import os
import select
import signal
import time

from serving.running_server import SCRIPT
from serving.web import peers


class Holder:
    """What listens at a port. Of another user's process nothing is known but whose it is."""

    def __init__(self, port: int, process=None):
        self._port = port
        self._process = process  # a psutil.Process of this user's

    @property
    def name(self) -> str:
        if self._process is None:
            owner = peers.who_listens(self._port)
            return "somebody" if owner is None else peers.name_of(owner)
        return f"{self._process.name()} (process {self._process.pid})"

    @property
    def is_running(self) -> bool:
        import psutil

        try:
            return self._process is not None and self._process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    @property
    def may_be_stopped(self) -> bool:
        """Whether it is a policy server of this user's."""
        if self._process is None:
            return False
        return any(os.path.basename(part) == SCRIPT.name for part in self._command())

    @property
    def is_ending(self) -> bool:
        """Whether it ends by itself: it was to end with the program that started it, and that one
        is no more."""
        if not self.may_be_stopped or "--stop-with-stdin" not in self._command():
            return False
        return _nobody_writes_to(self._process.pid)

    def stop(self, seconds: float) -> int:
        """Ctrl-C; kills it if it is still there after `seconds`. Returns 0 if it went by itself."""
        import psutil

        try:
            self._process.send_signal(signal.SIGINT)
        except psutil.NoSuchProcess:
            return 0
        if self.wait(seconds):
            return 0
        self._process.kill()
        self.wait(5.0)
        return -signal.SIGKILL

    def wait(self, seconds: float) -> bool:
        """Whether it has gone within `seconds`."""
        deadline = time.monotonic() + seconds
        while self.is_running:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _command(self) -> list[str]:
        import psutil

        try:
            return self._process.cmdline()
        except psutil.Error:
            return []


def holder_of(port: int) -> Holder | None:
    """What listens at the port; None if nothing does."""
    import psutil

    for process in psutil.process_iter():
        try:
            if process.uids().real != os.getuid():
                continue
            if any(_listens(one, port) for one in process.net_connections("tcp")):
                return Holder(port, process)
        except psutil.Error:  # it is gone, or not for us to look at
            continue
    return None if peers.who_listens(port) is None else Holder(port)


def _listens(connection, port: int) -> bool:
    return connection.status == "LISTEN" and connection.laddr.port == port


def _nobody_writes_to(pid: int) -> bool:
    """Whether the other end of a process's standard input, a pipe, is closed."""
    try:
        pipe = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:  # it is gone, or this is no Linux
        return False
    try:
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        return any(event & select.POLLHUP for _, event in poll.poll(0))
    finally:
        os.close(pipe)
