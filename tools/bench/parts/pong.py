"""Pong over HTTP: how the share of points that the greedy policy wins grows over env steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from serving.running_server import RunningServer
from tools.bench.bench import Bench, Item, Row
from tools.bench.players import GAMES
from tools.bench.processes import Player

MEANS = (
    "Lesson 02: how soon the policy becomes a partner, and what it is worth after a lesson's "
    "worth of rollouts."
)

STEPS = 60_000
MOST_SECONDS = 400.0


def plan(bench: Bench) -> Iterator[Item]:
    for seed in range(bench.options.few_seeds):
        yield Item(f"Pong, seed {seed}", 60,
                   lambda seed=seed: bench.figures["pong"].append(play(seed)))  # fmt: skip


def play(seed: int) -> dict:
    """`curve`: [env steps, seconds since the server was up, share of points won]."""
    with (
        Player("pong", seed=seed, steps=STEPS) as player,
        RunningServer(8, 3, seed=seed) as server,
    ):
        started = time.monotonic()
        player.play(server.address)
        found = player.result(MOST_SECONDS)
    curve = [[steps, at - started, share] for steps, at, share in found["curve"]]
    return {"seed": seed, "games_each": found["games_each"], "curve": curve}


def rows(figures: dict[str, list]) -> Iterator[Row]:
    curves = [{steps: share for steps, _, share in run["curve"]} for run in figures["pong"]]
    for steps, wanted, which in (
        (15_000, 0.50, "median"), (30_000, 0.50, "lowest"), (60_000, 0.65, "lowest")
    ):  # fmt: skip
        shares = [curve[steps] for curve in curves]
        counts = statistics.median(shares) if which == "median" else min(shares)
        each = " ".join(f"{share:.0%}" for share in shares)
        yield Row(f"Pong, points won greedily after {steps:,} steps, {which}",
                  f"{counts:.0%} (seeds: {each})", f"at least {wanted:.0%}",
                  counts >= wanted)  # fmt: skip
    seconds = [run["curve"][-1][1] for run in figures["pong"]]
    yield Row(f"Pong, {STEPS:,} steps, slowest",
              f"{max(seconds):.0f} s (median {statistics.median(seconds):.0f} s)",
              "at most 120 s", max(seconds) <= 120)  # fmt: skip


def median_curve(pong: list[dict]) -> dict:
    """The seed that is the median after all steps, as tools/make_images.py draws it."""
    runs = sorted(pong, key=lambda run: run["curve"][-1][2])
    median = runs[len(runs) // 2]
    return {
        "run": "python serving/simple_policy_server.py --action-size=3 --observation-size=8 "
        f"--run=DQN --seed={median['seed']}",
        "measured": f"share of points in {GAMES} games, the policy frozen and greedy, the "
        "opponent at its default level",
        "seeds": len(runs),
        "random": 0.07,  # of 2,150 points
        "points": [[steps, round(share, 3)] for steps, _, share in median["curve"]],
    }
