"""Transcripts as JSON, a piece at a time: an answer of a hundred megabytes holds up no player."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator

from starlette.responses import StreamingResponse

from serving.protocol import Rejection
from serving.server.episode import Episode
from serving.web.answers import encode

NUMBERS_AT_ONCE = 10_000  # about a millisecond's work


def one_transcript(episode: Episode, since: int = 0) -> StreamingResponse:
    """The answer that `encode(episode.transcript())` would be, without the steps before `since`."""
    return StreamingResponse(_politely(_transcript(episode, since)), media_type="application/json")


def many_transcripts(
    episodes: Iterable[Episode], rejected: Iterable[Rejection]
) -> StreamingResponse:
    """The same of `protocol.Transcripts`."""
    pieces = _transcripts(list(episodes), list(rejected))
    return StreamingResponse(_politely(pieces), media_type="application/json")


async def _politely(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)  # everybody else's turn


def _transcripts(episodes: list[Episode], rejected: list[Rejection]) -> Iterator[bytes]:
    yield b'{"episodes":['
    for i, episode in enumerate(episodes):
        if i:
            yield b","
        yield from _transcript(episode)
    yield b'],"rejected":' + encode(rejected) + b"}"


def _transcript(episode: Episode, since: int = 0) -> Iterator[bytes]:
    now = episode.copy()  # it may be played on meanwhile
    now.forget(since - now.dropped)
    steps, size = len(now.actions), now.size
    rows = len(now.observations) // size
    yield b'{"episode_id":%b,"training_enabled":%b,"observations":' % (
        encode(now.id),
        encode(now.training_enabled),
    )
    columns = {
        b"actions": lambda i, j: now.actions[i:j].tolist(),
        b"rewards": lambda i, j: now.rewards[i:j].tolist(),
        b"sources": lambda i, j: ["log" if logged else "policy" for logged in now.logged[i:j]],
        b"policy_versions": lambda i, j: now.versions[i:j].tolist(),
        b"seconds": lambda i, j: [round(second, 4) for second in now.seconds[i:j]],
    }
    yield from _list(rows, max(1, NUMBERS_AT_ONCE // size), now.observed)
    for name, column in columns.items():
        yield b',"%b":' % name
        yield from _list(steps, NUMBERS_AT_ONCE, column)
    yield b',"ending":%b,"dropped_steps":%d}' % (encode(now.ending), now.dropped)


def _list(length: int, at_once: int, part: Callable[[int, int], list]) -> Iterator[bytes]:
    """A JSON array of what `part(i, j)` says its entries i to j - 1 are."""
    yield b"["
    for i in range(0, length, at_once):
        yield (b"," if i else b"") + encode(part(i, min(i + at_once, length)))[1:-1]
    yield b"]"
