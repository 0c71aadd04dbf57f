"""How a learner's process comes to be: Python anew, or a fork of one that has imported RLlib before.

Importing is nine tenths of a learner's start, two seconds of a processor. `learners_are_forked` spares
it to whoever starts many (`serving.forking` says how).
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

from serving import ROOT
from serving.forking import ForkedProcess, Request, a_fork_server, connected

FORK_SERVER = "LEARNER_FORK_SERVER"
# One thread: the matrices are small, threads would only wait for each other.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "RAY_DEDUP_LOGS": "0"}


def start_learner(
    link: socket.socket, log: IO, inherit: Sequence[int] = ()
) -> subprocess.Popen | ForkedProcess:
    """Starts a learner that talks over `link`, writes what it prints to `log`, and holds the file
    descriptors `inherit` open. Raises OSError where the machine has no room for it."""
    environment = {**os.environ, **ENVIRONMENT}
    if connection := connected(FORK_SERVER):
        with open(os.devnull) as nothing:
            standard = [nothing.fileno(), log.fileno(), log.fileno()]
            return ForkedProcess(
                connection, Request(environment), [*standard, link.fileno(), *inherit]
            )
    return subprocess.Popen(
        [sys.executable, "-m", "serving.learner.process", str(link.fileno())],
        pass_fds=[link.fileno(), *inherit],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=ROOT,
        env=environment,
    )


def learners_are_forked() -> contextlib.AbstractContextManager[None]:
    """While the block runs, learners that this process's descendants start are forked."""
    return a_fork_server(FORK_SERVER, "serving.learner.fork_server", ENVIRONMENT)
