"""A training client with the policy server's page open in two browsers, and without."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import sync_playwright

from serving.running_server import RunningServer
from tools.bench.bench import Bench, Item, Row, wait_for_learning
from tools.bench.parts.page import CHROMIUM
from tools.bench.processes import Player

MEANS = (
    "Whether looking costs anything: the page's browsers run on the same cores here, as a student's "
    "does. Windows with and without them take turns, so that neither has the older policy."
)
BROWSERS = 2
TURNS = 3


def plan(bench: Bench) -> Iterator[Item]:
    if Path(CHROMIUM).exists():
        seconds = 20 + 2 * TURNS * (bench.options.seconds + 4)
        yield Item("training with the page open", seconds, lambda: measure(bench))
    else:
        bench.skipped.append(f"not measured with the page open: there is no {CHROMIUM}")


def measure(bench: Bench) -> None:
    with RunningServer(4, 2) as server, sync_playwright() as playwright:
        with Player("train") as warm:
            warm.play(server.address)
            wait_for_learning(server)
        for _ in range(TURNS):
            bench.figures["watched"].append({"browsers": 0, **trained(bench, server)})
            with contextlib.ExitStack() as stack:
                for _ in range(BROWSERS):
                    browser = playwright.chromium.launch(
                        executable_path=CHROMIUM, args=["--no-sandbox"]
                    )
                    stack.callback(browser.close)
                    page = browser.new_page()
                    page.goto(server.address)
                    page.wait_for_selector("#player[data-step]")
                found = {"browsers": BROWSERS, **trained(bench, server)}
            bench.figures["watched"].append(found)


def trained(bench: Bench, server: RunningServer) -> dict[str, float]:
    """A client that trains for so many seconds: its steps/s, and how long get_action took."""
    seconds = bench.options.seconds
    with Player("evaluate", seconds=seconds, training=1) as player:
        player.play(server.address)
        return player.result(seconds + 60)


def rows(figures: dict[str, list]) -> Iterator[Row]:
    def mean(name: str, browsers: int) -> float:
        found = [turn[name] for turn in figures["watched"] if turn["browsers"] == browsers]
        return sum(found) / len(found)

    bare, watched = mean("per_second", 0), mean("per_second", BROWSERS)
    yield Row(f"a training client with the page open in {BROWSERS} browsers",
              f"{watched:.0f} steps/s: {watched / bare:.2f} of those without ({bare:.0f})",
              "at least 0.95", watched / bare >= 0.95)  # fmt: skip
    bare, watched = mean("p99_ms", 0), mean("p99_ms", BROWSERS)
    yield Row("... its get_action, p99", f"{watched:.2f} ms (without {bare:.2f} ms)", "", None)
