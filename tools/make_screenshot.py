#!/usr/bin/env python
"""Takes the picture of the Pong page that lesson 02 shows: images/pong.png.

    python tools/make_screenshot.py [--steps=N] [FILE]

Starts a policy server and the page's web server on free ports, trains for N steps, and lets Debian's
Chromium watch a game. A picture of a real game is another one each time, so no test compares it.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import io
import subprocess

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from serving import do_rollouts, pong_web_server
from serving.running_server import RunningServer

PICTURE = Path(__file__).resolve().parents[1] / "images" / "pong.png"
CHROMIUM = "/usr/bin/chromium"
SIZE = {"width": 1120, "height": 700}
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", nargs="?", type=Path, default=PICTURE, metavar="FILE")
    parser.add_argument("--steps", type=int, default=10_000, help="of training (%(default)s)")
    options = parser.parse_args()
    with RunningServer(8, 3) as policy_server:
        web_server = subprocess.Popen(
            [sys.executable, pong_web_server.__file__, "--port=0",
             f"--policy-server={policy_server.address}"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            address = web_server.stdout.readline().split()[-1]
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE
                )
                page = browser.new_page(viewport=SIZE, device_scale_factor=1.5)
                page.goto(address, timeout=PATIENCE)
                train(policy_server.address, options.steps)  # meanwhile the page's curve grows
                picture = Image.open(io.BytesIO(photograph(page))).convert("RGB")
                browser.close()
        finally:
            web_server.terminate()
            web_server.wait(20)
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(options.file, optimize=True)
    print(f"{options.file.name}: {picture.width} x {picture.height}, "
          f"{options.file.stat().st_size / 1000:.0f} kB")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
