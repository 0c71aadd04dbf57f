"""Who may talk to a server: one guard for the policy server and for the Pong web server."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from urllib.parse import urlsplit

from serving.protocol import PolicyServerError, Unauthorized
from serving.web.answers import refusal

LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Guard:
    """Lets in players, and keeps out web pages of other sites.

    Browsers say where a request comes from: `Sec-Fetch-Site`, which knows of proxies in between,
    and `Origin`, which must be the host they asked. Programs that are no browsers say neither.

    token
        what every request must present, if there is one
    what
        a word for the server, for the sentences
    is_open
        whether a request, an ASGI scope, is for what anybody may see
    """

    def __init__(
        self,
        app,
        token: str | None,
        what: str,
        is_open: Callable[[dict], bool] = lambda scope: False,
    ):
        self.app = app
        self.what = what
        self.is_open = is_open
        self.token = token and f"Bearer {token}".encode()

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "http" and not self.is_open(scope):
            try:
                self.check(dict(scope["headers"]))
            except PolicyServerError as error:
                # The body was not read, so this connection has no use any more.
                answer = refusal(error, scope["path"].strip("/"), {"Connection": "close"})
                return await answer(scope, receive, send)
        await self.app(scope, receive, send)

    def check(self, headers: dict[bytes, bytes]) -> None:
        if self.token is not None and not hmac.compare_digest(
            headers.get(b"authorization", b""), self.token
        ):
            raise Unauthorized(
                f"this {self.what} needs its token: programs send the header 'Authorization: "
                "Bearer ...' (PolicyClient(address, token=...) does), browsers open the address "
                "that the terminal shows"
            )
        site = headers.get(b"sec-fetch-site", b"").decode("latin-1")
        origin = headers.get(b"origin", b"").decode("latin-1")
        host = headers.get(b"host", b"").decode("latin-1")
        if site:
            foreign = site not in ("same-origin", "none")
        else:
            foreign = bool(origin) and not self._is_ours(origin, host)
        if foreign:
            raise Unauthorized(
                f"a page of {origin or 'another site'} may not talk to this {self.what}"
            )

    def _is_ours(self, origin: str, host: str) -> bool:
        try:
            page = urlsplit(origin)
            return page.netloc == host and bool(self.token or page.hostname in LOOPBACK)
        except ValueError:  # such as "http://["
            return False
