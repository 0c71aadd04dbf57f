"""A student in front of JupyterLab.

Screenshots of the journeys' stations are in the folder that the environment variable
JOURNEY_SCREENSHOTS names.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kit import RunningLab
from lab_page import PATIENCE, SCREEN, JupyterLab
from playwright.sync_api import expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")


def pytest_collection_modifyitems(items) -> None:
    missing = not CHROMIUM.exists() and not os.environ.get("CI")
    for item in items:
        if missing and Path(__file__).parent in item.path.parents:
            item.add_marker(
                pytest.mark.skip(reason="Chromium is not installed: apt-get install chromium")
            )


@pytest.fixture(scope="module")
def open_lab(tmp_path_factory) -> Iterator[Callable[..., JupyterLab]]:
    """Starts `make lab` with further options, and a browser in front of it; ends all of them."""
    labs, pages, playwright = [], [], sync_playwright().start()
    expect.set_options(timeout=PATIENCE)

    def open_(*arguments, **options) -> JupyterLab:
        running = RunningLab(tmp_path_factory.mktemp("journey"), *arguments, **options)
        labs.append(running)
        if running.network.problem:
            pytest.skip(running.network.problem)
        # As root, which it is in CI's container, Chromium has no sandbox of its own.
        browser = playwright.chromium.launch(
            executable_path=running.browser(), args=["--no-sandbox"]
        )
        page = browser.new_context(viewport=SCREEN).new_page()
        pages.append(JupyterLab(page, running, os.environ.get("JOURNEY_SCREENSHOTS")))
        return pages[-1]

    try:
        yield open_
    finally:
        for lab in pages:  # shown where a test has failed
            lab.photograph("last")
            print(*lab.heard, lab.running.said[-3000:], sep="\n--\n")
        playwright.stop()
        for running in labs:
            running.close()
