"""The policy server's page: its files, and the stream that keeps it up to date."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from serving.server.live import Live
from serving.web.pages import HEADERS, SHARED, with_headers

PAGE = Path(__file__).with_name("page")
SERVING = Path(__file__).parents[1]
PONG = SERVING / "javascript-pong" / "static"
OF_PONG = {  # what draws its court, and what acts inside a page
    "court-view.js": PONG / "court-view.js",
    "physics.js": PONG / "physics.js",
    "policy.js": PONG / "policy.js",
    "court.json": SERVING / "pong" / "court.json",
}
WELCOME = "A policy server. Its calls: /openapi.json; how it is doing: /status.\n"


async def welcome(request: Request) -> Response:
    """A page for browsers; a line for programs, which do not ask for HTML."""
    if "text/html" in request.headers.get("accept", ""):
        return FileResponse(PAGE / "index.html", headers={**HEADERS, "vary": "accept"})
    return Response(WELCOME, media_type="text/plain", headers={"vary": "accept"})


async def of_pong(request: Request) -> Response:
    return FileResponse(OF_PONG[request.url.path.rpartition("/")[2]], headers=HEADERS)


def swagger_ui() -> list[BaseRoute]:
    """What draws the description of the calls, where the package is installed, which is not imported:
    it is made for Flask, and only its files are wanted."""
    package = find_spec("flask_swagger_ui")
    if package is None:
        return []
    files = Path(package.origin).with_name("dist")
    return [Mount("/page/swagger-ui", with_headers(StaticFiles(directory=files)))]


def page_routes() -> list[BaseRoute]:
    """The page and what it consists of: anybody may see these."""
    return [
        Route("/", welcome),
        *swagger_ui(),
        *(Route(f"/page/pong/{name}", of_pong) for name in OF_PONG),
        Mount("/page/look", with_headers(StaticFiles(directory=SHARED))),
        Mount("/page", with_headers(StaticFiles(directory=PAGE))),
    ]


def events_route(live: Live) -> Route:
    async def events(request: Request) -> Response:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nor a proxy's
        return StreamingResponse(live.listen(), media_type="text/event-stream", headers=headers)

    return Route("/events", events)


def is_page(scope) -> bool:
    """Whether a request is for the page itself, in which there are no secrets."""
    path = scope["path"]
    return scope["method"] in ("GET", "HEAD") and (path == "/" or path.startswith("/page/"))
