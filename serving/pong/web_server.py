"""The Pong page's web server: serves the page, and relays what it says to the policy server.

The policy server may come, go and come again meanwhile: page and terminal say so, and go on when
it is back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from serving.command_line import StartError, listen
from serving.policy import PolicySnapshot
from serving.pong.court import COURT_FILE
from serving.pong.env import ACTION_SIZE, OBSERVATION_SIZE
from serving.protocol import (
    CALLS,
    Curve,
    InvalidMessage,
    KeptPolicies,
    MessageTooLarge,
    Refusal,
    ServerUnreachable,
    Status,
    Unauthorized,
)
from serving.token_file import read_token
from serving.web.access import access_for
from serving.web.answers import decode, encode, json_answer, read_body, refusal
from serving.web.description import describe
from serving.web.guard import Guard
from serving.web.http_server import HttpServer, runner
from serving.web.pages import SHARED, with_headers
from serving.web.peers import is_loopback

STATIC = Path(__file__).parents[1] / "javascript-pong" / "static"
HUB = "JUPYTERHUB_SERVICE_PREFIX"  # environment variable of whatever runs in a JupyterHub
LARGEST_BODY = 256 * 1024  # bytes; a page's message has a few hundred
LOOK_EVERY = 1.0  # seconds
TIMEOUT = 5.0  # seconds until a silent policy server counts as unreachable
MOST_CONNECTIONS = 100  # to the policy server

# All that a page may say to the policy server.
RELAYED = ("start_episode", "get_action", "log_steps", "end_episode")
LOOKED_AT = ("policy", "policies")  # and all that it may look at there
ASKS_POLICY_SERVER = {"live", *LOOKED_AT, *RELAYED}

HOW_TO_START = (
    "python serving/simple_policy_server.py "
    f"--observation-size={OBSERVATION_SIZE} --action-size={ACTION_SIZE} "
    "--run=DQN --checkpoint-file=pong"
)


class Live(msgspec.Struct):
    """Answer of `GET live`: what the page shows beside the court.

    problem
        why there is nothing to play against, in a sentence; null if there is
    curve
        points (env steps, mean return) since the policy server was started
    """

    policy_server: str
    problem: str | None
    status: Status | None
    curve: list[tuple[int, float]]


DESCRIPTION = describe(
    "Pong web server",
    "Serves the Pong page, and relays what it says to a policy server.",
    RELAYED,
    {"live": Live, "policy": PolicySnapshot, "policies": KeptPolicies, "court.json": dict},
)


class PolicyServerLink:
    """The policy server as seen from here: asks it, and knows how it is doing."""

    def __init__(self, address: str, token: str | None):
        self.address = address
        self.problem: str | None = "looking for the policy server"
        self.status: Status | None = None
        self.curve: list[tuple[int, float]] = []
        self._token = token
        self._headers = {"Content-Type": "application/json"}
        self._session: aiohttp.ClientSession | None = None
        self._decoder = msgspec.json.Decoder(Status)

    @contextlib.asynccontextmanager
    async def open(self):
        """Looks after the policy server, and answers, for as long as the block lasts."""
        connector = aiohttp.TCPConnector(limit=MOST_CONNECTIONS, keepalive_timeout=60)
        async with aiohttp.ClientSession(connector=connector) as session:
            self._session = session
            watching = asyncio.create_task(self._watch())
            try:
                yield
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    async def exchange(
        self, method: str, path: str, body: bytes | None = None, patience: float = 0.0
    ) -> tuple[int, bytes]:
        """One request and its answer; raises ServerUnreachable if there is none in time."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT + patience, connect=TIMEOUT)
        try:
            async with self._session.request(
                method,
                f"{self.address}/{path}",
                data=body,
                timeout=timeout,
                headers=self._headers,
            ) as response:
                return response.status, await response.read()
        except TimeoutError:
            why = f"the policy server at {self.address} has not answered {path} in time"
        except (aiohttp.ClientError, OSError):
            why = f"no policy server answers at {self.address}; start one with: {HOW_TO_START}"
        raise ServerUnreachable(why)

    async def _watch(self) -> None:
        said: str | None = "nothing yet"
        while True:
            self.problem = await self._look()
            if self.problem != said:
                said = self.problem
                print(said or self._found(), flush=True)
            await asyncio.sleep(LOOK_EVERY)

    async def _look(self) -> str | None:
        """Asks for status and curve; returns what is wrong, if anything is."""
        self._find_token()
        try:
            code, body = await self.exchange("GET", "status")
            if code == Unauthorized.status:
                return (
                    f"the policy server at {self.address} needs its token: set the environment "
                    "variable POLICY_SERVER_TOKEN and start this web server again"
                )
            status = self._decoder.decode(body)
            _, body = await self.exchange("GET", "curve")
            self.curve = msgspec.json.decode(body, type=Curve).points
        except ServerUnreachable as error:
            self.status = None
            return str(error)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.status = None
            return f"what answers at {self.address} is no policy server"
        self.status = status
        if (status.observation_size, status.action_size) != (OBSERVATION_SIZE, ACTION_SIZE):
            return (
                f"the policy server at {self.address} was started with "
                f"--observation-size={status.observation_size} and "
                f"--action-size={status.action_size}: Pong needs {OBSERVATION_SIZE} and "
                f"{ACTION_SIZE}; start one with: {HOW_TO_START}"
            )
        return None

    def _find_token(self) -> None:
        """A policy server that was started anew may have left another one for us."""
        parts = urlsplit(self.address)
        token = self._token or (is_loopback(parts.hostname) and read_token(parts.port or 80))
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def _found(self) -> str:
        status = self.status
        return (
            f"plays against the policy server at {self.address}: {status.run}, "
            f"policy v{status.policy_version}, {status.env_steps:,} env steps"
        )


