"""The policy server's HTTP interface: routes, calls, and who may use them.

One small ASGI app per call, because an answer should cost little more than the round trip; the
routes are Starlette's work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.policy import PolicySnapshot
from serving.protocol import (
    CALLS,
    LARGEST_BODY,
    Curve,
    Disconnected,
    InvalidMessage,
    KeptPolicies,
    PolicyServerError,
    Refusal,
    Status,
    Transcript,
    Transcripts,
    Waiting,
)
from serving.server.calls import PolicyServer
from serving.server.pacing import Caller
from serving.server.pages import events_route, is_page, page_routes
from serving.server.transcripts import many_transcripts, one_transcript
from serving.web.answers import (
    decode,
    encode,
    json_answer,
    read_body,
    refusal,
)
from serving.web.description import describe
from serving.web.guard import Guard


class Views:
    """What a GET shows."""

    def __init__(self, server: PolicyServer):
        self.server = server
        self.book = server.book
        self.status = server.status

    async def get_status(self, request: Request) -> Response:
        return json_answer(self.status())

    async def get_curve(self, request: Request) -> Response:
        return json_answer(Curve(self.book.history.curve))

    async def get_policy(self, request: Request) -> Response:
        if "version" not in request.query_params:
            return json_answer(self.server.acting.snapshot())
        try:
            version = _number_in(request, "version", 0, "a policy's number")
            return json_answer(self.server.policies.get(version).snapshot())
        except PolicyServerError as error:
            return refusal(error, "policy")

    async def get_policies(self, request: Request) -> Response:
        return json_answer(self.server.kept_policies())

    async def get_episodes(self, request: Request) -> Response:
        try:
            last = _number_in(request, "last", 20, "how many episodes to show")
            return many_transcripts(self.book.latest(last), self.book.rejected)
        except PolicyServerError as error:
            return refusal(error, "episodes")

    async def get_episode(self, request: Request) -> Response:
        try:
            since = _number_in(request, "since", 0, "a step to begin at")
            return one_transcript(self.book.remembered(request.path_params["episode_id"]), since)
        except PolicyServerError as error:
            return refusal(error, "episodes")


def _number_in(request: Request, name: str, default: int, meaning: str) -> int:
    """A number of the query; raises InvalidMessage if it is none."""
    said = request.query_params.get(name, str(default))
    if not (said.isascii() and said.isdecimal() and len(said) < 10):
        raise InvalidMessage(f"{name} is {said[:20]!r}: expected {meaning}")
    return int(said)


class Call:
    """The ASGI app of one POST: decodes the message, hands it on, encodes the answer."""

    def __init__(self, server: PolicyServer, name: str, handle: Callable[..., Awaitable], message):
        self.server = server
        self.name = name
        self.handle = handle
        self.decoder = msgspec.json.Decoder(message)

    async def __call__(self, scope, receive, send) -> None:
        episode_id = None
        try:
            body = await read_body(receive, LARGEST_BODY)
            message = decode(self.decoder, body)
            episode_id = getattr(message, "episode_id", None)
            answer = await self.handle(message, Caller(receive, body))
            status = 202 if type(answer) is Waiting else 200
        except PolicyServerError as error:
            status = error.status
            call = getattr(error, "call", self.name)
            answer = Refusal(str(error), call, getattr(error, "step", None))
            if not isinstance(error, Disconnected):
                self.server.book.reject(call, episode_id, error)
        body = encode(answer)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", b"application/json"),
                    (b"content-length", b"%d" % len(body)),
                ],
            }
        )
        await send({"type": "http.response.body", "body": body})


def make_app(
    server: PolicyServer, token: str | None = None, hosts: Iterable[str] = (), lifespan=None
):
    """The ASGI application: POST calls, GET views, and the description of both."""
    look = Views(server)
    views = {
        "status": (look.get_status, Status),
        "curve": (look.get_curve, Curve),
        "policy": (look.get_policy, PolicySnapshot),
        "policies": (look.get_policies, KeptPolicies),
        "episodes": (look.get_episodes, Transcripts),
        "episodes/{episode_id}": (look.get_episode, Transcript),
    }
    description = encode(
        describe(
            "Policy server",
            "Acts on observations and learns from the episodes it serves.",
            CALLS,
            {name: seen for name, (_, seen) in views.items()},
        )
    )

    async def openapi(request: Request) -> Response:
        return Response(description, media_type="application/json")

    routes = [
        Route(f"/{name}", Call(server, name, getattr(server, name), message), methods=["POST"])
        for name, (message, _) in CALLS.items()
    ]
    # An episode's id may hold a slash, and its whole rest of the path is the id then.
    routes += [
        Route(f"/{name}".replace("{episode_id}", "{episode_id:path}"), view)
        for name, (view, _) in views.items()
    ]
    routes += [Route("/openapi.json", openapi), events_route(server.live), *page_routes()]

    async def refuse(request: Request, error) -> Response:
        names = ", ".join(f"/{name}" for name in (*CALLS, *views))
        said = {
            404: f"nothing at {request.url.path}; there are {names}",
            405: f"{request.method} {request.url.path} is not possible; see /openapi.json",
        }
        call = request.url.path.strip("/")
        answer = Refusal(said.get(error.status_code, error.detail), call)
        return json_answer(answer, error.status_code)

    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={404: refuse, 405: refuse},
    )
    app.router.redirect_slashes = False  # a 404 says more than a redirect that a proxy misdirects
    return Guard(app, hosts, token, "policy server", is_page)
