"""What the page My lessons shows and does: how far each lesson is, and one's own policy server."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from serving import checkpoints, my_lessons
from serving.client import PolicyClient
from serving.exercises.standing import standing
from serving.first_connection import differences, found
from serving.my_lessons import Refused
from serving.notebook.port_holder import holder_of
from serving.protocol import PolicyServerError, ServerUnreachable, Status
from serving.running_server import RunningServer

# What each lesson has its students start; in lesson 05 that is theirs to find out.
SERVERS = {
    "01-serve-and-learn": dict(
        observation_size=4, action_size=2, run="DQN", checkpoint_file="cartpole"
    ),
    "02-pong": dict(observation_size=8, action_size=3, run="DQN", checkpoint_file="pong"),
    "03-learn-from-logs": dict(
        observation_size=8, action_size=3, run="DQN", checkpoint_file="from-logs"
    ),
    "04-compare-algorithms": dict(
        observation_size=4, action_size=2, run="PG", checkpoint_file="pg"
    ),
}
SECONDS_TO_SAVE = 100.0  # a learner that is just starting has to be up before it can save


class Lesson(msgspec.Struct):
    """A lesson, and how far it is (see `serving.exercises.standing`).

    path
        of its notebook, as Jupyter knows it; null if that is not below Jupyter's folder
    policy
        the name of its checkpoint, where there is one
    has_server
        whether a policy server can be started for it here
    """

    name: str
    title: str
    path: str | None
    right: int
    of: int
    points: int
    of_points: int
    checked: str
    is_complete: bool
    policy: str | None
    has_server: bool


class Server(msgspec.Struct):
    """The policy server that runs, in a sentence; `lesson` is null if it is for none of them."""

    is_running: bool
    address: str
    says: str
    lesson: str | None


class Seen(msgspec.Struct):
    """All that the page shows; `busy` says what is being done at the moment."""

    lessons: list[Lesson]
    server: Server
    busy: str | None


class OwnServer(RunningServer):
    """Ends when the page's process does, which ends with Jupyter; it saves first."""

    in_own_session = True  # Ctrl-C in Jupyter's terminal is not for it


class Desk:
    """Looks at the lessons, and does what the page's buttons say. One thing is done at a time;
    whatever cannot be done raises Refused with a sentence.

    jupyter_folder
        which Jupyter shows
    port
        of the policy server
    """

    def __init__(self, jupyter_folder: Path, port: int):
        self.jupyter_folder, self.port = jupyter_folder, port
        self.busy: str | None = None
        self._own: OwnServer | None = None
        self._doing = threading.Lock()
        self._client = PolicyClient(f"http://localhost:{port}", quiet=True, timeout=2.0)

    def see(self) -> Seen:
        return Seen([self._lesson(one) for one in my_lessons.lessons()], self._server(), self.busy)

    def start(self, lesson: str) -> str:
        """Starts the lesson's policy server; another one of one's own is stopped, and saves first."""
        return self._do(f"starting the policy server of {lesson}", lambda: self._start(lesson))

    def stop(self) -> str:
        """Stops one's own policy server, wherever it was started."""
        return self._do("stopping the policy server, which saves", self._stop)

    def fresh_lesson(self, lesson: str) -> str:
        return self._do(f"beginning {lesson} anew", lambda: my_lessons.fresh_lesson(lesson))

    def fresh_policy(self, lesson: str) -> str:
        """Moves the lesson's policy aside; a server that acted with it is started anew, with
        another."""
        return self._do("beginning a policy anew", lambda: self._fresh_policy(lesson))

    # -- looking ---------------------------------------------------------------------------------

    def _lesson(self, folder: Path) -> Lesson:
        notebook = folder / f"{folder.name}.ipynb"
        try:
            path = notebook.resolve().relative_to(self.jupyter_folder.resolve()).as_posix()
        except ValueError:
            path = None
        name = SERVERS.get(folder.name, {}).get("checkpoint_file")
        there = name and checkpoints.folder_of(name).is_dir()
        return Lesson(
            name=folder.name,
            title=(notebook.exists() and _title(notebook, notebook.stat().st_mtime_ns))
            or folder.name,
            path=path if notebook.exists() else None,
            policy=name if there else None,
            has_server=folder.name in SERVERS,
            is_complete=(now := standing(folder)).is_complete,
            **now._asdict(),
        )

    def _server(self) -> Server:
        address = self._client.address
        try:
            status = self._client.status()
            return Server(True, address, found(status, address), lesson_of(status))
        except ServerUnreachable:
            return Server(False, address, "No policy server runs.", None)
        except PolicyServerError as error:
            return Server(True, address, f"It does not talk to this page: {error}", None)

    # -- doing -----------------------------------------------------------------------------------

    def _do(self, what: str, action: Callable[[], str]) -> str:
        if not self._doing.acquire(blocking=False):
            raise Refused(f"one thing at a time: {self.busy} ...")
        self.busy = what
        try:
            return action()
        finally:
            self.busy = None
            self._doing.release()

    def _start(self, lesson: str) -> str:
        if lesson not in SERVERS:
            raise Refused(f"which server {lesson} needs is for you to find out, in the lesson")
        if self._server().lesson == lesson:
            raise Refused(f"the policy server of {lesson} runs already")
        stopped = self._stop_if_any()
        server = OwnServer(**SERVERS[lesson], port=self.port)
        server.folder = my_lessons.ROOT  # where a terminal would start it
        try:
            server.start()
        except RuntimeError as error:
            said = server.lines[-1] if server.lines else f"{error}"
            raise Refused(said.partition("error: ")[2] or said) from None
        self._own = server
        before = "The other one has saved and stopped. " if stopped else ""
        return f"{before}The policy server of {lesson} runs at {server.address}."

    def _stop(self) -> str:
        if not self._stop_if_any():
            raise Refused("no policy server runs")
        return "The policy server has saved and stopped."

    def _stop_if_any(self) -> bool:
        """Whether there was one to stop; raises Refused for what is not ours."""
        own, self._own = self._own, None
        if own is not None and own.process.poll() is None:
            own.stop(SECONDS_TO_SAVE)
            return True
        holder = holder_of(self.port)
        if holder is None:
            return False
        if not holder.may_be_stopped:
            raise Refused(
                f"port {self.port} is held by {holder.name}, which is no policy server of yours"
            )
        holder.stop(SECONDS_TO_SAVE)
        return True

    def _fresh_policy(self, lesson: str) -> str:
        if lesson not in SERVERS:
            raise Refused(f"the policies of {lesson} have names of your own; python -m "
                          "serving.my_lessons fresh-policy NAME begins one anew")  # fmt: skip
        runs = self._server().lesson == lesson
        if runs:
            self._stop_if_any()
        try:
            said = my_lessons.fresh_policy(SERVERS[lesson]["checkpoint_file"])
        except checkpoints.CheckpointError as error:
            raise Refused(f"{error}") from None
        return f"{said}. {self._start(lesson)}" if runs else f"{said}."


def lesson_of(status: Status) -> str | None:
    """The lesson that a policy server was started for."""
    for lesson, wanted in SERVERS.items():
        if not differences(status, **wanted):
            return lesson
    return None


@functools.lru_cache(maxsize=32)  # the page asks every second or two
def _title(notebook: Path, changed: int) -> str | None:
    """A notebook's first heading, such as "1 · Serve and learn"."""
    try:
        first = "".join(json.loads(notebook.read_text())["cells"][0]["source"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return first.splitlines()[0].removeprefix("# ") if first.startswith("# ") else None
