"""The policy server's HTTP interface: requests in, the episode book's answers out.

One small ASGI app per call, because an answer should cost little more than the round trip; the
routes, the guard and the OpenAPI description are Starlette's and msgspec's work.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving import protocol
from serving.policy import PolicySnapshot
from serving.protocol import (
    Action,
    Disconnected,
    EndEpisode,
    EpisodeStarted,
    GetAction,
    InvalidMessage,
    LogAction,
    LogReturns,
    LogSteps,
    MessageTooLarge,
    PolicyServerError,
    Recorded,
    Refusal,
    StartEpisode,
    Status,
    Transcript,
    Transcripts,
    Unauthorized,
    Waiting,
)
from serving.server.calls import PolicyServer
from serving.server.pacing import Caller

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
NOT_A_NUMBER = re.compile(rb"[:,\[]\s*-?(NaN|Infinity|nan|inf)\b")

encode = msgspec.json.encode


class Views:
    """What a GET shows."""

    def __init__(self, server: PolicyServer):
        self.book = server.book
        self.learner = server.learner
        self.status = server.status

    async def get_status(self, request: Request) -> Response:
        return _json(self.status())

    async def get_policy(self, request: Request) -> Response:
        return _json(self.learner.policy.snapshot())

    async def get_episodes(self, request: Request) -> Response:
        last = request.query_params.get("last", "20")
        if not (last.isdecimal() and len(last) < 10):
            error = InvalidMessage(f"last is {last[:20]!r}: expected how many episodes to show")
            return _refusal(error, "episodes")
        transcripts = self.book.latest_transcripts(int(last))
        return _json(Transcripts(transcripts, list(self.book.rejected)))

    async def get_episode(self, request: Request) -> Response:
        try:
            return _json(self.book.transcript(request.path_params["episode_id"]))
        except PolicyServerError as error:
            return _refusal(error, "episodes")


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
            body = await _body(scope, receive)
            message = self.decode(body)
            episode_id = message.episode_id
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

    def decode(self, body: bytes):
        try:
            return self.decoder.decode(body)
        except msgspec.ValidationError as error:
            # "Expected `float`, got `str` - at `$.observation[0]`"
            said = f"{error}".replace("`$.", "`").replace("`", "")
            raise InvalidMessage(
                said.replace("Number out of range", "Expected a finite number, got a larger one")
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if NOT_A_NUMBER.search(body):
                raise InvalidMessage(
                    "the message is not JSON: expected finite numbers, and came NaN or Infinity"
                ) from None
            raise InvalidMessage(f"the message is not JSON: {error}") from None
        except RecursionError:
            raise InvalidMessage("the message is nested too deeply") from None


async def _body(scope, receive) -> bytes:
    """The request's whole body; raises MessageTooLarge before more than the limit is in memory."""
    body = b""
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise Disconnected("the connection closed in the middle of the message")
        body += event.get("body", b"")
        if len(body) > protocol.LARGEST_BODY:
            raise MessageTooLarge(
                f"the message is larger than {protocol.LARGEST_BODY} bytes; send it in parts"
            )
        if not event.get("more_body"):
            return body


class Guard:
    """Lets in players, and keeps out web pages of other sites.

    A browser sends an Origin with every POST of a script: it must be this server's own address.
    Beyond loopback every request needs the token.
    """

    def __init__(self, app, token: str | None):
        self.app = app
        self.token = token and f"Bearer {token}".encode()

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            try:
                self.check(headers)
            except PolicyServerError as error:
                return await _refusal(error, scope["path"].strip("/"))(scope, receive, send)
        await self.app(scope, receive, send)

    def check(self, headers: dict[bytes, bytes]) -> None:
        if self.token is not None and not hmac.compare_digest(
            headers.get(b"authorization", b""), self.token
        ):
            raise Unauthorized(
                "this policy server needs its token: PolicyClient(address, token=...), "
                "or the header 'Authorization: Bearer ...'"
            )
        origin = headers.get(b"origin")
        if origin is not None:
            host = headers.get(b"host", b"").decode("latin-1")
            try:
                page = urlsplit(origin.decode("latin-1"))
                ours = page.netloc == host and (self.token or page.hostname in LOOPBACK)
            except ValueError:  # such as "http://["
                ours = False
            if not ours:
                raise Unauthorized(
                    f"a page of {origin.decode('latin-1')} may not talk to this policy server"
                )


