"""Many clients at once: steps/s for 1, 4, 16, 64 and 256 of them, acting and training, whether
every step of theirs is in the server's books, and whether all get their turn."""

from __future__ import annotations

from collections.abc import Iterator

from serving.running_server import RunningServer
from tools.bench.bench import Bench, Item, Row, wait_for_learning
from tools.bench.processes import Player

MEANS = (
    "A class at one server: whether all get their turn, and whether each step of each is in "
    "the books."
)

COUNTS = (1, 4, 16, 64, 256)
FAIR_AT = 64  # clients
MOST_UNFAIR = 1.5  # the most that one client gets, beside the least


def plan(bench: Bench) -> Iterator[Item]:
    for training in (False, True):
        for count in COUNTS:
            what = "training" if training else "acting"
            yield Item(f"{count} clients, {what}", 10 + bench.options.seconds,
                       lambda count=count, training=training: measure(bench, count, training))  # fmt: skip


def measure(bench: Bench, count: int, training: bool) -> None:
    """`steps`: of each client, by its own count; `recorded`: of all, by the server's."""
    seconds = bench.options.seconds
    with (
        RunningServer(4, 2) as server,
        Player("crowd", clients=count, seconds=seconds, training=int(training)) as crowd,
    ):
        if training:
            with Player("train") as warm:
                warm.play(server.address)
                wait_for_learning(server)
        before = server.client().status()
        crowd.play(server.address)
        found = crowd.result(seconds + 120)
        after = server.client().status()
    recorded = after.evaluation_steps - before.evaluation_steps
    if training:
        recorded = after.env_steps - before.env_steps
    bench.figures["clients"].append(
        {"clients": count, "training": training, "recorded": recorded, **found}
    )


def rows(figures: dict[str, list]) -> Iterator[Row]:
    for found in figures["clients"]:
        what = "training" if found["training"] else "acting"
        steps = found["steps"]
        yield Row(f"{found['clients']} clients, {what}",
                  f"{sum(steps) / found['seconds']:,.0f} steps/s", "", None)  # fmt: skip
        if found["clients"] >= FAIR_AT:
            lost = sum(steps) - found["recorded"]
            yield Row("... steps in the clients' books and not in the server's",
                      f"{lost} of {sum(steps):,}", "none", lost == 0)  # fmt: skip
        if found["clients"] == FAIR_AT:
            unfair = max(steps) / max(min(steps), 1)
            yield Row("... the most that a client got, beside the least", f"{unfair:.2f} times",
                      f"at most {MOST_UNFAIR}", unfair <= MOST_UNFAIR)  # fmt: skip
