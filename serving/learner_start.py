"""How a learner's process comes to be: Python anew, or a fork of one that has imported RLlib before.

Importing is nine tenths of a learner's start, two seconds of a processor. Whoever starts many of
them one after another, for a class that is graded or for tests, has it done once, by a *fork server*:

    with a_fork_server():
        ...  # learners that this process's descendants start are forked, as soon as it is ready

It is found by the environment variable LEARNER_FORK_SERVER, which says whose it is (a kit's folder
and its Python: another kit may have another learner) and has the path of its Unix socket, which none
but its own user can open. Where there is none, none yet or none any more, Python starts anew.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import IO

import msgspec

from serving import ROOT

FORK_SERVER = "LEARNER_FORK_SERVER"
OURS = f"{ROOT}{os.pathsep}{sys.prefix}{os.pathsep}"  # how the variable begins
# One thread: the matrices are small, threads would only wait for each other.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "RAY_DEDUP_LOGS": "0"}
SECONDS_TO_FORK = 5.0
MOST_OF_A_PATH = 70  # bytes: with the socket's name it must not be over 107 (unix(7))
MOST_BYTES = 200_000  # of a message, which holds an environment


def start_learner(
    link: socket.socket, log: IO, inherit: Sequence[int] = ()
) -> subprocess.Popen | ForkedProcess:
    """Starts a learner that talks over `link`, writes what it prints to `log`, and holds the file
    descriptors `inherit` open. Raises OSError where the machine has no room for it."""
    environment = {**os.environ, **ENVIRONMENT}
    if connection := _connected():
        return ForkedProcess(connection, environment, [link.fileno(), log.fileno(), *inherit])
    return subprocess.Popen(
        [sys.executable, "-m", "serving.learner.process", str(link.fileno())],
        pass_fds=[link.fileno(), *inherit],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=ROOT,
        env=environment,
    )


def _connected() -> socket.socket | None:
    """To this kit's fork server, if there is one that is ready."""
    if not (path := fork_server()):
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        return None
    return connection


class ForkedProcess:
    """A child of the fork server's: as much of `subprocess.Popen` as a learner's owner needs.

    Whether it lives, its descriptor says (`pidfd_open`), which no other process can come to have;
    how it ended, the fork server says over `connection`.
    """

    def __init__(self, connection: socket.socket, environment: dict, descriptors: list[int]):
        connection.settimeout(SECONDS_TO_FORK)
        request = msgspec.msgpack.encode(environment)
        self._connection = connection
        try:
            socket.send_fds(connection, [request], descriptors)
            pid, (self._descriptor,), _, _ = socket.recv_fds(connection, 32, 1)
        except (OSError, ValueError) as error:
            connection.close()
            raise OSError(f"its fork server does not answer: {error}") from None
        self.pid = int(pid)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self) -> int:
        return self._look(None)

    def kill(self) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def _look(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._descriptor], [], [], seconds)[0]:
            try:
                said = self._connection.recv(32)  # at once: it is told of the end as we are
            except OSError:
                said = b""
            self.returncode = int(said or -signal.SIGKILL)  # if nobody is left to tell how it was
            self._connection.close()
            os.close(self._descriptor)
        return self.returncode


def fork_server() -> str:
    """The path of this kit's fork server; "" if there is none."""
    said = os.environ.get(FORK_SERVER, "")
    return said.removeprefix(OURS) if said.startswith(OURS) else ""


@contextlib.contextmanager
def a_fork_server() -> Iterator[None]:
    """While the block runs, learners that this process's descendants start are forked. Does nothing
    where there is a fork server already, or where the system cannot."""
    if fork_server() or not can_fork():
        yield
        return
    short = "/tmp" if len(tempfile.gettempdir()) > MOST_OF_A_PATH else None
    with tempfile.TemporaryDirectory(prefix="learners-", dir=short) as folder:
        path = f"{folder}/fork-server"
        process = subprocess.Popen(
            [sys.executable, "-m", "serving.learner.fork_server", path],
            stdin=subprocess.PIPE,  # closes when this process dies, and the server sees it
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT},
        )
        before = os.environ.get(FORK_SERVER)
        os.environ[FORK_SERVER] = OURS + path
        try:
            yield
        finally:
            os.environ.pop(FORK_SERVER) if before is None else os.environ.update(
                {FORK_SERVER: before}
            )
            process.kill()  # at once, also while it imports; its children do not need it any more
            process.wait()
            process.stdin.close()


def can_fork() -> bool:
    """Whether this system has descriptors of processes: Linux from 5.3 on, if its container lets us."""
    try:
        own = os.pidfd_open(os.getpid())
    except (AttributeError, OSError):
        return False
    try:
        signal.pidfd_send_signal(own, 0)
    except OSError:
        return False
    finally:
        os.close(own)
    return True


def wait_for_fork_server(seconds: float) -> bool:
    """Whether there is one, and it is ready within so many seconds."""
    path, deadline = fork_server(), time.monotonic() + seconds
    while path and not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(path) and os.path.exists(path)
