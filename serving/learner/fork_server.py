"""Imports RLlib once, and forks a learner for each policy server that asks for one.

Not for people to start: `serving.learner_start.a_fork_server` runs it as
`python -m serving.learner.fork_server PATH`. It ends with its standard input; its children end with
their policy servers, as all learners do.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
import sys
import traceback
from typing import NoReturn

import msgspec

from serving.learner import process
from serving.learner_start import MOST_BYTES

MOST_DESCRIPTORS = 16  # of a request


class ForkServer:
    """Answers each request with a child, and says of each child how it ended."""

    def __init__(self, path: str):
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
        """A request: a new learner's environment, its link, its log, and what it holds open."""
        self._ready.unregister(asker)
        descriptors = []
        try:
            request, descriptors, _, _ = socket.recv_fds(asker, MOST_BYTES, MOST_DESCRIPTORS)
            link, log, *_ = descriptors
            environment = msgspec.msgpack.decode(request, type=dict[str, str])
            pid = os.fork()
            if pid == 0:
                self._become_a_learner(asker, link, log, environment)
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

    def _become_a_learner(self, asker, link: int, log: int, environment: dict) -> NoReturn:
        """The child's part. Descriptors are given back one by one: an object that is collected later
        would close a number that means something else by then."""
        try:
            self._ready.close()
            self._listener.close()
            asker.close()
            for child, (_, other) in self._children.items():
                other.close()
                os.close(child)
            nothing = os.open(os.devnull, os.O_RDONLY)
            for ours, standard in ((nothing, 0), (log, 1), (log, 2)):
                os.dup2(ours, standard)
            os.close(nothing)
            os.close(log)
            os.environ.clear()
            os.environ.update(environment)
            draw_anew()
            process.run(link)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)


def draw_anew() -> None:
    """Other random numbers than all that are forked from the same process; Python's own generator sees
    to that by itself."""
    import numpy as np
    import torch

    np.random.seed()
    torch.seed()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner, and we end with it
    process.import_rllib()
    gc.freeze()  # pages that no collection writes to are shared with the children
    ForkServer(sys.argv[1]).run(sys.stdin.fileno())
    os._exit(0)


if __name__ == "__main__":
    main()
