"""How long somebody waits after the command: until an action comes, and until the learner learns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from serving.running_server import RunningServer
from tools.bench.bench import Bench, Item, Row, wait_for_learner

MEANS = (
    "The time from typing the command to the first answer, and to a learner that learns from it."
)


def plan(bench: Bench) -> Iterator[Item]:
    for i in range(bench.options.starts):
        name = f"cold start {i + 1} of {bench.options.starts}"
        yield Item(name, 6, lambda: bench.figures["start"].append(a_start()))


def a_start() -> dict[str, float]:
    """Seconds from the command to the answer of a training episode's first get_action, and to a
    learner that is ready."""
    started = time.perf_counter()
    with RunningServer(4, 2) as server:
        client = server.client()
        client.get_action(client.start_episode(), [0.0, 0.0, 0.0, 0.0])
        acted = time.perf_counter() - started
        wait_for_learner(server)
        return {"first_action": acted, "learner": time.perf_counter() - started}


def rows(figures: dict[str, list]) -> Iterator[Row]:
    for name, what, most in (
        ("first_action", "first action after the command, median", 1.0),
        ("learner", "learner ready after the command, median", 3.0),
    ):
        seconds = [start[name] for start in figures["start"]]
        median = statistics.median(seconds)
        yield Row(what, f"{median:.2f} s (worst {max(seconds):.2f} s)", f"at most {most} s",
                  median <= most)  # fmt: skip
