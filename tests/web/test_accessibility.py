"""The pages as axe-core sees them: names, roles, contrast. https://github.com/dequelabs/axe-core"""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsers import NEEDS_CHROMIUM, chromium
from web_server import WebServer

from serving.running_server import RunningServer

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def a_server():
    with RunningServer(4, 2, learner=False) as server:
        client = server.client()
        for length in (3, 5):
            episode_id = client.start_episode()
            for step in range(length):
                client.get_action(episode_id, [step / 10, 0, 0, 0])
                client.log_returns(episode_id, 1.0)
            client.end_episode(episode_id, [0, 0, 0, 0])
        with pytest.raises(ValueError, match="observation has 1"):
            client.get_action(client.start_episode(), [1])
        yield server


@pytest.fixture(scope="module")
def the_addresses(a_server):
    """Of the policy server's page and of Pong's, which says that it misses its policy server."""
    pong = WebServer(a_server.address)
    try:
        pong.says("Pong needs")
        yield {"policy server": a_server.address, "pong": pong.address}
    finally:
        pong.stop()


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("page_of", ["policy server", "pong"])
def test_axe_finds_nothing_serious(the_addresses, page_of, scheme):
    """Is there nothing that keeps somebody from using the page, in either colour scheme?"""
    with chromium() as browser:
        page = browser.new_page(color_scheme=scheme, reduced_motion="reduce")
        page.goto(the_addresses[page_of])
        page.locator("#player[data-step], #problem:not([hidden])").first.wait_for()
        if page_of == "policy server":
            page.locator("#travel summary").click()
            page.wait_for_selector(".lane[data-version]")
        found = Axe().run(page).response["violations"]
    serious = {
        one["id"]: [node["html"][:120] for node in one["nodes"]]
        for one in found
        if one["impact"] in ("serious", "critical")
    }
    assert serious == {}
