"""What nobody who has not shown who they are can cost: connections, headers, time."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from serving.web import connections
from serving.web.answers import json_answer, read_body
from serving.web.http_server import HttpServer, runner

POST = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n"


async def echo(scope, receive, send) -> None:
    """Answers how long the body was; `/slow` after a second, `/much` with 50 MB."""
    if scope["path"] == "/slow":
        await asyncio.sleep(1.0)
    answer = len(await read_body(receive, 1_000_000))
    if scope["path"] == "/much":
        answer = "x" * 50_000_000
    await json_answer(answer)(scope, receive, send)


class Echo:
    """A server of the kit's kind in a thread of this process."""

    def __init__(self):
        self.server = HttpServer(echo, "echo", only_ours=True)
        self.connections = self.server.config.http
        listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.port = listener.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._run, args=[listener], daemon=True)
        self._thread.start()

    def _run(self, listener: socket.socket) -> None:
        with runner() as loop:
            loop.run(self.server.serve(sockets=[listener]))

    def connect(self) -> socket.socket:
        line = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        return line

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def an_echo(monkeypatch) -> Iterator[Echo]:
    """A server that is impatient: a second for headers, two for a request."""
    monkeypatch.setattr(connections, "SECONDS_FOR_HEAD", 1.0)
    monkeypatch.setattr(connections, "SECONDS_FOR_REQUEST", 2.0)
    monkeypatch.setattr(connections, "SECONDS_TO_TAKE", 1.0)
    monkeypatch.setattr(connections, "LOOK_EVERY", 0.1)
    server = Echo()
    try:
        yield server
    finally:
        server.stop()


def all_of(line: socket.socket) -> bytes:
    """What comes until the server closes."""
    said = b""
    try:
        while part := line.recv(65536):
            said += part
    except ConnectionError:
        pass
    return said


def refusal(said: bytes) -> tuple[int, str]:
    head, _, body = said.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


def test_who_says_nothing_is_hung_up_on(an_echo):
    """Is a connection over which nothing comes closed?"""
    with an_echo.connect() as line:
        assert all_of(line) == b""
    assert not an_echo.connections.open


@pytest.mark.parametrize("beginning", [b"GET /", b"\r\n", POST, POST + b"X: y"])
def test_headers_that_do_not_end_are_given_up(an_echo, beginning):
    """Is a request given up whose headers trickle in, a byte at a time?"""
    with an_echo.connect() as line:
        line.sendall(beginning)
        line.settimeout(0.2)
        said, deadline = b"", time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                line.sendall(b"y" if b"X" in beginning or b"GET" in beginning else b"")
                part = line.recv(1000)
            except TimeoutError:
                continue
            except ConnectionError:
                break
            if not part:
                break
            said += part
        assert time.monotonic() < deadline, "nobody hung up"
    if said:
        assert refusal(said)[0] == 408


def test_a_body_that_does_not_end_is_given_up(an_echo):
    """Is a body waited for as long as is allowed, and then no longer, with a sentence?"""
    with an_echo.connect() as line:
        line.sendall(POST + b"\r\n{")
        started = time.monotonic()
        status, said = refusal(all_of(line))
    assert status == 408 and "within 2 s" in said
    assert time.monotonic() - started > 1.5


def test_headers_without_end_are_refused(an_echo):
    """Are endless headers cut off before they fill the memory?"""
    with an_echo.connect() as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        sent = 0
        try:
            while sent < 10_000_000:
                sent += line.send(b"X: " + b"y" * 1000 + b"\r\n")
        except ConnectionError:
            pass
        assert sent < 5_000_000
    with an_echo.connect() as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 33_000)
        assert refusal(all_of(line))[0] == 431


def test_who_does_not_take_the_answer_is_cut_off(an_echo):
    """Does an answer that nobody reads go away, instead of waiting in memory for ever?"""
    with an_echo.connect() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.sendall(b"GET /much HTTP/1.1\r\nHost: localhost\r\n\r\n")
        deadline = time.monotonic() + 20
        while not an_echo.connections.open or an_echo.server.server_state.total_requests == 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        while an_echo.connections.open:
            assert time.monotonic() < deadline, "the connection is still there"
            time.sleep(0.05)


def test_whoever_is_in_time_is_answered(an_echo):
    """Are a slow answer, a kept connection and requests one after the other left alone?"""
    with httpx.Client(base_url=an_echo.address, timeout=30) as client:
        assert client.post("/slow", content=b"x" * 7).json() == 7
        time.sleep(2.5)  # idle for longer than a request may take
        for length in (0, 1, 100_000):
            assert client.post("/echo", content=b"x" * length).json() == length
        assert len(an_echo.connections.open) == 1  # the same
    with an_echo.connect() as line:  # pipelined
        line.sendall((POST + b"\r\n0123456789") * 3)
        said = b""
        while said.count(b"HTTP/1.1 200") < 3:
            part = line.recv(65536)
            assert part
            said += part


def test_too_many_connections_cost_the_useless_ones(an_echo):
    """Of more connections than there may be: do those go that never asked for anything, and is
    whoever plays not disturbed?"""
    an_echo.connections.most = 50
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(base_url=an_echo.address, timeout=30))
        assert client.post("/echo", content=b"12").json() == 2
        silent = []
        for i in range(200):
            silent.append(stack.enter_context(an_echo.connect()))
            if i % 10 == 0:
                assert client.post("/echo", content=b"12").json() == 2
        assert len(an_echo.connections.open) <= 50
        assert client.post("/echo", content=b"123").json() == 3
        # The same connection all the time.
        mine = [one for one in an_echo.connections.open if one.cycle is not None]
        assert len(mine) == 1
