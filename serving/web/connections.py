"""The connections of a server: whose they are, how many, and how long each may take.

What uvicorn leaves open: it waits for ever for a request that comes slowly or not at all, for
headers without end, and holds every connection that is made. All of this costs before anybody has
shown who they are.
"""

from __future__ import annotations

import asyncio
import os

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.protocol import (
    Forbidden,
    HeadTooLarge,
    InvalidMessage,
    Late,
    PolicyServerError,
    Refusal,
)
from serving.web import peers
from serving.web.answers import encode, refusal

MOST_CONNECTIONS = 1000
LARGEST_HEAD = 32 * 1024  # bytes of a request line and its headers
SECONDS_FOR_HEAD = 10.0  # from its first byte on; a new connection has as long to begin
SECONDS_FOR_REQUEST = 60.0  # from its first byte to the last of its body
SECONDS_TO_TAKE = 60.0  # for a client to read on in an answer
LOOK_EVERY = 1.0  # seconds


class Connections:
    """All open connections of a server. Makes the protocol of each: `uvicorn.Config(http=this)`.

    what
        a word for the server, for the sentences
    only_ours
        whether connections from this machine are for the user of this process and root only
    """

    def __init__(self, what: str, only_ours: bool):
        self.what = what
        self.only_ours = only_ours
        self.open: set[Connection] = set()
        self.silent: dict[Connection, None] = {}  # never asked a whole request; the oldest first
        self.most = MOST_CONNECTIONS
        self._looking: asyncio.TimerHandle | None = None

    def __call__(self, config, server_state, app_state, _loop=None) -> Connection:
        return Connection(self, config, server_state, app_state, _loop)

    def add(self, connection: Connection) -> None:
        """One more; if they are too many, the one that has been of no use for longest goes."""
        self.open.add(connection)
        self.silent[connection] = None
        if len(self.open) > self.most:
            useless = next(iter(self.silent))
            if useless is connection:  # all others have been of use
                idle = [one for one in self.open if not one.is_answering and one is not connection]
                useless = min(idle, key=lambda one: one.heard, default=connection)
            self.remove(useless)
            useless.transport.abort()
        if self._looking is None:
            self._look_again(connection.loop)

    def remove(self, connection: Connection) -> None:
        self.open.discard(connection)
        self.silent.pop(connection, None)

    def _look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looking = loop.call_later(LOOK_EVERY, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now, self._looking = loop.time(), None
        for connection in list(self.open):
            connection.end_if_late(now)
        if self.open:
            self._look_again(loop)


class Connection(HttpToolsProtocol):
    """One connection, and the bounds that hold for it.

    receiving_since
        when a request began that has not come as a whole yet; at first, when the connection did;
        None between requests and while one is answered
    """

    def __init__(self, all_: Connections, *arguments):
        super().__init__(*arguments)
        self.all = all_
        self.receiving_since: float | None = None
        self.heard = 0.0
        self._in_head = False
        self._head_bytes = 0
        self._full_since: float | None = None  # the client has been taking nothing of the answer

    @property
    def is_answering(self) -> bool:
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and not cycle.more_body

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        self.receiving_since = self.heard = self.loop.time()
        self.all.add(self)
        if self.all.only_ours and self.client and peers.is_loopback(self.client[0]):
            owner = peers.owner_of(self.client, self.server)  # once; the kernel does not change it
            if not peers.may_use(owner):
                self.app = for_strangers(self.all.what, owner)

    def connection_lost(self, exc) -> None:
        self.all.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.heard = self.loop.time()
        if self.receiving_since is None and not self.is_answering:
            self.receiving_since = self.heard
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD:
                self._refuse(HeadTooLarge(f"the headers are larger than {LARGEST_HEAD} bytes"))

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        if self.receiving_since is None:  # sent before the answer to the request before
            self.receiving_since = self.heard
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.receiving_since = None
        self.all.silent.pop(self, None)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(InvalidMessage("what has come is no HTTP request"))

    def pause_writing(self) -> None:
        self._full_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._full_since = None
        super().resume_writing()

    def end_if_late(self, now: float) -> None:
        """Ends the connection if its client has had its time."""
        if self._full_since is not None and now - self._full_since > SECONDS_TO_TAKE:
            self.transport.abort()
        if self.receiving_since is None:
            return
        in_body = self.cycle is not None and self.cycle.more_body and not self._in_head
        allowed = SECONDS_FOR_REQUEST if in_body else SECONDS_FOR_HEAD
        if now - self.receiving_since > allowed:
            self._refuse(Late(f"the request has not come as a whole within {allowed:.0f} s"))

    def _refuse(self, error: PolicyServerError) -> None:
        """Says why, unless another answer is under way, and closes."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if isinstance(error, Late) and cycle is None and not self._in_head:
            self.transport.close()  # nothing was asked
        elif (
            cycle is None
            or cycle.response_complete
            or (cycle.more_body and not cycle.response_started)
        ):
            body = encode(Refusal(str(error), ""))
            self.transport.write(
                b"%bcontent-type: application/json\r\ncontent-length: %d\r\n"
                b"connection: close\r\n\r\n%b" % (STATUS_LINE[error.status], len(body), body)
            )
            self.transport.close()
        else:
            self.transport.abort()


def for_strangers(what: str, uid: int | None):
    """The ASGI app for a connection of another user of this machine."""
    owner = peers.name_of(os.geteuid())
    who = "nobody knows whose program" if uid is None else peers.name_of(uid)
    error = Forbidden(
        f"this {what} is {owner}'s, and you are {who}: start one of your own, on another port"
    )

    async def answer(scope, receive, send) -> None:
        call = scope["path"].strip("/")
        await refusal(error, call, {"Connection": "close"})(scope, receive, send)

    return answer
