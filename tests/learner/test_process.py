"""The learner process: what it tells the policy server while something takes long."""

from __future__ import annotations

import time

import pytest

from serving.learner import process
from serving.link import Progress


class Listener:
    """What a learner process tells its server."""

    def __init__(self):
        self.heard: list = []

    def tell(self, message) -> None:
        self.heard.append(message)


@pytest.fixture
def a_listener(monkeypatch):
    monkeypatch.setattr(process, "SIGN_EVERY", 0.02)
    return Listener()


def wait_until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_long_save_gives_signs_of_life(a_listener):
    """Does the server hear again and again what takes so long, and nothing more at its end?"""
    with process.signs_of_life(a_listener, "saving"):
        wait_until(lambda: len(a_listener.heard) >= 3)
    assert set(map(repr, a_listener.heard)) == {repr(Progress("saving"))}
    time.sleep(0.1)
    heard = len(a_listener.heard)
    time.sleep(0.2)
    assert len(a_listener.heard) == heard


def test_a_save_that_hangs_is_found_out(a_listener, monkeypatch):
    """Does a save that never ends fall silent at last?"""
    monkeypatch.setattr(process, "MOST_PATIENCE", 0.1)
    with process.signs_of_life(a_listener, "saving"):
        time.sleep(0.5)
        heard = len(a_listener.heard)
        time.sleep(0.3)
        assert len(a_listener.heard) == heard


def test_an_error_ends_the_signs(a_listener):
    """Does a save that fails stop telling that it goes on?"""
    with pytest.raises(OSError), process.signs_of_life(a_listener, "saving"):
        raise OSError("disk full")
    time.sleep(0.1)
    heard = len(a_listener.heard)
    time.sleep(0.2)
    assert len(a_listener.heard) == heard
