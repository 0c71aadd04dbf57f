"""A policy server without process, socket or learner: for tests that play thousands of steps."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Iterator
from unittest import mock
from urllib.parse import urlsplit

from serving.client import PolicyClient
from serving.exercises import visible
from serving.link import Configure
from serving.policy import untrained
from serving.server.episodes import EpisodeBook
from serving.server.http_api import PolicyServer, make_app
from serving.server.supervisor import NoLearner


class InProcessClient(PolicyClient):
    """A client of a policy server of its own: its requests are calls of the server's ASGI app."""

    def __init__(self, observation_size: int, action_size: int, seed: int = 0):
        super().__init__("http://localhost:1", quiet=True)
        configure = Configure("s", "DQN", observation_size, action_size, {}, "policy", None, "logs")
        policy = untrained(observation_size, action_size, [16], seed)
        self.book = EpisodeBook(observation_size, action_size)
        learner = NoLearner(configure, self.book, policy, 10**9)
        self.app = make_app(PolicyServer(self.book, learner, seed))
        self._line.request = self._call
        self._loop = asyncio.new_event_loop()
        weakref.finalize(self, self._loop.close)

    def _call(self, method: str, path: str, body: bytes | None, may_repeat: bool):
        parts, sent = urlsplit(path), []
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "method": method, "path": parts.path, "raw_path": parts.path.encode(),
            "root_path": "", "query_string": parts.query.encode(),
            "headers": [(b"host", b"localhost")],
        }  # fmt: skip

        async def receive():
            return {"type": "http.request", "body": body or b"", "more_body": False}

        async def send(event):
            sent.append(event)

        call = self.app(scope, receive, send)
        if method == "POST":
            with contextlib.suppress(StopIteration):
                call.send(None)  # nobody waits in there: an event loop would take most of the time
                raise AssertionError(f"{method} {path} waits for something")
        else:
            self._loop.run_until_complete(call)
        return sent[0]["status"], b"".join(event.get("body", b"") for event in sent[1:])


@contextlib.contextmanager
def checks_in_process() -> Iterator[None]:
    """Check cells and graded cells in the block need no server process."""

    @contextlib.contextmanager
    def a_server_for(function, observation_size, action_size, **options):
        client = InProcessClient(observation_size, action_size)
        with visible.playing_against(function, client):
            yield client

    from serving.exercises import serve_and_learn

    with mock.patch.object(serve_and_learn, "a_server_for", a_server_for):
        yield
