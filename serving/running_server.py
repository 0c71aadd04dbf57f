"""A policy server process of one's own, on a free port: for graders, tests, tools and users."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from serving.client import PolicyClient
from serving.command_line import flags
from serving.forking import ForkedProcess, Request, a_fork_server, connected
from serving.protocol import ServerUnreachable, Status

SERVER_IN_ENVIRONMENT = "POLICY_SERVER_UNDER_TEST"
FORK_SERVER = "POLICY_SERVER_FORK_SERVER"
SCRIPT = Path(__file__).with_name("simple_policy_server.py")


class RunningServer:
    """A real policy server process, on a free port, in a folder of its own.

        with RunningServer(observation_size=4, action_size=2) as server:
            client = server.client()

    Keyword arguments become options of the command line: `updates_per_step=1` is
    `--updates-per-step=1`. Without a `learner` it acts and records, and never learns: it is up in a
    quarter of a second, and has nothing to wait for. With a `folder`, the server saves to
    `checkpoint_file` there; without one it uses a folder of its own, and removes it when it ends. It
    ends when this process does, however this process ends.
    """

    in_own_session = False  # whether what interrupts this process's group passes it by

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        folder: str | Path | None = None,
        start_timeout: float = 30.0,
        learner: bool = True,
        **options,
    ):
        self.folder = None if folder is None else Path(folder)
        self.checkpoint_file = None
        if self.folder is not None:
            self.checkpoint_file = Path(options.pop("checkpoint_file", self.folder / "policy"))
            options["checkpoint_file"] = self.checkpoint_file
        options = {"port": 0, **options}
        self.command = [
            sys.executable,
            str(SCRIPT),
            f"--observation-size={observation_size}",
            f"--action-size={action_size}",
            "--stop-with-stdin",
            *([] if learner else ["--no-learner"]),
            *flags(**options),
        ]
        self.lines: deque[str] = deque(maxlen=1000)  # what it printed
        self.process: subprocess.Popen | ForkedProcess | None = None
        self.address = ""
        self._start_timeout = start_timeout

    def start(self) -> RunningServer:
        """Starts the process and waits until it says where it listens."""
        folder = self.folder or SCRIPT.parent
        self.process = forked(self.command[1:], folder, self.in_own_session)
        self.process = self.process or subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,  # closes when this process dies, and the server sees it
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            start_new_session=self.in_own_session,
        )
        listens = threading.Event()
        threading.Thread(target=self._read, args=(self.process, listens), daemon=True).start()
        if not listens.wait(self._start_timeout) or not self.address:
            said = "\n".join(self.lines) or "nothing"
            self.stop()
            raise RuntimeError(
                f"the policy server did not start within {self._start_timeout:.0f} s; it said: {said}"
            )
        return self

    def client(self, **options) -> PolicyClient:
        return PolicyClient(self.address, **{"quiet": True, **options})

    def wait_until(self, condition: Callable[[Status], bool], seconds: float, what: str) -> Status:
        """The first status for which `condition` holds; raises TimeoutError naming `what`."""
        return wait_until(self.client(), condition, seconds, what)

    def stop(self, seconds: float = 100.0) -> int:
        """Ctrl-C; kills what is left after `seconds`. Returns the exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process.stdin.close()
        return self.process.wait()

    def kill(self) -> None:
        """As if the power failed."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> RunningServer:
        return self.start()

    def __exit__(self, *exception) -> None:
        self.stop()

    def said(self, line: str) -> None:
        """Called with each line that the server prints, from a thread."""
        self.lines.append(line)

    def _read(self, process: subprocess.Popen, listens: threading.Event) -> None:
        with process.stdout as lines:
            for line in lines:
                self.said(line.rstrip())
                if "listens at" in line:
                    self.address = line.split()[-1]
                    listens.set()
        listens.set()


def servers_are_forked() -> contextlib.AbstractContextManager[None]:
    """While the block runs, each `RunningServer` of this process's descendants is forked from one that
    has imported what they need: a quarter of a second of a processor less."""
    environment = {"OPENBLAS_NUM_THREADS": "1"}  # as simple_policy_server.py has it
    return a_fork_server(FORK_SERVER, "serving.server.fork_server", environment)


def forked(arguments: list[str], folder: Path, in_own_session: bool) -> ForkedProcess | None:
    """A policy server that is forked, with pipes as its standard input and output; None where there is
    no fork server, or it does not answer."""
    if not (connection := connected(FORK_SERVER)):
        return None
    request = Request(dict(os.environ), arguments, str(folder), in_own_session)
    its_input, our_input = os.pipe()
    our_output, its_output = os.pipe()
    stdin, stdout = open(our_input, "w"), open(our_output)  # noqa: SIM115 - the process has them
    try:
        process = ForkedProcess(connection, request, [its_input, its_output, its_output])
    except OSError:
        stdin.close()
        stdout.close()
        return None
    finally:
        os.close(its_input)
        os.close(its_output)
    process.stdin, process.stdout = stdin, stdout
    return process


@contextlib.contextmanager
def a_policy_server(observation_size: int, action_size: int, **options) -> Iterator[PolicyClient]:
    """A client of a fresh policy server, which is gone at the end of the `with` block.

    A grader outside this process can own the server instead: if the environment variable
    POLICY_SERVER_UNDER_TEST holds an address, that server is used and left running.
    """
    address = os.environ.get(SERVER_IN_ENVIRONMENT)
    if address:
        yield PolicyClient(address, quiet=True)
        return
    with RunningServer(observation_size, action_size, **options) as server:
        yield server.client()


def wait_until(
    client: PolicyClient, condition: Callable[[Status], bool], seconds: float, what: str
) -> Status:
    """Asks for the server's status until `condition` holds; raises TimeoutError naming `what`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            status = client.status()
            if condition(status):
                return status
            seen = f"{status.state} {status.why}".strip()
        except ServerUnreachable as error:
            seen = str(error)
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}; the policy server is: {seen}")
        time.sleep(0.05)
