#!/usr/bin/env python
"""Takes the pictures of the pages: images/pong.png, which lesson 02 shows; page.png, watch.png and
versions.png, of the policy server's page.

    python tools/make_screenshot.py [--steps=N] [pong] [page] [watch] [versions]

Starts a policy server, and for Pong the page's web server, on free ports, trains for N steps, and lets
Debian's Chromium watch a game. A picture of a real game is another one each time, so no test compares
it.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import io
import subprocess

import gymnasium as gym
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from serving import do_rollouts, pong_web_server
from serving.notebook.experiment import play_episode
from serving.running_server import RunningServer

IMAGES = Path(__file__).resolve().parents[1] / "images"
CHROMIUM = "/usr/bin/chromium"
SIZE = {"width": 1120, "height": 700}
SHOWN = {"width": 1120, "height": 985}  # of the policy server's page, which is longer
MOMENT = 1500  # ms of an episode that has been played back when the picture is taken
DECISIONS = 60  # that have been taken when the picture is
PATIENCE = 120_000  # ms
COLOURS = 128


def train(address: str, steps: int) -> None:
    command = [sys.executable, do_rollouts.__file__, f"--policy-server={address}", "--quiet"]
    subprocess.run([*command, f"--steps={steps}"], check=True, timeout=1800)


def photograph(page: Page) -> bytes:
    """The page in the middle of a game that it watches, with the log of decisions unfolded."""
    page.set_default_timeout(PATIENCE)
    page.click("[data-mode=demo]")
    page.uncheck("#training")
    page.evaluate("document.getElementById('log').open = true")
    page.click("#overlay-button")
    page.wait_for_function(
        "many => Number(document.getElementById('latency').dataset.decisions) > many", arg=DECISIONS
    )
    return page.screenshot(full_page=True)


def of_pong(browser: Browser, steps: int) -> dict[str, bytes]:
    """Pong's own page, and a game of it that is played back on the policy server's."""
    with RunningServer(8, 3) as policy_server:
        web_server = subprocess.Popen(
            [sys.executable, pong_web_server.__file__, "--port=0",
             f"--policy-server={policy_server.address}"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            address = web_server.stdout.readline().split()[-1]
            page = browser.new_page(viewport=SIZE, device_scale_factor=1.5)
            page.goto(address, timeout=PATIENCE)
            train(policy_server.address, steps)  # meanwhile the page's curve grows
            taken = {"pong": photograph(page)}
            page.close()
            page = open_page(browser, policy_server)
            page.click("#latest button")
            page.wait_for_timeout(MOMENT)
            return taken | {"watch": page.locator("section:has(#player)").screenshot()}
        finally:
            web_server.terminate()
            web_server.wait(20)


def of_cartpole(browser: Browser, steps: int) -> dict[str, bytes]:
    """The policy server's page while CartPole is learned, in the middle of an episode; and three
    versions of its policy side by side."""
    env = gym.make("CartPole-v1", max_episode_steps=200)
    with RunningServer(4, 2) as server:
        page = open_page(browser, server)
        client = server.client()
        while client.status().env_steps < steps:
            play_episode(env, client)
        page.click("#latest button:nth-child(2)")
        page.wait_for_timeout(MOMENT)
        taken = {"page": page.screenshot(clip={"x": 0, "y": 0, **SHOWN}, full_page=True)}
        page.click("#travel summary")
        page.wait_for_selector(".lane[data-version]")
        page.wait_for_timeout(MOMENT)
        return taken | {"versions": page.locator("#travel").screenshot()}


def open_page(browser: Browser, server: RunningServer) -> Page:
    page = browser.new_page(viewport=SIZE, device_scale_factor=1.25, color_scheme="dark")
    page.set_default_timeout(PATIENCE)
    page.goto(server.address, timeout=PATIENCE)
    return page


TAKEN = {of_pong: ("pong", "watch"), of_cartpole: ("page", "versions")}


def keep(name: str, taken: bytes) -> None:
    picture = Image.open(io.BytesIO(taken)).convert("RGB")
    file = IMAGES / f"{name}.png"
    # The default method mixes the colours of few pixels with others: an amber paddle was brown.
    few = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(file, optimize=True)
    size = f"{picture.width} x {picture.height}, {file.stat().st_size / 1000:.0f} kB"
    print(f"{file.name}: {size}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    names = [name for names in TAKEN.values() for name in names]
    parser.add_argument("which", nargs="*", choices=[*names, []], help="(all)")
    parser.add_argument("--steps", type=int, default=10_000, help="of training (%(default)s)")
    options = parser.parse_args()
    wanted = set(options.which or names)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE
        )
        for take, of in TAKEN.items():
            if wanted.isdisjoint(of):
                continue
            for name, taken in take(browser, options.steps).items():
                if name in wanted:
                    keep(name, taken)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
