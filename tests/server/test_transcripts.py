"""Transcripts as JSON in pieces: the same as in one, and nobody waits for them."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from serving.protocol import LoggedStep, TooManyEpisodes, Transcript, Transcripts
from serving.server import episode as episode_module
from serving.server import episodes, transcripts
from serving.server.episodes import EpisodeBook
from serving.server.transcripts import many_transcripts, one_transcript

SIZE = 3


@pytest.fixture
def a_book() -> EpisodeBook:
    """Episodes of every kind: none, one and many steps, logged and not, ended and open."""
    book = EpisodeBook(SIZE, 2)
    for steps in (0, 1, 7, 2_500):
        for ended in (True, False):
            name = f'{steps} "é" {ended}'
            book.start(name, training_enabled=bool(steps % 2))
            logged = [LoggedStep([i / 7, -i, 0.1], i % 2, i / 3) for i in range(steps)]
            book.record(book.find(name), None, logged)
            if ended:
                book.end(book.find(name), [1.0, 2.0, 3.0], truncated=steps == 7)
    return book


def body_of(response) -> bytes:
    async def whole() -> bytes:
        return b"".join([piece async for piece in response.body_iterator])

    return asyncio.run(whole())


@pytest.mark.parametrize("at_once", [1, 5, 10_000])
def test_pieces_make_the_whole(a_book, at_once, monkeypatch):
    """Is what comes in pieces byte for byte what would be encoded at once?"""
    monkeypatch.setattr(transcripts, "NUMBERS_AT_ONCE", at_once)
    for last in (0, 1, 3, 100):
        expected = Transcripts(a_book.latest_transcripts(last), list(a_book.rejected))
        assert body_of(many_transcripts(a_book.latest(last), a_book.rejected)) == (
            msgspec.json.encode(expected)
        )
    for episode in a_book.latest(100):
        assert body_of(one_transcript(episode)) == msgspec.json.encode(episode.transcript())


def test_an_episode_that_goes_on_meanwhile_is_told_as_it_was(a_book, monkeypatch):
    """Is a transcript whole if its episode grows, ends and is forgotten while it is being sent?"""
    monkeypatch.setattr(transcripts, "NUMBERS_AT_ONCE", 50)
    episode = a_book.find('2500 "é" False')
    expected = episode.transcript()

    async def sent() -> bytes:
        said = b""
        async for piece in one_transcript(episode).body_iterator:
            said += piece
            if not episode.ending:
                a_book.record(episode, 1.0, [LoggedStep([9.0] * SIZE, 1)])
            if len(said) > 5_000 and not episode.ending:
                a_book.end(episode, [9.0] * SIZE, truncated=True)
                del episode.observations[: 100 * SIZE]
        return said

    assert msgspec.json.decode(asyncio.run(sent()), type=Transcript) == expected


def test_nobody_waits_for_a_long_answer():
    """Is a long answer made in small pieces, and has everybody else a turn after each?"""
    book = EpisodeBook(SIZE, 2)
    for _ in range(20):
        name = book.start(None, training_enabled=False)
        for _ in range(10):
            book.record(book.find(name), None, [LoggedStep([0.1] * SIZE, 1)] * 1_000)

    async def pieces_and_turns() -> tuple[list[int], int]:
        turns, sizes = 0, []

        async def somebody_else() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(somebody_else())
        async for piece in many_transcripts(book.latest(100), []).body_iterator:
            sizes.append(len(piece))
        other.cancel()
        return sizes, turns

    sizes, turns = asyncio.run(pieces_and_turns())
    assert sum(sizes) > 10_000_000
    assert max(sizes) < 25 * transcripts.NUMBERS_AT_ONCE
    assert turns >= len(sizes)


def test_large_observations_are_kept_for_fewer_steps(monkeypatch):
    """Is what is kept of an endless episode bounded in bytes, not only in steps?"""
    monkeypatch.setattr(episode_module, "BYTES_KEPT", 4 * 1_000 * 50)
    book = EpisodeBook(1_000, 2)
    book.start("e", training_enabled=False)
    for _ in range(30):
        book.record(book.find("e"), None, [LoggedStep([0.0] * 1_000, 1)] * 10)
        assert len(book.find("e").actions) <= 110
    assert book.find("e").steps == 300


def test_transcripts_are_bounded_together(monkeypatch):
    """Do the oldest transcripts go when they are too large together, and the newest stay?"""
    monkeypatch.setattr(episodes, "TRANSCRIPT_BYTES", 4 * 1_000 * 35)
    book = EpisodeBook(1_000, 2)
    for i in range(6):
        book.start(f"{i}", training_enabled=False)
        book.record(book.find(f"{i}"), None, [LoggedStep([0.0] * 1_000, 1)] * 9)
        book.end(book.find(f"{i}"), [0.0] * 1_000, truncated=False)
    assert [episode.id for episode in book.transcripts] == ["3", "4", "5"]


def test_open_episodes_are_bounded_together(monkeypatch):
    """Is a new episode refused, with a sentence, while the open ones hold too much?"""
    monkeypatch.setattr(episodes, "MOST_OPEN_BYTES", 4 * 1_000 * 15)
    book = EpisodeBook(1_000, 2)
    for name in "ab":
        book.start(name, training_enabled=False)
        book.record(book.find(name), None, [LoggedStep([0.0] * 1_000, 1)] * 9)
    with pytest.raises(TooManyEpisodes, match="the 2 open episodes hold more than .* MiB"):
        book.start("c", training_enabled=False)
    book.end(book.find("a"), [0.0] * 1_000, truncated=False)
    book.start("c", training_enabled=False)
