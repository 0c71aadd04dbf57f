"""A policy server started, looked at and stopped from a cell: the short way, without a terminal.

from serving.notebook import start_policy_server

server = start_policy_server(observation_size=4, action_size=2, checkpoint_file="cartpole")
...
server.stop()
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from serving import ROOT
from serving.client import PolicyClient
from serving.command_line import flags
from serving.connection import GRADING
from serving.first_connection import differences, found
from serving.notebook.lines import Lines
from serving.notebook.port_holder import Holder, holder_of
from serving.protocol import POLICY_SERVER_PORT, PolicyServerError, Status
from serving.running_server import RunningServer

SECONDS_TO_SAVE = 100.0  # a learner that is just starting has to be up before it can save

_started: dict[int, OwnPolicyServer] = {}  # by this kernel, by port


def start_policy_server(
    *, stop_other: bool = False, outlive_kernel: bool = False, **options
) -> OwnPolicyServer:
    """Starts a policy server, and shows below the cell what a terminal would show.

    options
        those of the command: `updates_per_step=1` is `--updates-per-step=1`, `quiet=True` is
        `--quiet`; `python serving/simple_policy_server.py --help` lists them. Files are those that
        a terminal in the kit's folder would see, so cell and terminal go on from each other's
        checkpoints
    stop_other
        stop the policy server that listens at the port, if it is another one; it saves first
    outlive_kernel
        go on when this kernel ends, or is restarted, until somebody stops it

    ■ and Ctrl-C do not reach it. A server for the same as this one, wherever it was started, is
    taken over instead. Raises ValueError for options that the command refuses, with its sentence.
    """
    server = OwnPolicyServer(options, outlive_kernel)
    if os.environ.get(GRADING):
        server.say("No policy server is started while a notebook is graded or validated.")
        return server
    before = _started.get(server.port)
    if before and before.is_running:
        if before.given == server.given:
            before.say("It runs already.")
            before.show()
            return before
        before.stop()  # it was this notebook's own: whoever changes the line means the new one
    server.start_where_free(stop_other)
    return server


class OwnPolicyServer(RunningServer):
    """What `start_policy_server` returns: `stop()` it, `show()` it below another cell, ask for its
    `status()`, or play against it with its `client()`."""

    in_own_session = True  # ■ interrupts the kernel, and all that belongs to its group

    def __init__(self, options: dict, outlive_kernel: bool = False):
        if missing := [name for name in ("observation_size", "action_size") if name not in options]:
            raise ValueError(f"expected {' and '.join(missing)}, as --help of the command explains")
        super().__init__(**{"port": POLICY_SERVER_PORT, **options})
        self.given, self.port = flags(**options), int(options.get("port", POLICY_SERVER_PORT))
        self._options = options
        # Where the terminals of JupyterLab open; packages that were installed are no such place.
        self.folder = ROOT if (ROOT / "START.md").exists() else Path.cwd()
        if outlive_kernel:
            self.command.remove("--stop-with-stdin")
        self._holder: Holder | None = None  # the process, where somebody else has started it
        self._screen = Lines(self._about)
        self.show = self._screen.show
        self.say = self._screen.add

    @property
    def is_running(self) -> bool:
        if self._holder:
            return self._holder.is_running
        return self.process is not None and self.process.poll() is None

    def __repr__(self) -> str:
        return f"<policy server {'at ' + self.address if self.is_running else 'that does not run'}>"

    def status(self) -> Status:
        """How serving and learning are going; raises ServerUnreachable if it does not run."""
        return self.client().status()

    def stop(self, seconds: float = SECONDS_TO_SAVE) -> int:
        """Lets it save, and ends it; kills what is left after `seconds`. Returns the exit code."""
        if not self.is_running:
            self.say("It does not run.")
            return 0
        if self._holder is None:
            code = super().stop(seconds)
        else:
            code = self._holder.stop(seconds)
            self.say("stopped")
        self._screen.draw()
        return code

    def said(self, line: str) -> None:
        super().said(line)
        if line != "stop it with Ctrl-C":  # here the line below the others says how
            self.say(line)

    def _read(self, process: subprocess.Popen, listens) -> None:
        super()._read(process, listens)
        process.wait()
        self._screen.draw()

    def _about(self) -> str:
        if not self.is_running:
            return "does not run"
        return f"runs at {self.address} · server.stop() saves and stops it"

    # -- the port -------------------------------------------------------------------------------

    def start_where_free(self, stop_other: bool) -> None:
        """Starts, unless somebody is in the way; says who, and offers what can be done about it."""
        self._screen.show()
        holder = holder_of(self.port) if self.port else None
        if holder and holder.is_ending:
            self.say("waiting for the server of the kernel before, which still saves ...")
            holder.wait(SECONDS_TO_SAVE)
            holder = holder_of(self.port)
        if holder is None:
            self._start()
        elif not holder.may_be_stopped:
            self.say(
                f"✗ Port {self.port} is held by {holder.name}, which is no policy server of yours. "
                f"Take another: port={self.port + 1}, and tell serving.connect(...) its address."
            )
        elif self._is_wanted(holder):
            pass
        elif stop_other:
            self._take_the_place_of(holder)
        else:
            self.say("✗ It is not the one that was asked for. Stop it (it saves) and start yours")
            self.say("  with the button below, or with start_policy_server(..., stop_other=True).")
            self._offer(lambda: self._take_the_place_of(holder))
        self._screen.draw()

    def _is_wanted(self, holder: Holder) -> bool:
        """Takes the server over if it is for the same; says what it is otherwise."""
        address = f"http://localhost:{self.port}"
        client = PolicyClient(address, self._options.get("token"), quiet=True, timeout=5.0)
        wanted = ("observation_size", "action_size", "run", "checkpoint_file")
        try:
            status = client.status()
            other = differences(status, *(self._options.get(name) for name in wanted))
            self.say(found(status, address))
        except PolicyServerError as error:
            self.say(f"Another policy server holds port {self.port}: {error}")
            return False
        if other:
            self.say(f"  It was started for something else: {other}.")
            return False
        self._holder, self.address = holder, address
        self.say("It was started elsewhere, and is for the same: no other one is started.")
        return True

    def _take_the_place_of(self, holder: Holder) -> None:
        self.say("stopping the other one, which saves ...")
        holder.stop(SECONDS_TO_SAVE)
        self._start()

    def _start(self) -> None:
        try:
            self.start()
        except RuntimeError:
            why = self.lines[-1] if self.lines else "it said nothing"
            raise ValueError(why.partition("error: ")[2] or why) from None
        if self.port:
            _started[self.port] = self
        self._screen.draw()

    def _offer(self, what: Callable[[], None]) -> None:
        from IPython import get_ipython
        from IPython.display import display
        from ipywidgets import Button

        if get_ipython() is None:
            return
        button = Button(description="Stop it, and start mine", layout={"width": "auto"})

        def clicked(_) -> None:
            button.close()
            try:
                what()
            except (ValueError, subprocess.SubprocessError, OSError) as error:
                self.say(f"✗ {error}")

        button.on_click(clicked)
        display(button)
