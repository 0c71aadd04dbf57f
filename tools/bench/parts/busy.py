"""Env steps/s served to one training client at Ray 2.9.3's ratio of one update for four steps."""

from __future__ import annotations

from collections.abc import Iterator

from serving.running_server import RunningServer
from tools.bench.bench import Bench, Item, Row
from tools.bench.parts.cartpole import ray29
from tools.bench.processes import Player

MEANS = (
    "Serving must not wait for learning: a client plays while the learner is at work all the time."
)


def plan(bench: Bench) -> Iterator[Item]:
    seconds = bench.options.seconds
    yield Item("steps/s while the learner is busy", 15 + seconds, lambda: measure(bench))
    if "cartpole" not in bench.options.only and bench.peer("ray29", "ray29_cartpole.py"):
        yield Item("steps/s, Ray 2.9.3", 50, lambda: ray29(bench, max(45.0, 2 * seconds)))


def measure(bench: Bench) -> None:
    """Acting may be as many updates ahead as by default, 64."""
    with (
        RunningServer(4, 2, updates_per_step=0.25, slack=256) as server,
        Player("train") as player,
    ):
        player.play(server.address)
        bench.figures["busy"].append(bench.window(server))


def rows(figures: dict[str, list]) -> Iterator[Row]:
    (busy,) = figures["busy"]
    name, measured = (
        "served to one client, one update per four steps", f"{busy['steps_per_second']:.0f} steps/s"
    )  # fmt: skip
    peers = figures.get("ray29_cartpole")
    if not peers:
        yield Row(name, measured, "", None)
        return
    theirs = peers[0]["steps_per_second"]
    ratio = busy["steps_per_second"] / theirs
    yield Row(name, f"{measured}: {ratio:.0f} times Ray 2.9.3 ({theirs:.0f})",
              "at least 40 times", ratio >= 40)  # fmt: skip
