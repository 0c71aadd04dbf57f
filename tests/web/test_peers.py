"""Whose the other end of a connection is, by two ways that the kernel has to tell it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from serving.web import peers

pytestmark = pytest.mark.skipif(not peers.can_tell(), reason="this machine does not tell")

FAMILIES = {
    "IPv4": (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
    "IPv6": (socket.AF_INET6, "::1", "::1"),
    "IPv4 over an IPv6 socket": (socket.AF_INET, "127.0.0.1", "::ffff:127.0.0.1"),
}


@pytest.fixture(params=FAMILIES)
def a_line(request) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a loopback connection: the client's, the server's."""
    family, host, called = FAMILIES[request.param]
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"no {request.param} here")
    with closing(listener):
        client = socket.create_connection((called, listener.getsockname()[1]))
        server, _ = listener.accept()
    with closing(client), closing(server):
        yield client, server


@pytest.fixture(params=["_ask", "_look_up"])
def ask(request):
    """Both ways to learn it."""
    return lambda end: getattr(peers, request.param)(end.getpeername()[:2], end.getsockname()[:2])


def test_our_own_connection_is_ours(a_line, ask):
    """Is the user who connected found out, also after half of the connection was closed?"""
    client, server = a_line
    assert ask(server) == os.geteuid()
    client.shutdown(socket.SHUT_WR)
    assert ask(server) == os.geteuid()


def test_who_has_left_is_nobody(a_line, ask):
    """A socket that nobody holds any more is root's for the kernel: is it nobody's for us?"""
    client, server = a_line
    client.sendall(b"GET /status HTTP/1.1\r\n\r\n")
    client.close()
    assert ask(server) is None
    assert not peers.may_use(None)


def test_what_listens_is_ours():
    """Is the user of a port that is taken known?"""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert peers.who_listens(listener.getsockname()[1]) == os.geteuid()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can connect as somebody else")
def test_another_users_connection_is_theirs(ask):
    """Is a connection of another account told from ours?"""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        code = (
            "import os, socket, sys; os.setgid(65534); os.setuid(65533);"
            f"line = socket.socket(); line.connect(('127.0.0.1', {listener.getsockname()[1]}));"
            "sys.stdin.read()"
        )
        other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        try:
            listener.settimeout(20)
            server, _ = listener.accept()
            with closing(server):
                assert ask(server) == 65533
            assert not peers.may_use(65533)
        finally:
            other.stdin.close()
            other.wait(10)


@pytest.mark.parametrize(
    ("host", "answer"),
    [("localhost", True), ("127.0.0.1", True), ("127.8.9.1", True), ("::1", True),
     ("::ffff:127.0.0.1", True), ("0.0.0.0", False), ("::", False), ("192.0.2.1", False),
     ("localhost.evil.example", False), ("", False)],
)  # fmt: skip
def test_what_is_loopback(host, answer):
    assert peers.is_loopback(host) is answer
