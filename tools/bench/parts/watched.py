"""A training client with the policy server's page open in two browsers, and without."""

from __future__ import annotations

import contextlib
import os
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
ELSEWHERE = ", which have a core of their own"  # as where the server runs on another machine
BROWSERS = 2
TURNS = 3
OPENING = 5  # seconds until a page has opened: what is measured is one that is open


def plan(bench: Bench) -> Iterator[Item]:
    if not Path(CHROMIUM).exists():
        bench.skipped.append(f"not measured with the page open: there is no {CHROMIUM}")
        return
    seconds = 20 + 2 * TURNS * (bench.options.seconds + 4) + TURNS * OPENING
    yield Item("training with the page open", seconds, lambda: measure(bench, apart=False))
    if len(cores()) > 1:
        name = "training with the page open, browsers apart"
        yield Item(name, seconds, lambda: measure(bench, apart=True))


def cores() -> set[int]:
    """Those that may be given to processes, where the system lets us choose (Linux)."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


@contextlib.contextmanager
def on(chosen: set[int]) -> Iterator[None]:
    """What is started meanwhile, and what that starts, has these cores."""
    before = cores()
    if chosen:
        os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        if chosen:
            os.sched_setaffinity(0, before)


def measure(bench: Bench, apart: bool) -> None:
    """Windows in turn. `apart`: all the browsers have one core, and all that learns has the others."""
    theirs = {max(cores())} if apart else set()
    ours = cores() - theirs if apart else set()
    with contextlib.ExitStack() as stack:
        with on(theirs):
            playwright = stack.enter_context(sync_playwright())  # which starts the browsers
        stack.enter_context(on(ours))
        server = stack.enter_context(RunningServer(4, 2))
        with Player("train") as warm:
            warm.play(server.address)
            wait_for_learning(server)
        for _ in range(TURNS):
            for browsers in (0, BROWSERS):
                with looking(playwright, server, browsers):
                    found = {"browsers": browsers, "apart": apart, **trained(bench, server)}
                bench.figures["watched"].append(found)


@contextlib.contextmanager
def looking(playwright, server: RunningServer, browsers: int) -> Iterator[None]:
    """Browsers that have the page open, and follow what is played."""
    with contextlib.ExitStack() as stack:
        for _ in range(browsers):
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            stack.callback(browser.close)
            page = browser.new_page()
            page.goto(server.address)
            page.wait_for_selector("#player[data-step]")
        if browsers:
            page.wait_for_timeout(1000 * OPENING)
        yield


def trained(bench: Bench, server: RunningServer) -> dict[str, float]:
    """A client that trains for so many seconds: its steps/s, and how long get_action took."""
    seconds = bench.options.seconds
    with Player("evaluate", seconds=seconds, training=1) as player:
        player.play(server.address)
        return player.result(seconds + 60)


def rows(figures: dict[str, list]) -> Iterator[Row]:
    for apart, where in ((False, ""), (True, ELSEWHERE)):
        turns = [turn for turn in figures["watched"] if turn.get("apart", False) is apart]
        if turns:
            yield from rows_of(turns, where)


def rows_of(turns: list[dict], where: str) -> Iterator[Row]:
    def mean(name: str, browsers: int) -> float:
        found = [turn[name] for turn in turns if turn["browsers"] == browsers]
        return sum(found) / len(found)

    bare, watched = mean("per_second", 0), mean("per_second", BROWSERS)
    yield Row(f"a training client with the page open in {BROWSERS} browsers{where}",
              f"{watched:.0f} steps/s: {watched / bare:.2f} of those without ({bare:.0f})",
              "at least 0.95", watched / bare >= 0.95)  # fmt: skip
    bare, watched = mean("p99_ms", 0), mean("p99_ms", BROWSERS)
    yield Row("... its get_action, p99", f"{watched:.2f} ms (without {bare:.2f} ms)", "", None)
