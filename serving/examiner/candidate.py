"""The notebook's end of an examination. Graded cells say

    from serving.examiner.candidate import exam

    exam.require("test_calls")

and that does no more than serve the examiner's asks: call this function, reset that environment. Who
asks, with what, and what the answer is worth, is decided in the examiner's process: nothing here
knows a right answer, and whatever here is changed can only make answers that do not fit.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import signal
import socket
import sys

import gymnasium as gym

from serving import running_server
from serving.client import PolicyClient
from serving.connection import Connection
from serving.examiner.line import Gone, Line
from serving.protocol import ServerUnreachable
from serving.running_server import RunningServer

SOCKET = "EXAMINER"  # the environment variable that holds the path of the examiner's socket
MISSING = object()
MARGIN = 0.5  # seconds that a function is stopped before the examiner's patience ends


class Candidate:
    """Serves the examiner with the functions of one notebook."""

    def __init__(self, namespace: dict):
        self.namespace = namespace
        self._line: Line | None = None
        self._talking = self._late = False
        self._served_by: int | None = None  # the examiner's client that all of ours stand for
        self._by_address: dict[str, int] = {}  # the examiner's clients
        self._own: object = MISSING  # the notebook's client meanwhile

    def require(self, question: str) -> None:
        """Lets the examiner ask; raises AssertionError with its sentence if that is not enough."""
        for attempt in (1, 2):
            try:
                line = self._line or self._connected()
                line.send("ask", 0, "ready", question)
                sentence = self._serve_until_the_verdict()
                break
            except Gone:  # what the notebook has done to the line is its own affair
                self._line = None
                if attempt == 2:
                    raise
        assert sentence is None, sentence

    # -- the examiner's asks -----------------------------------------------------------------

    def _connected(self) -> Line:
        path = os.environ.get(SOCKET)
        if not path:
            raise RuntimeError(
                "there is no examiner here: graded cells are asked by `nbgrader autograde`; to try "
                "an answer, run the check below its exercise"
            )
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        self._line = Line(connection, "notebook", self._serve, self._offer, self._stand_in)
        _play_against(self)
        return self._line

    def _serve_until_the_verdict(self) -> str | None:
        while True:
            kind, number, *rest = self._line.receive()
            if kind == "ask":
                self._line.serve(number, *rest)
            elif number == 0:
                return rest[0]

    def _serve(self, what: str, *arguments):
        return getattr(self, f"_ask_{what}")(*arguments)

    def _ask_get(self, name: str):
        """(whether there is one, the notebook's variable)"""
        return (name in self.namespace, self.namespace.get(name))

    def _ask_lend(self, client: PolicyClient) -> None:
        """From now on it is the examiner's server that the notebook plays against."""
        self._own = self.namespace.get("client", MISSING)
        self.namespace["client"] = client
        self._served_by = client.number_on_the_line

    def _ask_take_back(self) -> None:
        self._served_by = None
        if self._own is MISSING:
            self.namespace.pop("client", None)
        else:
            self.namespace["client"] = self._own

    def _ask_servers(self, are_the_examiners: bool) -> None:
        """From now on whoever starts a policy server is given one of the examiner's, or no more."""
        candidate = self

        class Server(StandInServer):
            def start(self):
                self._process, self._client = candidate.start(self)
                return self

            def stop(self, seconds: float = 100.0) -> int:
                candidate.ask("stop", self._process.number_on_the_line)
                return 0

        before = running_server.RunningServer
        after = Server if are_the_examiners else RunningServer
        running_server.RunningServer = after
        for name in [name for name, value in self.namespace.items() if value is before]:
            self.namespace[name] = after

    def _ask_call(self, function: int, arguments: tuple, named: dict, seconds: float):
        return self._student(lambda: self._line.object(function)(*arguments, **named), seconds)

    def _ask_new(self, env_class: int, seconds: float):
        return self._student(self._line.object(env_class), seconds)

    def _ask_env(self, env: int, method: str, arguments: tuple, named: dict, seconds: float):
        if method not in ("reset", "step"):
            raise LookupError(method)
        return self._student(
            lambda: getattr(self._line.object(env), method)(*arguments, **named), seconds
        )

    def _ask_check_env(self, env: int, seconds: float) -> str | None:
        """What gymnasium's own check says of it."""
        from serving.exercises.own_environment import checked_by_gymnasium

        return self._student(lambda: checked_by_gymnasium(self._line.object(env)), seconds)

    def _ask_seed(self, seed: int) -> None:
        """Learning begins with this luck."""
        import random

        import numpy
        import torch

        for begin in (random.seed, numpy.random.seed, torch.manual_seed):
            begin(seed)

    def _ask_alone(self, enter: bool) -> None:
        """From now on, or no more, RLlib does without a cluster: there is only one process."""
        from serving.learner.algorithm import without_cluster

        if enter:
            self._alone = without_cluster()
            self._alone.__enter__()
        else:
            self._alone.__exit__(None, None, None)

    def _student(self, call, seconds: float):
        """Runs the student's code, out of sight, for so many seconds at most (0: no limit)."""
        talking, self._talking = self._talking, False
        hidden = io.StringIO()
        try:
            with (
                contextlib.redirect_stdout(hidden),
                contextlib.redirect_stderr(hidden),
                self._time_limit(seconds),
            ):
                return call()
        finally:
            self._talking = talking

    @contextlib.contextmanager
    def _time_limit(self, seconds: float):
        if not seconds:
            yield
            return
        self._late = False
        before = signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, max(0.05, seconds - MARGIN))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _ring(self, signum, frame) -> None:
        if self._talking:  # a message that is cut in two would be the end of the line
            self._late = True
        else:
            raise TimeoutError("the time is up")

    # -- what the notebook asks meanwhile ----------------------------------------------------

    def ask(self, what: str, *arguments):
        """Asks the examiner: for a step of its environment, for an answer of its policy server."""
        self._talking, talking = True, self._talking
        try:
            return self._line.ask(what, *arguments)
        finally:
            self._talking = talking
            if self._late and not talking:
                self._late = False
                raise TimeoutError("the time is up")

    def start(self, server: StandInServer) -> tuple:
        return self.ask("start", server.observation_size, server.action_size, server.options)

    def request(self, address: str, *request) -> tuple[int, bytes]:
        """An exchange with the policy server the examiner has given to the notebook, if it has."""
        number = self._by_address.get(address, self._served_by)
        if number is None or self._line is None:
            raise ServerUnreachable(f"no policy server answers at {address} while grading")
        return self.ask("http", number, *request)

    def _offer(self, value) -> tuple[str, object] | None:
        if isinstance(value, type) and issubclass(value, gym.Env):
            return "class", value.__name__
        if isinstance(value, gym.Env):
            names = ("observation_space", "action_space")
            return "env", {name: getattr(value, name, None) for name in names}
        if callable(value):
            return "function", [getattr(value, "__name__", "function"), _defaults(value)]
        return None

    def _stand_in(self, kind: str, number: int, description):
        if kind == "class":
            return _stand_in_class(self, number, description)
        if kind == "env":
            return StandInEnv(self, number, description)
        if kind == "server":
            return Number(number)
        if kind == "client":
            client = PolicyClient(description, quiet=True)
            client.number_on_the_line = self._by_address[client.address] = number
            return client

        def function(*arguments, **named):
            return self.ask("call", number, arguments, named)

        function.number_on_the_line = number
        return function


