"""The Pong page in a browser: how long a decision takes, there and back, while the policy learns."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import sync_playwright

from serving import ROOT
from serving.running_server import RunningServer
from tools.bench.bench import Bench, Item, Row, wait_for_learning
from tools.bench.parts.rollouts import COMMAND as ROLLOUTS

MEANS = "Whether the policy's paddle reacts as one watches: there are 50 ms between two decisions."

WEB_SERVER = ROOT / "serving" / "pong_web_server.py"
CHROMIUM = "/usr/bin/chromium"


def plan(bench: Bench) -> Iterator[Item]:
    if Path(CHROMIUM).exists():
        yield Item("Pong in the browser", 25 + 2 * bench.options.seconds, lambda: measure(bench))
    else:
        bench.skipped.append(f"not measured in a browser: there is no {CHROMIUM}")


def measure(bench: Bench) -> None:
    """Decisions, asked over HTTP: while rollouts keep the server busy, and while it learns from this
    game alone."""
    with RunningServer(8, 3) as server, contextlib.ExitStack() as stack:
        web_server = stack.enter_context(
            subprocess.Popen(
                [sys.executable, WEB_SERVER, "--port=0", f"--policy-server={server.address}"],
                stdout=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        stack.callback(web_server.terminate)
        address = web_server.stdout.readline().split()[-1]
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        stack.callback(browser.close)
        with rollouts(server):
            beside = decisions(browser, address, bench.options.seconds)
        alone = decisions(browser, address, bench.options.seconds)
    bench.figures["page"] += [
        {"what": "rollouts beside", **beside}, {"what": "this game alone", **alone}
    ]  # fmt: skip


@contextlib.contextmanager
def rollouts(server: RunningServer) -> Iterator[None]:
    """Rollouts for as long as the block lasts, which begins when the learner is busy with them."""
    process = subprocess.Popen(
        [sys.executable, ROLLOUTS, f"--policy-server={server.address}", "--quiet"]
    )
    try:
        wait_for_learning(server)
        yield
    finally:
        process.kill()
        process.wait()


def decisions(browser, address: str, seconds: float) -> dict[str, float]:
    """What the page says of its decisions after so many seconds of a game that trains the policy."""
    page = browser.new_page()
    page.goto(address)
    page.click("[data-mode=demo]")
    page.check("#training")
    page.click("#overlay-button")
    page.wait_for_timeout(1000 * seconds)
    found = page.evaluate("({...document.getElementById('latency').dataset})")
    page.close()
    return {name: float(value) for name, value in found.items() if value}


def rows(figures: dict[str, list]) -> Iterator[Row]:
    for page in figures["page"]:
        yield Row(f"browser decision, there and back, learning, {page['what']}: p99",
                  f"{page['p99']:.1f} ms (p50 {page['p50']:.1f} ms, {page['fps']:.0f} frames/s)",
                  "at most 20 ms", page["p99"] <= 20)  # fmt: skip
