"""A tape of an examination: all that the examiner was told, so that it can be held once more.

What an examination comes to follows from its code, its seed, and what it hears: the notebook's messages,
its own policy servers' answers, and its clock. A `Recorder` keeps these while it is held; a `Player` holds
it again from them, without a notebook, a policy server or a second of waiting. The environments are
played anew: what the notebook has said it did in them leads to the same observations, or the two
part, and the `Player` says where.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from unittest import mock

import msgspec
import numpy as np
from gymnasium.utils import seeding

from serving.connection import Connection
from serving.evaluation import TookTooLong
from serving.examiner import pong as asks
from serving.examiner.examination import Examination, Verdict
from serving.examiner.line import Gone, Line
from serving.examiner.stand_ins import Notebook
from serving.exercises.findings import Findings
from serving.policy import Layer, PolicySnapshot
from serving.protocol import ServerUnreachable
from serving.running_server import RunningServer

RAISED = {
    "Gone": Gone, "TookTooLong": TookTooLong, "TimeoutError": TimeoutError,
    "ServerUnreachable": ServerUnreachable,
}  # fmt: skip


MOST_BYTES = 200 * 2**20


class Parted(BaseException):
    """What is on the tape is not what the examination asks for. No mistake of an answer's."""


class Tape:
    """Base of both: what an examination hears comes by `heard`, and what it says to the notebook goes
    into a digest.

    events
        [kind, value], or [kind, None, name, sentence] of what was raised instead
    """

    def __init__(self, seed: int, events: list[list] | None = None):
        self.events: list[list] = [] if events is None else events
        self._seeds = np.random.SeedSequence(seed).generate_state(4096).tolist()
        self._said = hashlib.sha256()
        self._runs = False  # whether a question is being asked, by this tape's thread

    def heard(self, kind: str, hear: Callable[[], object]):
        """What `hear()` says, or has said."""
        raise NotImplementedError

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While the block runs, whatever an examination hears in this process comes by this tape."""
        clock, timer, new_rng = time.monotonic, signal.getitimer, seeding.np_random
        request, start = Connection.request, RunningServer.start
        post, next_body, try_command = Line.post, Line.next_body, asks.try_command
        mine = threading.current_thread()

        def here() -> bool:
            return self._runs and threading.current_thread() is mine

        def monotonic():
            return self.heard("clock", clock) if here() else clock()

        def getitimer(which):
            return tuple(self.heard("timer", lambda: timer(which))) if here() else timer(which)

        def rng(seed=None):
            return new_rng(self._seeds.pop(0) if seed is None and here() else seed)

        def requested(line, *what, **more):
            if not here():
                return request(line, *what, **more)
            return _opened(self.heard("answer", lambda: _packed(*request(line, *what, **more))))

        def started(server):
            if not here():
                return start(server)
            server.address = self.heard("server", lambda: start(server).address)
            return server

        def posted(line, body):
            if not here():
                return post(line, body)
            self._said.update(body)
            return self.heard("sent", lambda: post(line, body))

        def body(line):
            return self.heard("message", lambda: next_body(line)) if here() else next_body(line)

        def tried(command):
            if not here():
                return try_command(command)
            return Findings(self.heard("command", lambda: try_command(command).by_topic))

        with contextlib.ExitStack() as stack:
            for of, name, by in (
                (time, "monotonic", monotonic), (time, "sleep", self._sleeper(here)),
                (signal, "getitimer", getitimer), (seeding, "np_random", rng),
                (Connection, "request", requested), (RunningServer, "start", started),
                (Line, "post", posted), (Line, "next_body", body),
                (asks, "try_command", tried),
            ):  # fmt: skip
                stack.enter_context(mock.patch.object(of, name, by))
            yield

    def _sleeper(self, here: Callable[[], bool]) -> Callable[[float], None]:
        raise NotImplementedError

    def asked(self, examination: Examination, question: str) -> Verdict:
        """The verdict on the question, asked by this tape."""
        self._runs = True
        try:
            return examination.ask(question)
        finally:
            self._runs = False


class Recorder(Tape):
    """Keeps what is heard, up to MOST_BYTES."""

    def __init__(self, seed: int):
        super().__init__(seed)
        self._bytes = 0

    def heard(self, kind: str, hear: Callable[[], object]):
        self._runs = False  # what is heard on the way is a part of it
        try:
            value = hear()
        except (Gone, TimeoutError, ServerUnreachable) as error:
            name = next(name for name, of in RAISED.items() if isinstance(error, of))
            self.events.append([kind, None, name, str(error)])
            raise
        finally:
            self._runs = True
        if kind != "sent":  # only that it could not be
            self.events.append([kind, value])
            self._bytes += _length(value)
        if self._bytes > MOST_BYTES:  # somebody floods it
            self.events.clear()
        return value

    @property
    def is_whole(self) -> bool:
        return self._bytes <= MOST_BYTES

    def connected(self) -> None:
        """The notebook has connected, for the first time or anew."""
        self.events.append(["connected", None])

    def asked(self, examination: Examination, question: str) -> Verdict:
        self.events.append(["question", question])
        verdict = super().asked(examination, question)
        self.events.append(["said", self._said.hexdigest()])
        return verdict

    def _sleeper(self, here: Callable[[], bool]) -> Callable[[float], None]:
        sleep = time.sleep

        def until_the_alarm(seconds: float) -> None:
            try:
                sleep(seconds)
            except TimeoutError as late:
                if here():
                    self.events.append(["slept", None, type(late).__name__, str(late)])
                raise

        return until_the_alarm


class Player(Tape):
    """Tells what was kept. Raises Parted where that is not what the examination listens for."""

    def __init__(self, seed: int, events: list[list]):
        super().__init__(seed, events)
        self._at = 0

    def heard(self, kind: str, hear: Callable[[], object]):
        if kind == "sent" and not self._next_is("sent"):
            return None
        return self._take(kind)

    def verdicts(self, examination_of: Callable[[Notebook, int], Examination], seed: int):
        """Holds the examination again: yields each verdict, and what is wrong with it, if anything is.
        Ends at the first question that cannot be asked again."""
        notebook = Notebook()
        examination = examination_of(notebook, seed)
        sockets = []
        with self.running(), self._no_alarm(), self._no_processes():
            try:
                while self._at < len(self.events):
                    if self._next_is("connected"):
                        self._take("connected")
                        sockets += socket.socketpair()
                        notebook.connected(sockets[-1])
                        continue
                    question = self._take("question")
                    verdict = self.asked(examination, question)
                    same = self._take("said") == self._said.hexdigest()
                    said = (
                        "what the examiner said to the notebook does not follow from what it heard"
                    )
                    yield verdict, None if same else said
            except Parted as parted:
                yield None, str(parted)
            finally:
                examination.close()
                for end in sockets:
                    end.close()

    def _next_is(self, kind: str) -> bool:
        return self._at < len(self.events) and self.events[self._at][0] == kind

    def _take(self, kind: str):
        if not self._next_is(kind):
            there = self.events[self._at][0] if self._at < len(self.events) else "the end"
            raise Parted(f"at event {self._at} there is {there!r} where {kind!r} should follow")
        _, value, *raised = self.events[self._at]
        self._at += 1
        if raised:
            raise RAISED[raised[0]](raised[1])
        return value

    def _sleeper(self, here: Callable[[], bool]) -> Callable[[float], None]:
        sleep = time.sleep

        def no_time_passes(seconds: float) -> None:
            if not here():
                sleep(seconds)
            elif self._next_is("slept"):
                self._take("slept")

        return no_time_passes

    def _no_alarm(self):
        """The alarms that rang are on the tape."""
        return mock.patch.object(signal, "setitimer", lambda *of: (0.0, 0.0))

    @contextlib.contextmanager
    def _no_processes(self) -> Iterator[None]:
        prepare = _without_a_process(RunningServer.__init__)
        with (
            mock.patch.object(RunningServer, "__init__", prepare),
            mock.patch.object(RunningServer, "stop", _stop),
        ):
            yield


def _length(value: object) -> int:
    parts = value if isinstance(value, list) else [value]
    return sum(len(part) for part in parts if isinstance(part, bytes))


def _packed(status: int, body: bytes) -> list:
    """An answer, and of a policy no decimals, but the four bytes of each weight."""
    if not body.startswith(b'{"version"'):
        return [status, body]
    snapshot = msgspec.json.decode(body, type=PolicySnapshot)
    layers = [(np.float32(layer.weights), np.float32(layer.bias)) for layer in snapshot.layers]
    shapes = [weights.shape for weights, _ in layers]
    content = b"".join(array.tobytes() for layer in layers for array in layer)
    snapshot.layers = []
    return [status, msgspec.json.encode(snapshot), shapes, content]


def _opened(packed: list) -> tuple[int, bytes]:
    """The answer as it came."""
    status, body, *policy = packed
    if policy:
        snapshot = msgspec.json.decode(body, type=PolicySnapshot)
        shapes, content = policy
        numbers, at = np.frombuffer(content, np.float32), 0
        for rows, columns in shapes:
            weights, at = (
                numbers[at : at + rows * columns].reshape(rows, columns),
                at + rows * columns,
            )
            snapshot.layers.append(Layer(weights.tolist(), numbers[at : at + columns].tolist()))
            at += columns
        body = msgspec.json.encode(snapshot)
    return status, body


class _Runs:
    """Stands for a policy server's process: it runs until it is stopped."""

    ended = False

    def poll(self) -> int | None:
        return 0 if self.ended else None

    def terminate(self) -> None:
        self.ended = True


def _stop(server: RunningServer, seconds: float = 0.0) -> int:
    server.process.terminate()
    return 0


def _without_a_process(prepare: Callable[..., None]) -> Callable[..., None]:
    """A server as it is prepared, with the command that would start it."""

    @functools.wraps(prepare)
    def prepared(server: RunningServer, *sizes, **options) -> None:
        prepare(server, *sizes, **options)
        server.process = _Runs()

    return prepared