class StandInEnv(gym.Env):
    """Stands for an environment of the examiner's: what is done to it is done there."""

    def __init__(self, candidate: Candidate, number: int, description: dict):
        self._candidate, self.number_on_the_line = candidate, number
        self.observation_space = description["observation_space"]
        self.action_space = description["action_space"]

    def reset(self, *, seed=None, options=None):
        named = {} if seed is None and options is None else {"seed": seed, "options": options}
        return self._candidate.ask("env", self.number_on_the_line, "reset", (), named)

    def step(self, action):
        return self._candidate.ask("env", self.number_on_the_line, "step", (action,), {})

    def close(self) -> None:
        pass


class StandInServer:
    """Stands for `serving.running_server.RunningServer` where the examiner starts the servers."""

    def __init__(self, observation_size: int, action_size: int, **options):
        self.observation_size, self.action_size = observation_size, action_size
        self.options = options

    def client(self, **options) -> PolicyClient:
        return self._client

    @property
    def address(self) -> str:
        return self._client.address

    def wait_until(self, condition, seconds: float, what: str):
        return running_server.wait_until(self._client, condition, seconds, what)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception) -> None:
        self.stop()


class Number:
    """Stands for something of the examiner's that only the examiner can do anything with."""

    def __init__(self, number: int):
        self.number_on_the_line = number


def _stand_in_class(candidate: Candidate, number: int, name: str) -> type:
    """Stands for a class of environments of the examiner's."""

    class StandIn(StandInEnv):
        def __init__(self, config=None):
            made = candidate.ask("new", type(self).number_on_the_line)
            spaces = {
                "observation_space": made.observation_space,
                "action_space": made.action_space,
            }
            super().__init__(candidate, made.number_on_the_line, spaces)

    # RLlib copies what it is given by pickling it: a class that a module has goes by its name.
    StandIn.__name__ = StandIn.__qualname__ = f"{name}{number}"
    StandIn.__module__ = __name__
    globals()[StandIn.__name__] = StandIn
    StandIn.number_on_the_line = number
    return StandIn


def _play_against(candidate: Candidate) -> None:
    """From now on every client in this kernel, whatever its name, talks to the examiner's server."""

    def request(line: Connection, method: str, path: str, body: bytes | None, may_repeat: bool):
        return candidate.request(line.address, method, path, body, may_repeat)

    Connection.request = request


def _defaults(function) -> dict:
    """Names of a function's parameters, with their defaults where these are plain."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}
    plain = (bool, int, float, str)
    return {p.name: p.default if isinstance(p.default, plain) else None for p in parameters}


def _notebook() -> dict:
    """The namespace of the notebook whose kernel this is."""
    return sys.modules["__main__"].__dict__


exam = Candidate(_notebook())
