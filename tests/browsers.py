"""A real browser for tests of pages: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
NEEDS_CHROMIUM = pytest.mark.skipif(
    not CHROMIUM.exists() and not os.environ.get("CI"),
    reason="Chromium is not installed: apt-get install chromium",
)
MOST_PATIENCE = 30_000  # ms; on a busy machine a page takes its time
TOUCH = {"device_scale_factor": 2, "is_mobile": True, "has_touch": True}


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    # As root, which it is in CI's container, Chromium has no sandbox of its own.
    expect.set_options(timeout=MOST_PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def pages(
    browser: Browser, request: pytest.FixtureRequest, screenshots: str, watch: Callable, **usual
) -> Iterator[Callable[..., Page]]:
    """A function that opens pages, in contexts as `usual`; at the end none of them may have complained.

    screenshots
        the environment variable that names a folder for a picture of each page
    watch
        called with a page, its address and the list of complaints, before the page is loaded
    """
    contexts, complaints = [], []

    def open_(address: str, **options) -> Page:
        context = browser.new_context(**{**usual, **options})
        context.set_default_timeout(MOST_PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if is_bad(said) else None)
        watch(page, address, complaints)
        page.goto(address)
        return page

    yield open_
    folder = os.environ.get(screenshots)
    for number, context in enumerate(contexts):
        if folder:
            name = re.sub(r"\W+", "-", request.node.name)
            context.pages[0].screenshot(path=f"{folder}/{name}-{number}.png", full_page=True)
        context.close()
    assert not complaints, complaints


def asks_nobody_else(page: Page, address: str, complaints: list[str]) -> None:
    """For `pages`: whatever is asked of another host is a complaint."""
    host = httpx.URL(address).netloc.decode()
    page.on(
        "request", lambda asked: complaints.append(asked.url) if host not in asked.url else None
    )


def is_bad(said) -> bool:
    # Chromium itself writes down every request that failed, which some tests make happen.
    return said.type == "error" and "Failed to load resource" not in said.text


def paddle_on(canvas: str) -> str:
    """JavaScript of a side, for the canvas of this selector: the middle of what is painted in that
    side's paddle's colour, in pixels of the court; null if nothing is."""
    return f"""side => {{
      const canvas = document.querySelector("{canvas}");
      const style = getComputedStyle(document.documentElement).getPropertyValue("--" + side).trim();
      const [r, g, b] = [1, 3, 5].map(i => parseInt(style.slice(i, i + 2), 16));
      const scale = canvas.width / 640;
      const x = Math.round((side === "left" ? 25 : 615) * scale);
      const pixels = canvas.getContext("2d").getImageData(x, 0, 1, canvas.height).data;
      const rows = [];
      for (let y = 0; y < canvas.height; y++) {{
        const near = (i, wanted) => Math.abs(pixels[4 * y + i] - wanted) < 8;
        if (near(0, r) && near(1, g) && near(2, b)) rows.push(y / scale);
      }}
      return rows.length ? (rows[0] + rows.at(-1)) / 2 : null;
    }}"""
