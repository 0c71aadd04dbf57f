"""Who may talk to a server: one guard for the policy server and for the Pong web server.

Against other users of the machine see `serving.web.connections`; here it is about the web. A page
of any site may make a browser ask a server on its user's machine; and it may have a name of its own
pointed at 127.0.0.1 (DNS rebinding), so that the browser takes the two for the same site.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from serving.protocol import Forbidden, InvalidMessage, PolicyServerError, Unauthorized
from serving.web.answers import refusal

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+?)\.?(:\d{1,5})?", re.IGNORECASE | re.ASCII)

# Said twice, a server and a proxy before it may believe different ones.
SAID_ONCE = {b"host", b"origin", b"authorization", b"sec-fetch-site"}


class Guard:
    """Lets in players, and keeps out web pages of other sites.

    hosts
        the names by which this server is meant to be asked, beside those of loopback
    token
        what every request must present, if there is one; who does may use any name, as no other
        site's page knows it
    what
        a word for the server, for the sentences
    is_open
        whether a request, an ASGI scope, is for what anybody may see
    """

    def __init__(
        self,
        app,
        hosts: Iterable[str],
        token: str | None,
        what: str,
        is_open: Callable[[dict], bool] = lambda scope: False,
    ):
        self.app = app
        self.hosts = LOOPBACK.union(name_of(host) for host in hosts)
        self.what = what
        self.is_open = is_open
        self.token = token and token.encode()

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "http":
            try:
                self.check(scope)
            except PolicyServerError as error:
                # The body was not read, so this connection has no use any more.
                headers = {"Connection": "close"}
                if isinstance(error, Unauthorized):
                    headers["WWW-Authenticate"] = "Bearer"
                answer = refusal(error, scope["path"].strip("/"), headers)
                return await answer(scope, receive, send)
        await self.app(scope, receive, send)

    def check(self, scope) -> None:
        """Raises unless this request may be answered."""
        said = {}
        for name, value in scope["headers"]:
            if name in SAID_ONCE:
                if name in said:
                    raise InvalidMessage(f"the header {name.decode()} comes twice")
                said[name] = value.decode("latin-1")
        host = said.get(b"host", "")
        name = name_of(host)
        if not name:
            raise InvalidMessage(
                f"the header Host is {host!r}: expected a name or an address, and perhaps a port"
            )
        if self.token is None and name not in self.hosts:
            raise Forbidden(
                f"this {self.what} is not known as {name}; if a proxy calls it so, start it with "
                f"--allowed-host={name}"
            )
        if self.is_open(scope):
            return
        if self.token is not None and not self._is_token(said.get(b"authorization", "")):
            raise Unauthorized(
                f"this {self.what} needs its token: programs send the header 'Authorization: "
                "Bearer ...' (PolicyClient(address, token=...) does), browsers open the address "
                "that the terminal shows"
            )
        if is_foreign(said.get(b"sec-fetch-site"), said.get(b"origin"), host):
            raise Forbidden(
                f"a page of {said.get(b'origin', 'another site')} may not talk to this {self.what}"
            )

    def _is_token(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode("latin-1"), self.token
        )


def name_of(host: str) -> str:
    """A Host header's name, without its port; empty if it is none."""
    found = HOST.fullmatch(host if host.count(":") < 2 or "[" in host else f"[{host}]")
    return found[1].strip("[]").lower() if found else ""


def is_foreign(site: str | None, origin: str | None, host: str) -> bool:
    """Whether a page of another site has made a browser ask.

    Browsers say where a request comes from: `Sec-Fetch-Site`, which knows of proxies in between,
    and `Origin`, which must be the host they asked. Programs that are no browsers say neither.
    """
    if site is not None:
        return site not in ("same-origin", "none")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != host.lower()
    except ValueError:  # such as "http://["
        return True
