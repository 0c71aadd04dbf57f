"""What the policy server's page shows while it is open, as server-sent events.

Each message holds everything, so whoever misses one misses nothing. It is made twice a second, once
for all who listen, and not at all while nobody does.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable

import msgspec
import numpy as np

from serving.policy import Policy
from serving.protocol import Rejection, Status
from serving.server.episode import Episode
from serving.server.episodes import EpisodeBook
from serving.web.answers import encode

EVERY = 0.5  # seconds
MOST_LISTENERS = 20
MESSAGES_EACH = 600  # then a listener asks anew: a proxy may not say that its browser is gone
EPISODES_SHOWN = 12
REFUSALS_SHOWN = 6
SKETCHED = 24  # points of an episode's small curve


class Playing(msgspec.Struct):
    """An open episode; `idle` are the seconds since its player was last heard."""

    episode_id: str
    training_enabled: bool
    steps: int
    total: float
    idle: float


class Ended(msgspec.Struct):
    """An episode that has ended; `sketch` is its return so far, at places evenly along it."""

    episode_id: str
    training_enabled: bool
    steps: int
    total: float
    ending: str
    version: int
    sketch: list[float]


class Seen(msgspec.Struct):
    """A message: `history` has rows (env steps, return, mean of the latest 20, exploration, policy
    version); `best` is the highest return of a training episode; `newest` is the episode to follow."""

    status: Status
    history: list[tuple[int, float, float, float, int]]
    best: float | None
    playing: list[Playing]
    ended: list[Ended]
    refused: list[Rejection]
    newest: str | None


class Live:
    """Tells listeners how the server is doing. A listener too many takes the oldest one's place.

    acting
        the policy that answers now, which need not be the newest
    """

    def __init__(
        self, book: EpisodeBook, acting: Callable[[], Policy], status: Callable[[], Status]
    ):
        self.book, self.acting, self.status = book, acting, status
        self._listeners: dict[object, None] = {}  # the oldest first
        self._closing = asyncio.Event()
        self._coming: asyncio.Task | None = None
        self._ended: dict[str, Ended] = {}

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def close(self) -> None:
        """Ends all streams: the server stops."""
        self._closing.set()

    async def listen(self) -> AsyncIterator[bytes]:
        """Messages as they are sent, the first of them at once."""
        me = object()
        self._listeners[me] = None
        if len(self._listeners) > MOST_LISTENERS:
            del self._listeners[next(iter(self._listeners))]
        try:
            yield self._message()
            for _ in range(MESSAGES_EACH):
                message = await self._next()
                if me not in self._listeners or message is None:
                    return
                yield message
        finally:
            self._listeners.pop(me, None)

    async def _next(self) -> bytes | None:
        """The message after this one; who asks first has it made for everybody."""
        if self._coming is None or self._coming.done():
            self._coming = asyncio.create_task(self._make())
        return await asyncio.shield(self._coming)

    async def _make(self) -> bytes | None:
        try:
            await asyncio.wait_for(self._closing.wait(), EVERY)
        except TimeoutError:
            return self._message()
        return None

    def _message(self) -> bytes:
        return b"data: %b\n\n" % encode(self.seen())

    def seen(self) -> Seen:
        book, exploration, now = self.book, self.acting().exploration, time.monotonic()
        latest = list(itertools.islice(reversed(book.open.values()), EPISODES_SHOWN))
        ended = list(itertools.islice(reversed(book.transcripts), EPISODES_SHOWN))
        self._ended = {one.id: self._ended.get(one.id) or _ended(one) for one in ended}
        begun = [one for one in latest if one.actions] or ended
        return Seen(
            status=self.status(),
            history=[
                (at.env_steps, at.episode_return, at.mean, round(exploration(at.env_steps), 3),
                 at.version)
                for at in book.history.points
            ],
            best=book.history.best,
            playing=[
                Playing(one.id, one.training_enabled, one.steps, one.total,
                        round(now - one.touched, 1))
                for one in latest
            ],
            ended=list(self._ended.values()),
            refused=list(itertools.islice(reversed(book.rejected), REFUSALS_SHOWN)),
            newest=begun[0].id if begun else None,
        )  # fmt: skip


def _ended(episode: Episode) -> Ended:
    returns = np.cumsum(np.array(episode.rewards))  # (steps,)
    places = np.linspace(0, len(returns) - 1, min(len(returns), SKETCHED)).astype(int)
    return Ended(
        episode_id=episode.id,
        training_enabled=episode.training_enabled,
        steps=episode.steps,
        total=round(episode.total, 3),
        ending=episode.ending,
        version=episode.versions[-1] if episode.versions else 0,
        sketch=[round(float(returns[place]), 3) for place in places],
    )
