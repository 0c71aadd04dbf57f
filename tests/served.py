"""The real HTTP interface served from a thread of this process, without a learner: tests can look
into its book, hold the learner back, and take the server away."""

from __future__ import annotations

import asyncio
import socket
import threading

import uvicorn

from serving.link import Configure
from serving.policy import untrained
from serving.server.calls import PolicyServer
from serving.server.episodes import EpisodeBook
from serving.server.http_api import make_app
from serving.server.supervisor import LearnerSupervisor

SIZE, ACTIONS = 3, 4


class Served:
    """A policy server without a learner process: `allowed` says how far acting may go."""

    def __init__(
        self, port: int, token: str | None = None, size: int = SIZE, actions: int = ACTIONS,
        run: str = "DQN", seed: int = 0,
    ):  # fmt: skip
        self.port, self.token, self.size = port, token, size
        self.actions, self.run, self.seed = actions, run, seed
        self.address = f"http://localhost:{port}"
        self.calls: list[str] = []  # paths of the requests that came
        self.begin_anew()

    def begin_anew(self) -> None:
        """As after a restart: no episode is known."""
        configure = Configure("s", self.run, self.size, self.actions, {}, "policy", None, "logs")
        self.book = EpisodeBook(self.size, self.actions)
        policy = untrained(self.size, self.actions, [8], self.seed)
        self.learner = LearnerSupervisor(configure, self.book, policy, 10**9)
        self.server = PolicyServer(self.book, self.learner, self.seed)
        self._app = make_app(self.server, self.token)

    def start(self) -> Served:
        # asyncio asks for the protocol before it switches the wait for more to send off.
        listener = socket.socket(proto=socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(100)
        config = uvicorn.Config(
            self._count, http="httptools", lifespan="off", log_level="error",
            timeout_graceful_shutdown=1, interface="asgi3",
        )  # fmt: skip
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._uvicorn.serve(sockets=[listener])), daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        self._uvicorn.should_exit = True
        self._thread.join(10)
        assert not self.is_running

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    async def _count(self, scope, receive, send) -> None:
        self.calls.append(scope["path"])
        await self._app(scope, receive, send)
