"""The examiner's end of the line: what stands here for functions, environments and variables of a
notebook in another process. `Exam` and its kin use them as they would use the notebook's own."""

from __future__ import annotations

import contextlib
import inspect
import re
import signal
import socket
import time
from collections.abc import Iterator

import gymnasium as gym

from serving import running_server
from serving.client import PolicyClient
from serving.examiner.line import Gone, Line
from serving.running_server import RunningServer

SECONDS_FOR_A_CALL = 60.0  # where nobody has set a time limit
SECONDS_THAT_MEAN_HANGING = 10.0  # a shorter limit is the rest of a longer one
ALLOWED = {
    "POST": ("/start_episode", "/get_action", "/log_action", "/log_steps", "/log_returns",
             "/end_episode"),
    "GET": ("/status", "/policy", "/episodes"),
}  # fmt: skip
MOST_SERVERS = 5  # that one question may start
NOT_YOURS = ("folder", "host", "port", "token", "checkpoint_file", "start_timeout")


class Notebook:
    """A notebook in another process; its variables, as far as an examination needs them.

    Raises Gone, whatever is asked, once the notebook does not answer any more.
    """

    def __init__(self):
        self.line: Line | None = None
        self._may_start = 0
        self._hung: dict[int, str] = {}  # by function: how long it was waited for in vain

    def connected(self, connection: socket.socket) -> None:
        self.line = Line(connection, "examiner", self._serve, self._offer, self._stand_in)

    def get(self, name: str, default=None):
        there, value = self.ask("get", name)
        return value if there else default

    def __getitem__(self, name: str):
        there, value = self.ask("get", name)
        if not there:
            raise KeyError(name)
        return value

    def lend(self, client: PolicyClient) -> None:
        """From now on the notebook plays against this client's server."""
        self.ask("lend", client)

    def take_back(self) -> None:
        self.ask("take_back")

    @contextlib.contextmanager
    def starting_servers(self) -> Iterator[None]:
        """While the block runs, policy servers that the notebook starts are the examiner's."""
        self.ask("servers", True)
        self._may_start = MOST_SERVERS
        try:
            yield
        finally:
            self._may_start = 0
            self.ask("servers", False)

    @contextlib.contextmanager
    def learning_alone(self, seed: int | None) -> Iterator[None]:
        """While the block runs, RLlib learns in the notebook's process, without a cluster of Ray's."""
        self.ask("alone", True)
        try:
            if seed is not None:
                self.ask("seed", seed)
            yield
        finally:
            self.ask("alone", False)

    def ask(self, what: str, *arguments):
        if self.line is None:
            raise Gone("it has hung up")
        return self.line.ask(what, *arguments)

    def ask_in_time(self, what: str, number: int, *arguments):
        """The same of the student's code, which is stopped there when the time limit that runs here
        ends; the examiner's own then says what took too long. A function that has hung once is not
        waited for again: the next question about it is answered by the same sentence."""
        if what == "call" and number in self._hung:
            raise TimeoutError(self._hung[number])
        running = (
            self.line is not None and self.line.serving
        )  # within a call that is limited already
        left = signal.getitimer(signal.ITIMER_REAL)[0]
        seconds = 0.0 if running else left or SECONDS_FOR_A_CALL
        ends = time.monotonic() + seconds
        try:
            return self._until_the_alarm(left, ends, what, number, *arguments, seconds)
        except TimeoutError as late:
            if not running and left > SECONDS_THAT_MEAN_HANGING and time.monotonic() > ends - 2:
                self._hung[number] = str(late)
            raise

    def _until_the_alarm(self, left: float, ends: float, *ask):
        """An answer that came too late is as good as none: then the alarm is waited for."""
        try:
            return self.ask(*ask)
        except Exception as error:
            if left and type(error).__name__ == "TimeoutError" and time.monotonic() > ends - 2:
                time.sleep(5.0)
            raise

    # -- what stands for the notebook's objects here ------------------------------------------

    def _stand_in(self, kind: str, number: int, description):
        if kind == "function":
            return Function(self, number, *description)
        if kind == "class":
            name = description if str(description).isidentifier() else "Environment"
            return type(name, (StudentsEnv,), {"notebook": self, "class_on_the_line": number})
        if kind == "env":
            env = StudentsEnv.__new__(StudentsEnv)
            env.stands_for(self, number, description)
            return env
        raise ValueError(f"no such kind: {kind}")

    # -- what the notebook asks while it is asked ----------------------------------------------

    def _offer(self, value) -> tuple[str, object] | None:
        if isinstance(value, PolicyClient):
            return "client", value.address
        if isinstance(value, gym.Env):
            names = ("observation_space", "action_space")
            return "env", {name: getattr(value, name) for name in names}
        if isinstance(value, type) and issubclass(value, gym.Env):
            return "class", value.__name__
        if isinstance(value, RunningServer):
            return "server", value.address
        if callable(value):
            return "function", []
        return None

    def _serve(self, what: str, *arguments):
        return getattr(self, f"_ask_{what}")(*arguments)

    def _ask_env(self, number: int, method: str, arguments: tuple, named: dict):
        env = self._own(number, gym.Env)
        if method not in ("reset", "step"):
            raise LookupError(f"an environment of the examiner's has no {method}() to offer")
        return getattr(env, method)(*arguments, **named)

    def _ask_new(self, number: int):
        return self._own(number, type)()

    def _ask_http(
        self, number: int, method: str, path: str, body: bytes | None, may_repeat: bool
    ) -> tuple[int, bytes]:
        client = self._own(number, PolicyClient)
        plain = str(path).split("?")[0]
        of = "/episodes" if plain.startswith("/episodes/") else plain
        if of not in ALLOWED.get(method, ()):
            raise LookupError(f"{method} {path} is nothing that a policy server answers")
        return client._line.request(method, path, body, bool(may_repeat))

    def _ask_start(self, observation_size: int, action_size: int, options: dict):
        """Starts the policy server that the notebook wants: (what stands for it, its client)."""
        if self._may_start <= 0:
            raise PermissionError("no policy server is started here")
        for name, value in options.items():
            if name in NOT_YOURS or not re.fullmatch(r"[\w.+-]{1,40}", str(value)):
                raise ValueError(f"a server with {name}={value!r} is not started while grading")
        self._may_start -= 1
        server = running_server.RunningServer(int(observation_size), int(action_size), **options)
        server.start()
        return server, server.client()

    def _ask_stop(self, number: int) -> None:
        self._own(number, RunningServer).stop()

    def _ask_call(self, number: int, arguments: tuple, named: dict):
        function = self._own(number, object)
        if isinstance(function, (type, gym.Env, PolicyClient)) or not callable(function):
            raise LookupError(f"object {number} is no function")
        return function(*arguments, **named)

    def _own(self, number: int, kind: type):
        value = self.line.object(number)
        if not isinstance(value, kind):
            raise LookupError(f"object {number} is no {kind.__name__}")
        return value


