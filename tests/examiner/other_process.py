"""What stands for a notebook: its functions, served to an examiner from another process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator

from serving.examiner.candidate import Candidate
from serving.examiner.line import Line


@contextlib.contextmanager
def notebook_of(
    *sources: str, first: Callable[[Candidate], None] = lambda candidate: None
) -> Iterator[socket.socket]:
    """The examiner's end of the line to a process that has run `sources`, for as long as the block
    lasts. `first` is called there with the candidate before it serves."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            namespace: dict = {}
            for source in sources:
                exec(source, namespace)
            candidate = Candidate(namespace)
            candidate._line = Line(
                theirs, "notebook", candidate._serve, candidate._offer, candidate._stand_in
            )
            first(candidate)
            candidate._serve_until_the_verdict()
        finally:
            os._exit(0)
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