def make_app(server: PolicyServer, token: str | None = None, lifespan=None):
    """The ASGI application: POST calls, GET views, and the description of both."""
    calls = {
        "get_action": (server.get_action, GetAction, (Action, Waiting)),
        "start_episode": (server.start_episode, StartEpisode, (EpisodeStarted,)),
        "end_episode": (server.end_episode, EndEpisode, (Recorded, Waiting)),
        "log_steps": (server.log_steps, LogSteps, (Recorded, Waiting)),
        "log_action": (server.log_action, LogAction, (Recorded, Waiting)),
        "log_returns": (server.log_returns, LogReturns, (Recorded,)),
    }
    look = Views(server)
    views = {
        "status": (look.get_status, Status),
        "policy": (look.get_policy, PolicySnapshot),
        "episodes": (look.get_episodes, Transcripts),
        "episodes/{episode_id}": (look.get_episode, Transcript),
    }
    description = encode(describe(calls, views))

    async def openapi(request: Request) -> Response:
        return Response(description, media_type="application/json")

    async def welcome(request: Request) -> Response:
        return Response(
            "A policy server. Its calls: /openapi.json; how it is doing: /status.\n",
            media_type="text/plain",
        )

    routes = [
        Route(f"/{name}", Call(server, name, handle, message), methods=["POST"])
        for name, (handle, message, _) in calls.items()
    ]
    # An episode's id may hold a slash, and its whole rest of the path is the id then.
    routes += [
        Route(f"/{name}".replace("{episode_id}", "{episode_id:path}"), view)
        for name, (view, _) in views.items()
    ]
    routes += [Route("/openapi.json", openapi), Route("/", welcome)]

    async def refuse(request: Request, error) -> Response:
        names = ", ".join(f"/{name}" for name in (*calls, *views))
        said = {
            404: f"nothing at {request.url.path}; there are {names}",
            405: f"{request.method} {request.url.path} is not possible; see /openapi.json",
        }
        call = request.url.path.strip("/")
        answer = Refusal(said.get(error.status_code, error.detail), call)
        return _json(answer, error.status_code)

    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={404: refuse, 405: refuse},
    )
    app.router.redirect_slashes = False  # a 404 says more than a redirect that a proxy misdirects
    return Guard(app, token)


def describe(calls: dict, views: dict) -> dict:
    """The OpenAPI 3.1 description, made from the same table and types that serve."""
    types = [Refusal]
    for _, message, answers in calls.values():
        types += [message, *answers]
    types += [answer for _, answer in views.values()]
    types = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    of = dict(zip(types, schemas))

    def content(schema):
        return {"content": {"application/json": {"schema": schema}}}

    refused = {"description": "Refused; nothing was recorded.", **content(of[Refusal])}
    refusals = {str(status): refused for status in (400, 401, 404, 409, 413, 429, 503)}
    paths = {}
    for name, (_, message, answers) in calls.items():
        responses = {
            "202" if answer is Waiting else "200": {
                "description": (answer.__doc__ or answer.__name__).split("\n\n")[0],
                **content(of[answer]),
            }
            for answer in answers
        }
        paths[f"/{name}"] = {
            "post": {
                "operationId": name,
                "summary": (message.__doc__ or name).split("\n\n")[0],
                "requestBody": {"required": True, **content(of[message])},
                "responses": responses | refusals,
            }
        }
    for name, (_, answer) in views.items():
        parameters = []
        if "{" in name:
            parameters = [
                {"name": "episode_id", "in": "path", "required": True, "schema": {"type": "string"}}
            ]
        elif name == "episodes":
            parameters = [{"name": "last", "in": "query", "schema": {"type": "integer"}}]
        summary = (answer.__doc__ or name).split("\n\n")[0]
        paths[f"/{name}"] = {
            "get": {
                "operationId": name.split("/")[0] + ("_one" if "{" in name else ""),
                "summary": summary,
                "parameters": parameters,
                "responses": {
                    "200": {"description": summary, **content(of[answer])},
                    "400": refused,
                    "401": refused,
                    "404": refused,
                },
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Policy server",
            "version": "1.0.0",
            "description": "Acts on observations and learns from the episodes it serves.",
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def _json(answer, status: int = 200) -> Response:
    return Response(encode(answer), status, media_type="application/json")


def _refusal(error: PolicyServerError, call: str) -> Response:
    return _json(Refusal(str(error), call), error.status)
