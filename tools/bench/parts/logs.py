"""What a policy becomes that only learns from a log, replayed into a fresh server."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from serving.evaluation import frozen_policy
from serving.running_server import RunningServer
from tools.bench.bench import (
    LARGE,
    SMALL,
    Bench,
    Item,
    Row,
    points_row,
    share_of_points,
    wait_for_learner,
)
from tools.bench.players import play_pong
from tools.bench.processes import Player

MEANS = "Lesson 03: a policy that never played becomes better than those it watched."

MOST_SECONDS = 900.0  # of catching up
GAMES = 20  # a policy is judged by


def plan(bench: Bench) -> Iterator[Item]:
    for log, seconds in ((SMALL, 15), (LARGE, 70)):
        for seed in range(bench.options.few_seeds):
            yield Item(f"learn from {log.name}, seed {seed}", seconds,
                       lambda log=log, seed=seed: bench.figures["logs"].append(learn(log, seed)))  # fmt: skip


def learn(log: Path, seed: int) -> dict:
    """Replays the log and lets the learner catch up; then the frozen policy, greedily, beside the
    one that knew nothing and the players of the log."""
    with RunningServer(8, 3, seed=seed) as server, Player("replay", log=log) as replayer:
        wait_for_learner(server)
        untrained = frozen_policy(server.client())
        started = time.monotonic()
        replayer.play(server.address)
        found = replayer.result(600)
        server.wait_until(
            lambda status: (status.logged_steps, status.steps_waiting) == (found["steps"], 0),
            MOST_SECONDS, "learning to catch up",
        )  # fmt: skip
        seconds = time.monotonic() - started
        policy = frozen_policy(server.client())
    return {
        "log": log.name, "seed": seed, "seconds": seconds, **play_pong(policy, GAMES, 10_000),
        "untrained": play_pong(untrained, GAMES, 10_000), "behaviour": share_of_points(log),
    }  # fmt: skip


def rows(figures: dict[str, list]) -> Iterator[Row]:
    large = [run for run in figures["logs"] if run["log"] == LARGE.name]
    small = [run for run in figures["logs"] if run["log"] == SMALL.name]
    if large:
        yield points_row(f"points won after {LARGE.name}, greedily, {len(large)} seeds", large)
        seconds = statistics.median(run["seconds"] for run in large)
        yield Row("... replayed and learned from, median", f"{seconds:.0f} s", "", None)
    if small:
        times = [run["returned"] / max(run["untrained"]["returned"], 1e-3) for run in small]
        yield Row(f"balls returned after {SMALL.name}, beside an untrained policy",
                  f"{min(times):.1f} to {max(times):.1f} times", "at least 2 times",
                  min(times) >= 2)  # fmt: skip
