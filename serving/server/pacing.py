"""Who may go on at once, and who waits for the learner.

A policy can act ten times faster than it can be taught. Unpaced, what is learned from is full of
games of a policy that is out of date, and runs collapse. So training episodes wait once acting is
more than a slack ahead of learning; how far it may get is the learner's to say (`Report.allowed`).
Evaluation never waits, and logged steps only when no more of them can be kept.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from serving.protocol import Disconnected, ServerUnreachable, Waiting
from serving.server.episode import Episode
from serving.server.episodes import EpisodeBook
from serving.server.supervisor import LearnerSupervisor

MOST_STEPS_KEPT = 500_000  # waiting for the learner, or for its next checkpoint
MOST_BYTES_KEPT = 2**29
LEISURE = 0.02  # seconds between an answer and the next request: a person's game, no program's


class Caller:
    """The other end of one request.

    receive
        ASGI's, after the whole body has come: what comes next is that the connection has closed.
    digest
        of the body: the very same message has the same one
    """

    __slots__ = ("digest", "receive")

    def __init__(self, receive, body: bytes):
        self.receive = receive
        self.digest = hash(body)

    async def has_left(self) -> None:
        """Returns when the connection closes."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


class Pacing:
    def __init__(self, book: EpisodeBook, learner: LearnerSupervisor):
        self.book = book
        self.learner = learner
        self.waiting_clients = 0
        self._waiting: list[asyncio.Future] = []
        learner.on_change = self.wake

    def may_act(self, episode: Episode) -> bool:
        """Whether the policy may take another step of the episode now.

        A player who pauses between steps may run ahead by a second slack, so that a person at a
        game need not queue behind rollouts, which use up the first.
        """
        if not episode.training_enabled:
            return True
        ahead = self.learner.slack if episode.pause() > LEISURE else 0
        in_time = self.book.acted < self.learner.allowed + ahead or self.learner.nobody_learns
        return in_time and self.has_room()

    def may_log(self, episode: Episode) -> bool:
        """Whether steps somebody else took can be kept now."""
        return not episode.training_enabled or self.has_room()

    def has_room(self) -> bool:
        """Whether more experience can be kept without losing any."""
        untaken, size = self.book.untaken, 4 * self.book.observation_size
        return (
            self.learner.steps_kept + untaken < MOST_STEPS_KEPT
            and self.learner.bytes_kept + untaken * size < MOST_BYTES_KEPT
        )

    async def wait(
        self,
        episode: Episode,
        may_go_on: Callable[[Episode], bool],
        patience: float,
        caller: Caller,
    ) -> Waiting | None:
        """Waits until the episode may go on; after `patience` seconds returns the answer that says
        what for. Raises Disconnected as soon as the caller has left."""
        if self.learner.state == "failed" and not self.has_room():
            raise ServerUnreachable(
                "nothing learns any more, and no more experience can be kept: " + self.learner.why
            )
        deadline = time.monotonic() + patience
        gone = asyncio.ensure_future(caller.has_left())
        self.waiting_clients += 1
        episode.touched = math.inf  # who waits is not absent
        try:
            while not may_go_on(episode):
                left = deadline - time.monotonic()
                if left <= 0:
                    return Waiting(self.waiting_for())
                # A second at most: silence of the learner makes no change.
                await self._change(min(left, 1.0), gone)
                if gone.done():
                    raise Disconnected("the connection closed while the message waited")
            return None
        finally:
            self.waiting_clients -= 1
            episode.touched = time.monotonic()
            gone.cancel()

    def wake(self) -> None:
        """Lets those who wait look again, in the order in which they came."""
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            if not change.done():
                change.set_result(None)

    def waiting_for(self) -> str:
        """What a waiting player waits for, in words."""
        learner = self.learner
        if learner.state in ("starting", "restarting"):
            return f"the learner to start ({learner.why})"
        if not self.has_room():
            return f"the learner to take over {learner.steps_kept} steps"
        if learner.why:
            return f"the learner ({learner.why})"
        return (
            f"the learner to catch up: it is {learner.steps_waiting} steps behind, "
            f"at {learner.updates_per_second:.0f} updates/s"
        )

    async def _change(self, seconds: float, gone: asyncio.Future) -> None:
        change = asyncio.get_running_loop().create_future()
        self._waiting.append(change)
        try:
            await asyncio.wait([change, gone], timeout=seconds, return_when="FIRST_COMPLETED")
        finally:
            if not change.done():
                change.cancel()
                self._waiting.remove(change)
