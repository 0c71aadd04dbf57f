"""Games of Pong from Ray workers: two of them beside one."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

from serving import ROOT
from serving.running_server import RunningServer
from tools.bench.bench import Bench, Item, Row, wait_for_learner

MEANS = "Lesson 02: what a second worker is worth on two cores."

COMMAND = ROOT / "serving" / "do_rollouts.py"


def plan(bench: Bench) -> Iterator[Item]:
    yield Item("rollouts from one and two workers", 90,
               lambda: bench.figures["rollouts"].append(best_rates()))  # fmt: skip


def best_rates() -> dict[str, float]:
    """Steps/s of evaluation games by number of workers, the learner idle; the best of two runs."""
    rates: dict[str, float] = {}
    with RunningServer(8, 3) as server:
        wait_for_learner(server)
        for workers in (1, 2, 1, 2):
            done = subprocess.run(
                [sys.executable, COMMAND, f"--policy-server={server.address}", "--games=150",
                 "--no-train", "--quiet", f"--num-workers={workers}"],
                stdout=subprocess.PIPE, text=True, timeout=300, check=True,
            )  # fmt: skip
            rate = float(re.search(r"\(([\d,]+) steps/s\)", done.stdout)[1].replace(",", ""))
            rates[str(workers)] = max(rate, rates.get(str(workers), 0.0))
    return rates


def rows(figures: dict[str, list]) -> Iterator[Row]:
    (rates,) = figures["rollouts"]
    one, two = rates["1"], rates["2"]
    yield Row("rollouts from two Ray workers beside one",
              f"{two / one:.2f} times ({two:,.0f} and {one:,.0f} steps/s)",
              "more than 1", two > one)  # fmt: skip
