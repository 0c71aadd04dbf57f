"""uvicorn as both servers use it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import uvicorn

from serving.web.connections import MOST_CONNECTIONS, Connections

try:
    import uvloop
except ImportError:  # Windows: asyncio's own loop is slower, and does as well
    uvloop = None

try:
    import resource
except ImportError:  # Windows
    resource = None

IDLE_SECONDS = 600  # until a connection is closed over which nothing is asked any more
FILES_BESIDE_CONNECTIONS = 100


class HttpServer(uvicorn.Server):
    """Serves an ASGI app until `should_exit` is set.

    what
        a word for the server, for the sentences
    only_ours
        whether connections from this machine are for the user of this process and root only
    takes_signals
        whether Ctrl-C and SIGTERM end it; if not, they are its owner's matter
    """

    def __init__(
        self,
        app,
        what: str,
        only_ours: bool,
        lifespan: bool = False,
        takes_signals: bool = False,
    ):
        self._takes_signals = takes_signals
        super().__init__(
            uvicorn.Config(
                app,
                http=Connections(what, only_ours),
                ws="none",
                lifespan="on" if lifespan else "off",
                log_level="error",
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=2,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self):
        with super().capture_signals() if self._takes_signals else contextlib.nullcontext():
            yield


def runner() -> asyncio.Runner:
    """Runs coroutines on the fastest event loop there is, with files for all connections."""
    new_event_loop: Callable | None = uvloop.new_event_loop if uvloop else None
    if resource:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = MOST_CONNECTIONS + FILES_BESIDE_CONNECTIONS
        if soft < needed <= hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return asyncio.Runner(loop_factory=new_event_loop)