class Function:
    """A function of the notebook: called there, with what comes back as plain data."""

    def __init__(
        self, notebook: Notebook, number: int, name: str = "", defaults: dict | None = None
    ):
        self._notebook, self.number_on_the_line = notebook, number
        self.__name__ = str(name)
        with contextlib.suppress(ValueError, TypeError):
            self.__signature__ = inspect.Signature(
                [
                    inspect.Parameter(parameter, inspect.Parameter.KEYWORD_ONLY, default=default)
                    for parameter, default in dict(defaults or {}).items()
                ]
            )

    def __call__(self, *arguments, **named):
        return self._notebook.ask_in_time("call", self.number_on_the_line, arguments, named)


class StudentsEnv(gym.Env):
    """An environment of the notebook, or a new one of the notebook's class of environments."""

    notebook: Notebook
    class_on_the_line: int | None = None

    def __init__(self):
        made = self.notebook.ask_in_time("new", self.class_on_the_line)
        if not isinstance(made, StudentsEnv):
            raise TypeError(f"{type(self).__name__}() made {made!r}, which is no environment")
        self.stands_for(self.notebook, made.number_on_the_line, made.description)

    def stands_for(self, notebook: Notebook, number: int, description: dict) -> None:
        self.notebook, self.number_on_the_line = notebook, number
        self.description = description
        self.observation_space = description.get("observation_space")
        self.action_space = description.get("action_space")

    def reset(self, *, seed=None, options=None):
        named = {} if seed is None and options is None else {"seed": seed, "options": options}
        return self.notebook.ask_in_time("env", self.number_on_the_line, "reset", (), named)

    def step(self, action):
        return self.notebook.ask_in_time("env", self.number_on_the_line, "step", (action,), {})

    def close(self) -> None:
        pass

    def checked_by_gymnasium(self) -> str | None:
        """What check_env says there. It is the notebook's own word: all that a verdict rests on is
        looked at from here as well."""
        return self.notebook.ask_in_time("check_env", self.number_on_the_line)
