"""The policy server's page for where the policy server may not run yet: a tile of JupyterLab's.

    python -m serving.server.relay --port=PORT

Serves the page itself, which says how to start a policy server as long as there is none, and hands
on whatever the page asks.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from serving.command_line import StartError, listen
from serving.protocol import (
    LARGEST_BODY,
    POLICY_SERVER_PORT,
    PolicyServerError,
    ServerUnreachable,
)
from serving.server.pages import is_page, page_routes
from serving.token_file import read_token
from serving.web.answers import read_body, refusal
from serving.web.guard import Guard
from serving.web.http_server import HttpServer, runner
from serving.web.peers import is_loopback

CONNECT_WITHIN = 5.0  # seconds
SILENT_FOR = 60.0  # seconds that an answer may pause
TOKEN = "POLICY_PAGE_TOKEN"  # environment variable: what whoever asks has to present


class Relay:
    """Hands requests on to the policy server at `address`, and its answers back as they come."""

    def __init__(self, address: str):
        self.address = address
        self._session: aiohttp.ClientSession | None = None

    @contextlib.asynccontextmanager
    async def open(self, app) -> AsyncIterator[None]:
        """Answers for as long as the block lasts."""
        timeout = aiohttp.ClientTimeout(connect=CONNECT_WITHIN, sock_read=SILENT_FOR)
        async with aiohttp.ClientSession(timeout=timeout) as self._session:
            yield

    async def hand_on(self, request: Request) -> Response:
        name = request.path_params["path"]
        try:
            body = await read_body(request.receive, LARGEST_BODY)
            answer = await self._ask(request, body)
        except PolicyServerError as error:
            return refusal(error, name, {"Connection": "close"})
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        kind = answer.headers.get("Content-Type", "application/json")
        return StreamingResponse(_parts(answer), answer.status, headers, media_type=kind)

    async def _ask(self, request: Request, body: bytes) -> aiohttp.ClientResponse:
        path = request.scope["raw_path"].decode("latin-1").split("?")[0]
        query = f"?{request.url.query}" if request.url.query else ""
        try:
            return await self._session.request(
                request.method, f"{self.address}{path}{query}", data=body or None,
                headers=self._headers(), allow_redirects=False,
            )  # fmt: skip
        except (aiohttp.ClientError, OSError, ValueError):
            raise ServerUnreachable(f"no policy server answers at {self.address}") from None

    def _headers(self) -> dict[str, str]:
        parts = urlsplit(self.address)
        token = os.environ.get("POLICY_SERVER_TOKEN") or (
            is_loopback(parts.hostname) and read_token(parts.port or 80)
        )
        return {"Authorization": f"Bearer {token}"} if token else {}


async def _parts(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for part in answer.content.iter_any():
            yield part
    except (aiohttp.ClientError, TimeoutError):
        pass  # the policy server is gone: the page sees its stream end
    finally:
        answer.close()


def make_app(address: str, token: str | None):
    """The ASGI application."""
    relay = Relay(address)
    rest = Route("/{path:path}", relay.hand_on, methods=["GET", "POST"])
    app = Starlette(routes=[*page_routes(), rest], lifespan=relay.open)
    return Guard(app, (), token, "page", is_page)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--port", type=int, default=0, help="of this page (default: a free one)")
    parser.add_argument("--policy-server", default=f"http://localhost:{POLICY_SERVER_PORT}")
    options = parser.parse_args(arguments)
    try:
        listener = listen("localhost", options.port, "is the page there already")
    except StartError as error:
        print(f"relay: {error}", file=sys.stderr)
        return 1
    app = make_app(options.policy_server.rstrip("/"), os.environ.get(TOKEN))
    only_ours = TOKEN not in os.environ
    server = HttpServer(app, "page", only_ours, lifespan=True, takes_signals=True)
    print(
        f"the policy server's page is at http://localhost:{listener.getsockname()[1]}/", flush=True
    )
    with contextlib.suppress(KeyboardInterrupt), runner() as loop:
        loop.run(server.serve(sockets=[listener]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
