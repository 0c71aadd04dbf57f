"""The line between examiner and notebook: either end asks the other, and waits for the answer.

A message is four bytes of length and a msgpack array:

| message                                 | meaning                                             |
|-----------------------------------------|-----------------------------------------------------|
| ["ask", id, what, argument, ...]        | do this, and answer                                 |
| ["answer", id, value]                   | what came of it                                     |
| ["error", id, name, sentence]           | what was raised instead                             |

While an end waits for an answer it serves what the other asks meanwhile: the examiner asks for an
episode, and the student's function asks for its steps. Only plain data travels: numbers, texts,
lists, tuples, dicts, arrays, spaces. Whatever has a behaviour (a function, an environment, a class of
environments) stays where it is, and a number that stands for it travels. Nothing is ever pickled, and
nothing that arrives is run.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

import gymnasium as gym
import msgspec
import numpy as np

from serving.own_line import own_line

LARGEST = {"examiner": 64 * 2**20, "notebook": 256 * 2**20}  # bytes that this end takes at once
DEEPEST = 20  # lists in lists
LONGEST_REPR = 300

TUPLE, ARRAY, SCALAR, MINE, YOURS, OPAQUE, SPACE, BIG = range(1, 9)
PLAIN = (type(None), bool, float, str, bytes)


class Gone(BaseException):
    """The other end is not there any more, or talks nonsense. No mistake of an answer's: whoever
    catches what an answer raises does not catch this."""


class Opaque:
    """Stands for an object that cannot travel; shows what the object showed."""

    def __init__(self, shown: str):
        self._shown = shown

    def __repr__(self) -> str:
        return self._shown


class Line:
    """One end of the line.

    serve
        `serve(what, *arguments)` does what the other end asks
    offer
        `offer(object)` returns (kind, description) of an object that stays here, or None
    stand_in
        `stand_in(kind, number, description)` makes what stands for an object of the other end;
        it has the attribute `number_on_the_line`
    """

    def __init__(
        self,
        connection: socket.socket,
        end: str,
        serve: Callable,
        offer: Callable,
        stand_in: Callable,
    ):
        self._connection, self._end, self._largest = connection, end, LARGEST[end]
        self._serve, self._offer, self._stand_in = serve, offer, stand_in
        self._received = bytearray()
        self._asked = 0
        self._lock = threading.RLock()  # a student's threads may all ask
        self._objects: list = []
        self._numbers: dict[int, int] = {}  # by id() of what is in _objects
        self._stand_ins: dict[int, object] = {}
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(ext_hook=self._unpacked).decode
        self.serving = 0  # asks that are being served, one within the other

    # -- asking and answering ----------------------------------------------------------------

    def ask(self, what: str, *arguments):
        """What the other end answers; raises what it raised."""
        with self._lock:
            self._asked += 1
            number = self._asked
            self.send("ask", number, what, *arguments)
            try:
                return self._answer_to(number)
            except TimeoutError as late:  # rung by serving.evaluation.time_limit
                self.get_back_in_step(number)
                raise late

    def _answer_to(self, number: int):
        while True:
            kind, of, *rest = self.receive()
            if kind == "ask":
                self.serve(of, *rest)
            elif of == number:
                if kind == "answer":
                    return rest[0]
                raise as_raised(*rest)

    def serve(self, number: int, what: str, *arguments) -> None:
        """Does what was asked, and sends the answer."""
        self.serving += 1
        try:
            answer = self._serve(what, *arguments)
        except Gone:
            raise
        except TimeoutError as late:
            self.send("error", number, "TimeoutError", str(late))
            if self._end == "examiner" or self.serving > 1:
                raise  # what has asked for this is over as well
            return
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001
            line = own_line(error) if self._end != "examiner" else ""
            sentence = f"{said_by(error)}, in {line}" if line else said_by(error)
            self.send("error", number, type(error).__name__, sentence)
            return
        finally:
            self.serving -= 1
        self.send("answer", number, answer)

    def get_back_in_step(self, number: int, seconds: float = 3.0) -> None:
        """The answer came too late: waits for it a little longer, and for nothing else. Raises Gone
        if even that is not to be had."""
        self._connection.settimeout(seconds)
        try:
            for _ in range(1000):
                kind, of, *_ = self.receive()
                if kind == "ask":
                    self.send("error", of, "TimeoutError", "the time is up")
                elif of == number:
                    return
            raise Gone("it went on when its time was up")
        finally:
            with contextlib.suppress(OSError):
                self._connection.settimeout(None)

    def close(self) -> None:
        self._connection.close()

    def fileno(self) -> int:
        return self._connection.fileno()

    # -- messages ----------------------------------------------------------------------------

    def send(self, *message) -> None:
        self.post(self._encode([self._packed(part) for part in message]))

    def post(self, body: bytes) -> None:
        try:
            self._connection.sendall(len(body).to_bytes(4, "big") + body)
        except TimeoutError:
            raise Gone("it does not listen") from None
        except OSError as error:
            raise Gone(f"it has hung up ({type(error).__name__})") from None

    def receive(self) -> list:
        """The next message; raises Gone if there is none any more, or if it is none."""
        body = self.next_body()
        try:
            message = self._decode(body)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
            raise Gone(f"it sent what is no message ({type(error).__name__})") from None
        sizes = {"ask": 3, "answer": 3, "error": 4}
        if not isinstance(message, list) or len(message) < 3 or message[0] not in sizes:
            raise Gone("it sent what is no message")
        if len(message) < sizes[message[0]] or not isinstance(message[1], int):
            raise Gone("it sent what is no message")
        return message

    def next_body(self) -> bytes:
        self._fill(4)
        length = int.from_bytes(self._received[:4], "big")
        if length > self._largest:
            raise Gone(f"it sent a message of {length:,} bytes")
        self._fill(4 + length)
        body = bytes(self._received[4 : 4 + length])
        del self._received[: 4 + length]
        return body

    def _fill(self, length: int) -> None:
        while len(self._received) < length:
            try:
                more = self._connection.recv(max(65536, length - len(self._received)))
            except TimeoutError as late:
                if self._connection.gettimeout() is None:  # not the socket's, but an alarm's
                    raise
                raise Gone("it does not answer any more") from late
            except OSError as error:
                raise Gone(f"it has hung up ({type(error).__name__})") from None
            if not more:
                raise Gone("it has hung up")
            self._received += more

    # -- plain data --------------------------------------------------------------------------

    def object(self, number: int):
        """The object here that `number` stands for; raises LookupError."""
        if not 0 <= number < len(self._objects):
            raise LookupError(f"there is no object {number} on the line")
        return self._objects[number]

    def number_of(self, value) -> int:
        """The number that stands for an object of this end."""
        number = self._numbers.setdefault(id(value), len(self._objects))
        if number == len(self._objects):
            self._objects.append(value)  # kept: its id() must not be given to another object
        return number

    def _packed(self, value, depth: int = 0):
        kind = type(value)
        if kind in PLAIN:
            return value
        if kind is int:
            return value if -(2**63) <= value < 2**63 else _ext(BIG, str(value)[:5000])
        if depth > DEEPEST:
            return _ext(OPAQUE, "...")
        if kind is np.ndarray and value.dtype.kind in "biuf":
            return _ext(ARRAY, [value.dtype.str, list(value.shape), value.tobytes()])
        if isinstance(value, np.generic) and value.dtype.kind in "biuf":
            return _ext(SCALAR, [value.dtype.str, value.tobytes()])
        if kind is list:
            return [self._packed(item, depth + 1) for item in value]
        if kind is tuple:
            items = [self._packed(item, depth + 1) for item in value]
            return msgspec.msgpack.Ext(TUPLE, self._encode(items))
        if kind is dict and all(type(key) in (str, int, float, bool) for key in value):
            return {key: self._packed(item, depth + 1) for key, item in value.items()}
        return self._packed_object(value, depth)

    def _packed_object(self, value, depth: int):
        if isinstance(number := getattr(value, "number_on_the_line", None), int):
            if self._stand_ins.get(number) is value:
                return _ext(YOURS, number)
        if isinstance(value, gym.spaces.Box) and value.dtype.kind in "biuf":
            bounds = [self._packed(bound) for bound in (value.low, value.high)]
            return _ext(SPACE, ["box", *bounds, value.dtype.str])
        if type(value) is gym.spaces.Discrete:
            return _ext(SPACE, ["discrete", int(value.n), int(value.start)])
        if offered := self._offer(value):
            kind, description = offered
            description = self._packed(description, depth + 1)
            return _ext(MINE, [kind, self.number_of(value), description])
        for plain in (str, int, float, list, tuple, dict):  # a subclass is as good as its base
            if isinstance(value, plain):
                with contextlib.suppress(Exception):
                    return self._packed(plain(value), depth + 1)
        return _ext(OPAQUE, shown(value))

    def _unpacked(self, code: int, data: memoryview):
        if code == MINE:
            kind, number, description = self._decode(data)
            if number not in self._stand_ins:
                self._stand_ins[number] = self._stand_in(kind, number, description)
            return self._stand_ins[number]
        value = self._decode(data)
        if code == TUPLE:
            return tuple(value)
        if code == ARRAY:
            dtype, shape, content = value
            return np.frombuffer(content, _number_type(dtype)).reshape(shape).copy()
        if code == SCALAR:
            dtype, content = value
            return np.frombuffer(content, _number_type(dtype))[0]
        if code == YOURS:
            return self.object(value)
        if code == SPACE:
            return _space(*value)
        if code == BIG:
            return int(value)
        if code == OPAQUE:
            return Opaque(str(value)[:LONGEST_REPR])
        raise ValueError(f"no such code: {code}")


def _ext(code: int, content) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(code, msgspec.msgpack.encode(content))


def _number_type(name: str) -> np.dtype:
    dtype = np.dtype(name)
    if dtype.kind not in "biuf":
        raise ValueError(f"{name} is no type of numbers")
    return dtype


def _space(kind: str, *of) -> gym.Space:
    if kind == "discrete":
        n, start = of
        return gym.spaces.Discrete(n, start=start)
    low, high, dtype = of
    return gym.spaces.Box(low, high, low.shape, _number_type(dtype))


def shown(value) -> str:
    """What repr() says, whatever the object's own repr() does."""
    try:
        return str(repr(value))[:LONGEST_REPR]
    except Exception as error:  # noqa: BLE001 - it is the student's code
        return f"<{type(value).__name__} whose repr() raises {type(error).__name__}>"


def said_by(error: BaseException) -> str:
    try:
        return str(error)[:2000]
    except Exception:  # noqa: BLE001 - it is the student's code
        return f"(a {type(error).__name__} that says nothing)"


def as_raised(name: str, sentence: str) -> Exception:
    """An exception of this name, or one that looks like it: nothing but names travels."""
    from serving.protocol import PolicyServerError

    known = {
        kind.__name__: kind for kind in (*PolicyServerError.__subclasses__(), PolicyServerError)
    }
    known |= {kind.__name__: kind for kind in (AssertionError, RuntimeError, TypeError, ValueError)}
    if not isinstance(name, str) or not name.isidentifier():
        name = "Exception"
    kind = known.get(name) or type(name[:60], (Exception,), {})
    return kind(str(sentence))
