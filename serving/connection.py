"""The line between a client and its policy server: HTTP requests over connections that stay open."""

from __future__ import annotations

import http.client
import os
import select
import socket
import threading
from urllib.parse import urlsplit

from serving.protocol import InvalidMessage, ServerUnreachable
from serving.token_file import read_token

# The environment variable that kernels which grade or validate a notebook have, and nobody else:
# nbgrader_config.py and `serving.examiner.kernel` set it to the lessons' port. A server that happens
# to run there is not for the notebook that is looked at.
GRADING = "NO_POLICY_SERVER_AT_PORT"


THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


class Connection:
    """Exchanges requests for answers with the server at `address`, one connection a thread.

    start_with
        what to type where nobody answers
    """

    def __init__(self, address: str, token: str | None, timeout: float):
        try:
            parts = urlsplit(address if "//" in address else f"http://{address}")
            self._host, self._port = parts.hostname, parts.port or 80
        except (TypeError, ValueError):  # brackets or port are none
            parts = None
        if parts is None or parts.scheme != "http" or not parts.hostname:
            raise InvalidMessage(
                f"address is {address!r}: expected something like 'http://localhost:8900'"
            )
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.address = f"http://{host}:{self._port}"
        self.start_with = "python serving/simple_policy_server.py --help"
        self._timeout = timeout
        self._token = token or os.environ.get("POLICY_SERVER_TOKEN")
        self._local = threading.local()

    def request(
        self, method: str, path: str, body: bytes | None, may_repeat: bool
    ) -> tuple[int, bytes]:
        """Status and body of the answer. Raises ServerUnreachable if none comes.

        A server may close a connection that is kept open in the moment we write to it, and whether
        it had read the request is not known. Where `may_repeat` it is sent once more over a new
        connection.
        """
        for attempt in (1, 2):
            kept = getattr(self._local, "connection", None)
            if kept and not may_repeat and _has_news(kept.sock):
                self.close()
                kept = None
            connection = kept or self._connect()
            try:
                connection.request(method, path, body, self._local.headers)
                response = connection.getresponse()
                return response.status, response.read()
            except TimeoutError as error:
                self.close()
                if type(error) is not TimeoutError:
                    raise  # not the socket's: an alarm has rung meanwhile, which says what for
                raise ServerUnreachable(
                    f"the policy server at {self.address} has not answered {path} "
                    f"for {self._timeout:.0f} s"
                ) from None
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if kept is None or attempt == 2 or not may_repeat:
                    raise ServerUnreachable(
                        f"the policy server at {self.address} closed the connection "
                        f"({type(error).__name__}); is it still running?"
                    ) from None
            except BaseException:
                self.close()  # Ctrl-C between question and answer: never read an old answer
                raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Closes this thread's connection; the next request opens a new one."""
        connection, self._local.connection = getattr(self._local, "connection", None), None
        if connection is not None:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if os.environ.get(GRADING) == str(self._port):
            raise ServerUnreachable(
                f"no policy server answers at {self.address} while a notebook is graded or validated"
            )
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        try:
            connection.connect()
        except OSError as error:
            raise ServerUnreachable(
                f"no policy server answers at {self.address} ({error.strerror or error}); start "
                f"one in a terminal with: {self.start_with}"
            ) from None
        # Without it the kernel waits 40 ms for more to send.
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._local.connection, self._local.headers = connection, self._headers()
        return connection

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        token = self._token or (self._host in THIS_MACHINE and read_token(self._port))
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return headers


def _has_news(connection: socket.socket) -> bool:
    """Whether the other end has said something nobody asked for, which is that it has closed."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
