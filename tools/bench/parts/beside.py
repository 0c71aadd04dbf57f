"""An evaluation client, which nothing paces, beside one that trains; and a bare echo, the ceiling."""

from __future__ import annotations

from collections.abc import Iterator

from serving.running_server import RunningServer
from tools.bench.bench import Bench, Item, Row, wait_for_learning
from tools.bench.processes import Player, a_free_port, wait_for_port

MEANS = (
    "Somebody who evaluates beside somebody who trains. The bare echo answers every request "
    "with nothing: no policy server in Python can be faster."
)


def plan(bench: Bench) -> Iterator[Item]:
    seconds = bench.options.seconds
    yield Item("evaluation beside training", 15 + seconds, lambda: measure(bench))
    if bench.peer("echo", "http_echo.py"):
        yield Item("bare echo", 2 + seconds / 2, lambda: echo(bench))


def measure(bench: Bench) -> None:
    seconds = bench.options.seconds
    with (
        RunningServer(4, 2) as server,
        Player("train") as trainer,
        Player("evaluate", seconds=seconds) as evaluator,
    ):
        trainer.play(server.address)
        wait_for_learning(server)
        evaluator.play(server.address)
        found = bench.window(server)
        found.update(evaluator.result(seconds + 30))
        bench.figures["beside"].append(found)


def echo(bench: Bench) -> None:
    port = a_free_port()
    with (
        bench.peer_process("echo", "http_echo.py", "serve", port) as process,
        Player("echo", seconds=bench.options.seconds / 2) as player,
    ):
        wait_for_port(port, process)
        player.play(f"http://127.0.0.1:{port}")
        bench.figures["echo"].append(player.result(bench.options.seconds + 30))


def rows(figures: dict[str, list]) -> Iterator[Row]:
    (beside,) = figures["beside"]
    measured = f"{beside['per_second']:.0f} steps/s"
    name = "evaluation client beside a training client"
    if not figures.get("echo"):
        yield Row(name, measured, "", None)
    else:
        ceiling = figures["echo"][0]["per_second"]
        ratio = beside["per_second"] / ceiling
        yield Row(name, f"{measured}: {ratio:.2f} of the bare echo ({ceiling:.0f}/s)",
                  "at least 0.50", ratio >= 0.5)  # fmt: skip
    yield Row("... and the training client beside it", f"{beside['steps_per_second']:.0f} steps/s",
              "", None)  # fmt: skip
    yield Row("... get_action while the learner is busy, p99",
              f"{beside['p99_ms']:.2f} ms (p50 {beside['p50_ms']:.2f} ms)",
              "at most 3 ms", beside["p99_ms"] <= 3)  # fmt: skip
