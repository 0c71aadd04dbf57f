"""The page My lessons: where one stands, and one's own policy server at a click; a tile of
JupyterLab's.

    python -m serving.start_page --port=PORT

Links to lessons lead into the JupyterLab that the page is shown in.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from serving import my_lessons
from serving.command_line import StartError, listen
from serving.my_lessons import Refused
from serving.protocol import POLICY_SERVER_PORT, EpisodeConflict, PolicyServerError
from serving.start_page.desk import Desk
from serving.web.answers import decode, json_answer, read_body, refusal
from serving.web.guard import Guard
from serving.web.http_server import HttpServer, runner
from serving.web.pages import SHARED, with_headers

STATIC = Path(__file__).with_name("static")
TOKEN = "START_PAGE_TOKEN"  # environment variable: what whoever asks has to present
LARGEST_BODY = 1000  # bytes


class Wish(msgspec.Struct):
    """What a button says: for which lesson."""

    lesson: str = ""


class Done(msgspec.Struct):
    says: str


class Calls:
    """What the page asks for. All of it waits for files or processes, so all of it is in a thread."""

    def __init__(self, desk: Desk):
        self.desk = desk
        self._decoder = msgspec.json.Decoder(Wish)
        self.by_name: dict[str, Callable[[str], str]] = {
            "start": desk.start,
            "stop": lambda lesson: desk.stop(),
            "fresh-lesson": desk.fresh_lesson,
            "fresh-policy": desk.fresh_policy,
        }

    async def state(self, request: Request) -> Response:
        return json_answer(await asyncio.to_thread(self.desk.see))

    async def do(self, request: Request) -> Response:
        name = request.url.path.rpartition("/")[2]
        try:
            wish = decode(self._decoder, await read_body(request.receive, LARGEST_BODY))
            return json_answer(Done(await asyncio.to_thread(self.by_name[name], wish.lesson)))
        except (Refused, OSError) as error:
            return refusal(EpisodeConflict(f"{error}"), name)
        except PolicyServerError as error:
            return refusal(error, name, {"Connection": "close"})


def make_app(desk: Desk, token: str | None = None):
    """The ASGI application."""
    calls = Calls(desk)
    routes = [Route(f"/{name}", calls.do, methods=["POST"]) for name in calls.by_name]
    routes += [
        Route("/state", calls.state),
        Mount("/look", StaticFiles(directory=SHARED)),
        Mount("/", StaticFiles(directory=STATIC, html=True)),
    ]
    return with_headers(Guard(Starlette(routes=routes), (), token, "page", is_open))


def is_open(scope) -> bool:
    """Whether a request is for the page itself, in which there is nothing of anybody's."""
    return scope["method"] in ("GET", "HEAD") and scope["path"].strip("/") != "state"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--port", type=int, default=0, help="of this page (default: a free one)")
    parser.add_argument("--policy-server-port", type=int, default=POLICY_SERVER_PORT)
    options = parser.parse_args(arguments)
    try:
        listener = listen("localhost", options.port, "is the page there already")
    except StartError as error:
        print(f"start_page: {error}", file=sys.stderr)
        return 1
    desk = Desk(Path.cwd(), options.policy_server_port)
    os.chdir(my_lessons.ROOT)  # where checkpoints are
    token = os.environ.get(TOKEN)
    server = HttpServer(make_app(desk, token), "page", token is None, takes_signals=True)
    print(f"My lessons is at http://localhost:{listener.getsockname()[1]}/", flush=True)
    with contextlib.suppress(KeyboardInterrupt), runner() as loop:
        loop.run(server.serve(sockets=[listener]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
