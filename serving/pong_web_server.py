#!/usr/bin/env python
"""Serves the Pong page, and relays what the page says to the policy server and back.

    python serving/simple_policy_server.py --observation-size=8 --action-size=3 \\
        --run=DQN --checkpoint-file=pong
    python serving/pong_web_server.py

Then open the address it prints; behind Jupyter the page is at proxy/3000/. The policy server may
come, go and come again meanwhile: page and terminal say so, and go on when it is back.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # found from anywhere, also when the package is not installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import asyncio
import contextlib
import hmac
import os
import secrets
from urllib.parse import urlsplit

import aiohttp
import msgspec
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from serving.command_line import StartError, listen, parser_of
from serving.pong.court import COURT_FILE
from serving.pong.env import ACTION_SIZE, OBSERVATION_SIZE
from serving.protocol import (
    POLICY_SERVER_PORT,
    WEB_SERVER_PORT,
    EndEpisode,
    GetAction,
    InvalidMessage,
    LogSteps,
    Message,
    MessageTooLarge,
    PolicyServerError,
    Refusal,
    ServerUnreachable,
    StartEpisode,
    Status,
    Unauthorized,
)

STATIC = Path(__file__).with_name("javascript-pong") / "static"
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
LARGEST_BODY = 256 * 1024  # bytes; a page's message has a few hundred
LOOK_EVERY = 1.0  # seconds
TIMEOUT = 5.0  # seconds until a silent policy server counts as unreachable
MOST_CONNECTIONS = 100  # to the policy server
CURVE_POINTS = 240

# All that a page may say to the policy server, and how it must look.
RELAYED: dict[str, type[Message]] = {
    "start_episode": StartEpisode,
    "get_action": GetAction,
    "log_steps": LogSteps,
    "end_episode": EndEpisode,
}

HOW_TO_START = (
    "python serving/simple_policy_server.py "
    f"--observation-size={OBSERVATION_SIZE} --action-size={ACTION_SIZE} "
    "--run=DQN --checkpoint-file=pong"
)

HEADERS = [
    # The page brings everything along; whatever else it might be talked into loading is refused.
    (b"content-security-policy", b"default-src 'self'; img-src 'self' data:; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-cache"),  # asks each time, so that an update of the kit is seen
]


class Live(msgspec.Struct):
    """Answer of `GET live`: what the page shows beside the court.

    problem
        why there is nothing to play against, in a sentence; null if there is
    curve
        points (env steps, mean return) since this web server was started
    """

    policy_server: str
    problem: str | None
    status: Status | None
    curve: list[tuple[int, float]]


class PolicyServerLink:
    """The policy server as seen from here: asks it, and knows how it is doing."""

    def __init__(self, address: str, token: str | None):
        self.address = address
        self.problem: str | None = "looking for the policy server"
        self.status: Status | None = None
        self.curve: list[tuple[int, float]] = []
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._session: aiohttp.ClientSession | None = None
        self._decoder = msgspec.json.Decoder(Status)

    @contextlib.asynccontextmanager
    async def open(self):
        """Looks after the policy server, and answers, for as long as the block lasts."""
        connector = aiohttp.TCPConnector(limit=MOST_CONNECTIONS, keepalive_timeout=60)
        async with aiohttp.ClientSession(connector=connector, headers=self._headers) as session:
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
                method, f"{self.address}/{path}", data=body, timeout=timeout
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
        """Asks for the status; returns what is wrong, if anything is."""
        try:
            code, body = await self.exchange("GET", "status")
            if code == Unauthorized.status:
                return (
                    f"the policy server at {self.address} needs its token: set the environment "
                    "variable POLICY_SERVER_TOKEN and start this web server again"
                )
            status = self._decoder.decode(body)
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
        self._draw(status)
        return None

    def _found(self) -> str:
        status = self.status
        return (
            f"plays against the policy server at {self.address}: {status.run}, "
            f"policy v{status.policy_version}, {status.env_steps:,} env steps"
        )

    def _draw(self, status: Status) -> None:
        """Adds a point to the curve; begins anew when the policy server did."""
        if self.curve and status.env_steps < self.curve[-1][0]:
            self.curve.clear()
        if status.mean_return is None or (self.curve and status.env_steps == self.curve[-1][0]):
            return
        self.curve.append((status.env_steps, round(status.mean_return, 3)))
        if len(self.curve) > CURVE_POINTS:
            del self.curve[1:-1:2]  # half as dense, as long as before


class Pages:
    """What browsers ask for."""

    def __init__(self, link: PolicyServerLink):
        self.link = link
        self._decoders = {name: msgspec.json.Decoder(type_) for name, type_ in RELAYED.items()}

    async def live(self, request: Request) -> Response:
        link = self.link
        return _json(Live(link.address, link.problem, link.status, link.curve))

    async def policy(self, request: Request) -> Response:
        return await self._relay("policy", "GET")

    async def call(self, request: Request) -> Response:
        """Relays a call of the page, if it is one of those that a page may make."""
        name = request.scope["path"].strip("/")
        try:
            message = self._decoders[name].decode(await _body(request))
        except MessageTooLarge as error:
            # The rest of the body was not read, so this connection has no use any more.
            return _refusal(error, name, {"Connection": "close"})
        except msgspec.ValidationError as error:
            why = f"{error}".replace("`$.", "`").replace("`", "")
            return _refusal(InvalidMessage(why), name)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return _refusal(InvalidMessage(f"the message is not JSON: {error}"), name)
        body = msgspec.json.encode(message)
        return await self._relay(name, "POST", body, getattr(message, "patience", 0.0))

    async def _relay(self, name: str, method: str, body: bytes | None = None, patience=0.0):
        link = self.link
        if link.problem and link.status:  # it is there, but of the wrong sizes
            return _refusal(ServerUnreachable(link.problem), name)
        try:
            status, answer = await link.exchange(method, name, body, patience)
        except ServerUnreachable as error:
            return _refusal(error, name)
        return Response(answer, status, media_type="application/json")

    async def court(self, request: Request) -> Response:
        return FileResponse(COURT_FILE, media_type="application/json")

    async def refuse(self, request: Request, error) -> Response:
        path = request.scope["path"]
        answer = Refusal(
            f"{request.method} {path} is not possible: a page may post {', '.join(RELAYED)}, "
            "and get live, policy and court.json",
            path.strip("/"),
        )
        return _json(answer, error.status_code)


class Guard:
    """Lets only this server's own page talk to the policy server, and anybody see the page.

    Browsers say where a request comes from: `Sec-Fetch-Site`, which knows of proxies in between,
    and `Origin`, which must be the host they asked. Programs that are no browsers say neither.
    """

    OPEN_TO_ALL = {"GET", "HEAD"}
    ASKS_POLICY_SERVER = {"live", "policy", *RELAYED}

    def __init__(self, app, token: str | None):
        self.app = app
        self.token = token and f"Bearer {token}".encode()

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_with_headers(event) -> None:
            if event["type"] == "http.response.start":
                event = {**event, "headers": [*event["headers"], *HEADERS]}
            await send(event)

        app, path = self.app, scope["path"].strip("/")
        if path in self.ASKS_POLICY_SERVER or scope["method"] not in self.OPEN_TO_ALL:
            try:
                self.check(dict(scope["headers"]))
            except Unauthorized as error:
                app = _refusal(error, path, {"Connection": "close"})
        await app(scope, receive, send_with_headers)

    def check(self, headers: dict[bytes, bytes]) -> None:
        if self.token is not None and not hmac.compare_digest(
            headers.get(b"authorization", b""), self.token
        ):
            raise Unauthorized("this page needs its token: open the address the terminal shows")
        site = headers.get(b"sec-fetch-site", b"").decode("latin-1")
        origin = headers.get(b"origin", b"").decode("latin-1")
        host = headers.get(b"host", b"").decode("latin-1")
        if site:
            foreign = site not in ("same-origin", "none")
        else:
            foreign = bool(origin) and urlsplit(origin).netloc != host
        if foreign:
            raise Unauthorized(f"a page of {origin or 'another site'} may not play here")


def make_app(link: PolicyServerLink, token: str | None = None):
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
            Route("/policy", pages.policy),
            Route("/court.json", pages.court),
            Mount("/", StaticFiles(directory=STATIC, html=True)),
        ],
        exception_handlers={404: pages.refuse, 405: pages.refuse},
        lifespan=lifespan,
    )
    return Guard(app, token)


async def _body(request: Request) -> bytes:
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_BODY:
                raise MessageTooLarge(f"the message is larger than {LARGEST_BODY} bytes")
    except ClientDisconnect:
        raise msgspec.DecodeError("the connection closed in the middle of it") from None
    return body


def _json(answer, status: int = 200, headers: dict | None = None) -> Response:
    return Response(msgspec.json.encode(answer), status, headers, media_type="application/json")


def _refusal(error: PolicyServerError, call: str, headers: dict | None = None) -> Response:
    return _json(Refusal(str(error), call), error.status, headers)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--policy-server", default=f"http://localhost:{POLICY_SERVER_PORT}", metavar="ADDRESS",
        help="where the policy server listens (default: %(default)s); its token, if it needs one, "
        "is taken from the environment variable POLICY_SERVER_TOKEN")  # fmt: skip
    add("--host", default="localhost",
        help="address to listen on (default: %(default)s); others than loopback need a token")  # fmt: skip
    add("--port", type=int, default=WEB_SERVER_PORT,
        help="port to listen on (default: %(default)s); 0 takes a free one and prints it")  # fmt: skip
    add(
        "--token",
        help="what browsers must present; beyond loopback one is made up if there is none",
    )
    return parser.parse_args(arguments)


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
    print(f"play Pong at http://{host}:{port}/{query}")
    jupyter = os.environ.get("JUPYTER_SERVER_URL") or os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
    if jupyter:  # set in JupyterLab's terminals
        print(f"or, behind Jupyter, at {jupyter.rstrip('/')}/proxy/{port}/{query}")
    print("stop it with Ctrl-C", flush=True)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        link = PolicyServerLink(
            address_of(options.policy_server), os.environ.get("POLICY_SERVER_TOKEN")
        )
        listener = listen(
            options.host, options.port, "does another Pong web server run there already"
        )
    except StartError as error:
        print(f"pong_web_server: {error}", file=sys.stderr)
        return 1
    token = options.token
    if token is None and options.host not in LOOPBACK:
        token = secrets.token_urlsafe(16)
    greet(options.host, listener.getsockname()[1], token)
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(link, token),
            http="httptools",
            lifespan="on",
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=2,
        )
    )
    with contextlib.suppress(KeyboardInterrupt):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.serve(sockets=[listener]))
    print("stopped", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
