"""TensorBoard's file: read by TensorBoard itself, and no reason to stop learning."""

from __future__ import annotations

import os
import resource
import time

import pytest

from serving.learner import events
from serving.learner.events import Events


def read(folder) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard finds there."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return {
        name: [(scalar.step, scalar.value) for scalar in found.Scalars(name)]
        for name in found.Tags()["scalars"]
    }


def test_tensorboard_reads_it(tmp_path):
    """Does TensorBoard find every number, over its step?"""
    written = Events(tmp_path / "logs")
    for step in range(100):
        written.add_scalar("learning/loss", step / 4, step)
        written.add_scalar("episode/return", -step, step * 2)
    written.close()
    assert read(tmp_path / "logs") == {
        "learning/loss": [(step, step / 4) for step in range(100)],
        "episode/return": [(step * 2, -step) for step in range(100)],
    }


def test_it_is_there_while_it_is_written(tmp_path, monkeypatch):
    """Can a curve be watched that has not ended?"""
    monkeypatch.setattr(events, "FLUSH_EVERY", 0.0)
    written = Events(tmp_path)
    written.add_scalar("a", 1.0, 1)
    written.add_scalar("a", 2.0, 2)
    assert read(tmp_path)["a"] == [(1, 1.0), (2, 2.0)]
    written.close()


def test_a_clock_that_jumps_back(tmp_path, monkeypatch):
    """Does a number come to the file at once, whatever the clock says?"""
    written, began = Events(tmp_path), time.monotonic()
    for step, year in enumerate((0, 1, -1, 0)):
        monkeypatch.setattr(events.time, "time", lambda y=year: 1.8e9 + y * 3.15e7)
        written.add_scalar("a", 0.0, step)
    written.close()
    assert time.monotonic() - began < 5
    assert sum(path.stat().st_size > 100 for path in tmp_path.iterdir()) == 1


@pytest.fixture
def no_room(monkeypatch):
    """Files of this process cannot grow beyond a kilobyte; returns what gives the room back."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    give_back = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)  # noqa: E731
    yield give_back
    give_back()


def test_a_full_disk(tmp_path, monkeypatch, capfd, no_room):
    """Is a full disk said once, and are there curves again when there is room?"""
    monkeypatch.setattr(events, "FLUSH_EVERY", 0.0)
    monkeypatch.setattr(events, "TRY_AGAIN_AFTER", 0.2)
    written = Events(tmp_path)
    for step in range(200):
        written.add_scalar("a", 1.0, step)
    no_room()
    time.sleep(0.3)
    written.add_scalar("a", 2.0, 1_000)
    written.close()
    assert capfd.readouterr().err.count("no curves for TensorBoard") == 1
    newest = max(tmp_path.iterdir(), key=lambda path: int(path.name.rpartition(".")[2]))
    os.rename(newest, tmp_path / "again")
    (tmp_path / "last").mkdir()
    os.rename(tmp_path / "again", tmp_path / "last" / newest.name)
    assert (1_000, 2.0) in read(tmp_path / "last")["a"]
