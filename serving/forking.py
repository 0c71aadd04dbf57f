"""Processes that are forked from one that has imported before what they need: a *fork server*.

Importing is most of a start. Whoever starts many alike one after another, for a class that is graded
or for tests, has it done once:

    with a_fork_server("LEARNER_FORK_SERVER", "serving.learner.fork_server", {}):
        ...  # what this process's descendants start is forked, as soon as it is ready

It is found by the environment variable of that name, which says whose it is (a kit's folder and its
Python: another kit may have other code) and has the path of its Unix socket, which none but its own
user can open. Where there is none, none yet or none any more, Python starts anew.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn

import msgspec

from serving import ROOT

OURS = f"{ROOT}{os.pathsep}{sys.prefix}{os.pathsep}"  # how the variable begins
SECONDS_TO_FORK = 5.0
MOST_OF_A_PATH = 70  # bytes: with the socket's name it must not be over 107 (unix(7))
MOST_BYTES = 200_000  # of a message, which holds an environment
MOST_DESCRIPTORS = 16  # of a request


class Request(msgspec.Struct):
    """What is to be started: its environment, arguments and folder, and whether in a session of its
    own. Descriptors travel beside it: standard input, output and error, and what else it holds open."""

    environment: dict[str, str]
    arguments: list[str] = []
    folder: str = str(ROOT)
    session: bool = False


class ForkedProcess:
    """A child of the fork server's: as much of `subprocess.Popen` as its owners need.

    Whether it lives, its descriptor says (`pidfd_open`), which no other process can come to have;
    how it ended, the fork server says over `connection`. Raises OSError where it does not answer.
    """

    stdin = stdout = None

    def __init__(self, connection: socket.socket, request: Request, descriptors: list[int]):
        connection.settimeout(SECONDS_TO_FORK)
        self._connection = connection
        try:
            socket.send_fds(connection, [msgspec.msgpack.encode(request)], descriptors)
            pid, (self._descriptor,), _, _ = socket.recv_fds(connection, 32, 1)
        except (OSError, ValueError) as error:
            connection.close()
            raise OSError(f"its fork server does not answer: {error}") from None
        self.pid = int(pid)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired after so many seconds."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return code

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

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


def connected(variable: str) -> socket.socket | None:
    """To the fork server that the environment variable names, if it is this kit's and is ready."""
    if not (path := fork_server(variable)):
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        return None
    return connection


def fork_server(variable: str) -> str:
    """The path of this kit's fork server; "" if there is none."""
    said = os.environ.get(variable, "")
    return said.removeprefix(OURS) if said.startswith(OURS) else ""


@contextlib.contextmanager
def a_fork_server(variable: str, module: str, environment: dict[str, str]) -> Iterator[None]:
    """While the block runs, there is one, `module`'s, which imports with this environment added to
    ours. Does nothing where there is one already, or where the system cannot."""
    if fork_server(variable) or not can_fork():
        yield
        return
    short = "/tmp" if len(tempfile.gettempdir()) > MOST_OF_A_PATH else None
    with tempfile.TemporaryDirectory(prefix="forks-", dir=short) as folder:
        path = f"{folder}/fork-server"
        process = subprocess.Popen(
            [sys.executable, "-m", module, path],
            stdin=subprocess.PIPE,  # closes when this process dies, and the server sees it
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, **environment},
        )
        before = os.environ.get(variable)
        os.environ[variable] = OURS + path
        try:
            yield
        finally:
            os.environ.pop(variable) if before is None else os.environ.update({variable: before})
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


def wait_for_fork_server(variable: str, seconds: float) -> bool:
    """Whether there is one, and it is ready within so many seconds."""
    path, deadline = fork_server(variable), time.monotonic() + seconds
    while path and not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(path) and os.path.exists(path)


def serve_forks(become: Callable[[Request, list[int]], int]) -> NoReturn:
    """The fork server's process, once it has imported what its children need: answers requests at the
    path that is its argument, until its standard input ends.

    become
        what a child does: it is given the request and the descriptors beyond the standard ones, and
        returns the exit code
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner, and we end with it
    gc.freeze()  # pages that no collection writes to are shared with the children
    ForkServer(sys.argv[1], become).run(sys.stdin.fileno())
    os._exit(0)


class ForkServer:
    """Answers each request with a child, and says of each child how it ended."""

    def __init__(self, path: str, become: Callable[[Request, list[int]], int]):
        self._become = become
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(path)
        self._listener.listen(64)
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._listener, selectors.EVENT_READ, self._accept)
        self._children: dict[int, tuple[int, socket.socket]] = {}  # pid and asker, by descriptor

    def run(self, owner: int) -> None:
        """Serves until `owner`, a file descriptor, ends."""
        self._ready.register(owner, selectors.EVENT_READ, None)
        while True:
            for key, _ in self._ready.select():
                if key.data is None:
                    return
                key.data(key.fileobj)

    def _accept(self, listener: socket.socket) -> None:
        asker, _ = listener.accept()
        self._ready.register(asker, selectors.EVENT_READ, self._hear)

    def _hear(self, asker: socket.socket) -> None:
        self._ready.unregister(asker)
        descriptors = []
        try:
            message, descriptors, _, _ = socket.recv_fds(asker, MOST_BYTES, MOST_DESCRIPTORS)
            request = msgspec.msgpack.decode(message, type=Request)
            if len(descriptors) < 3:
                raise ValueError(f"{len(descriptors)} descriptors: expected 3 or more")
            pid = os.fork()
            if pid == 0:
                self._be_a_child(asker, request, descriptors)
            child = os.pidfd_open(pid)
            self._children[child] = pid, asker
            self._ready.register(child, selectors.EVENT_READ, self._bury)
            socket.send_fds(asker, [str(pid).encode()], [child])
        except (OSError, ValueError, msgspec.MsgspecError):
            asker.close()  # which says that there is none
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _bury(self, child: int) -> None:
        self._ready.unregister(child)
        pid, asker = self._children.pop(child)
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(OSError):  # nobody may want to know any more
            asker.send(str(os.waitstatus_to_exitcode(status)).encode())
        asker.close()
        os.close(child)

    def _be_a_child(self, asker, request: Request, descriptors: list[int]) -> NoReturn:
        """Descriptors are given back one by one: an object that is collected later would close a
        number that means something else by then."""
        code = 1
        try:
            self._ready.close()
            self._listener.close()
            asker.close()
            for child, (_, other) in self._children.items():
                other.close()
                os.close(child)
            for ours, standard in zip(descriptors[:3], range(3)):
                os.dup2(ours, standard)
            for ours in set(descriptors[:3]):
                os.close(ours)
            if request.session:
                os.setsid()
            os.chdir(request.folder)
            os.environ.clear()
            os.environ.update(request.environment)
            code = self._become(request, descriptors[3:])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)