class Pages:
    """What browsers ask for."""

    def __init__(self, link: PolicyServerLink):
        self.link = link
        self._decoders = {name: msgspec.json.Decoder(CALLS[name][0]) for name in RELAYED}

    async def live(self, request: Request) -> Response:
        link = self.link
        return json_answer(Live(link.address, link.problem, link.status, link.curve))

    async def look(self, request: Request) -> Response:
        """Relays a look at a policy, or at which there are."""
        query = f"?{request.url.query}" if request.url.query else ""
        return await self._relay(request.scope["path"].strip("/") + query, "GET")

    async def call(self, request: Request) -> Response:
        """Relays a call of the page, if it is one of those that a page may make."""
        name = request.scope["path"].strip("/")
        try:
            body = await read_body(request.receive, LARGEST_BODY)
            message = decode(self._decoders[name], body)
        except MessageTooLarge as error:
            # The rest of the body was not read, so this connection has no use any more.
            return refusal(error, name, {"Connection": "close"})
        except InvalidMessage as error:
            return refusal(error, name)
        return await self._relay(name, "POST", encode(message), getattr(message, "patience", 0.0))

    async def _relay(self, name: str, method: str, body: bytes | None = None, patience=0.0):
        link = self.link
        if link.problem and link.status:  # it is there, but of the wrong sizes
            return refusal(ServerUnreachable(link.problem), name)
        try:
            status, answer = await link.exchange(method, name, body, patience)
        except ServerUnreachable as error:
            return refusal(error, name)
        return Response(answer, status, media_type="application/json")

    async def openapi(self, request: Request) -> Response:
        return json_answer(DESCRIPTION)

    async def court(self, request: Request) -> Response:
        return FileResponse(COURT_FILE, media_type="application/json")

    async def refuse(self, request: Request, error) -> Response:
        path = request.scope["path"]
        answer = Refusal(
            f"{request.method} {path} is not possible: a page may post {', '.join(RELAYED)}, "
            f"and get live, {', '.join(LOOKED_AT)}, court.json and openapi.json",
            path.strip("/"),
        )
        return json_answer(answer, error.status_code)


def make_app(link: PolicyServerLink, token: str | None = None, hosts: Iterable[str] = ()):
    """The ASGI application."""
    pages = Pages(link)

    @contextlib.asynccontextmanager
    async def lifespan(app):
        async with link.open():
            yield

    app = Starlette(
        routes=[
            *(Route(f"/{name}", pages.call, methods=["POST"]) for name in RELAYED),
            Route("/live", pages.live),
            *(Route(f"/{name}", pages.look) for name in LOOKED_AT),
            Route("/court.json", pages.court),
            Route("/openapi.json", pages.openapi),
            Mount("/look", StaticFiles(directory=SHARED)),
            Mount("/", StaticFiles(directory=STATIC, html=True)),
        ],
        exception_handlers={404: pages.refuse, 405: pages.refuse},
        lifespan=lifespan,
    )
    return with_headers(Guard(app, hosts, token, "page", is_open))


def is_open(scope) -> bool:
    """Whether a request is for the page itself, which anybody may see."""
    return scope["method"] in ("GET", "HEAD") and scope["path"].strip("/") not in ASKS_POLICY_SERVER


def address_of(policy_server: str) -> str:
    address = policy_server if "//" in policy_server else f"http://{policy_server}"
    try:
        parts = urlsplit(address)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    except ValueError:  # the port is no number
        pass
    raise StartError(
        f"--policy-server={policy_server}: expected something like http://localhost:8900"
    )


def greet(host: str, port: int, token: str | None) -> None:
    query = f"?token={token}" if token else ""
    host = f"[{host}]" if ":" in host else host
    print(f"play Pong at http://{host}:{port}/{query}")
    jupyter = os.environ.get("JUPYTER_SERVER_URL") or os.environ.get(HUB)
    if jupyter:  # set in JupyterLab's terminals
        print(f"or, behind Jupyter, at {jupyter.rstrip('/')}/proxy/{port}/{query}")
    print("stop it with Ctrl-C", flush=True)


def run(options: argparse.Namespace) -> int:
    """Serves as the options of `pong_web_server.py` say, until Ctrl-C; the exit code."""
    try:
        access = access_for(options)
        if HUB in os.environ and not (access.token or options.allowed_host):
            # By which name browsers know the hub, nobody here knows: the token is in the address.
            access = access._replace(token=secrets.token_urlsafe(16))
        link = PolicyServerLink(
            address_of(options.policy_server), os.environ.get("POLICY_SERVER_TOKEN")
        )
        listener = listen(
            options.host, options.port, "does another Pong web server run there already"
        )
    except StartError as error:
        print(f"pong_web_server: {error}", file=sys.stderr)
        return 1
    port = listener.getsockname()[1]
    app = make_app(link, access.token, access.hosts)
    server = HttpServer(app, "Pong web server", access.only_ours, lifespan=True, takes_signals=True)
    with contextlib.suppress(KeyboardInterrupt), access.left_for_own_programs(port):
        with runner() as loop:
            greet(options.host, port, access.token)
            loop.run(server.serve(sockets=[listener]))
    print("stopped", flush=True)
    return 0
