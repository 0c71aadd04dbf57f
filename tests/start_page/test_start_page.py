"""The page My lessons, in a real browser: progress, a fresh lesson, one's own policy server.

Screenshots of every run are in the folder that the environment variable PAGE_SCREENSHOTS names.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from browsers import NEEDS_CHROMIUM, TOUCH, asks_nobody_else, pages
from clones import commit, copy_kit
from leftovers import free_port
from players import play_steps
from playwright.sync_api import Page, expect

from serving import ROOT, checkpoints
from serving.client import PolicyClient
from serving.command_line import flags
from serving.running_server import RunningServer
from serving.start_page.desk import SERVERS

FIRST = "01-serve-and-learn"
DESKTOP = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"}
PHONE = {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", **TOUCH}
SAVES = 60_000  # ms; a learner that is just starting has to be up before it can save


class StartPage:
    """A real process of the page, in a kit of its own."""

    def __init__(self, kit, policy_server_port: int, token: str | None = None):
        command = [sys.executable, "-m", "serving.start_page", "--port=0",
                   f"--policy-server-port={policy_server_port}"]  # fmt: skip
        self.kit, self.port = kit, policy_server_port
        self.process = subprocess.Popen(
            command, cwd=kit, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **({"START_PAGE_TOKEN": token} if token else {})},
        )  # fmt: skip
        self.address = self.process.stdout.readline().split()[-1]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)
        self.process.stdout.close()


@pytest.fixture
def open_page(a_browser, request):
    """Opens pages; none of them may complain, or ask another host for anything."""
    with pages(a_browser, request, "PAGE_SCREENSHOTS", asks_nobody_else, **DESKTOP) as open_:
        yield open_


@pytest.fixture(scope="module")
def a_kit(tmp_path_factory):
    """A clone, in which a part of lesson 1 was checked."""
    kit = commit(copy_kit(tmp_path_factory.mktemp("start") / "kit"))
    kept = {"a": {"check": "check_run_one_episode", "right": list("abc"), "of": 6,
                  "checked": "2030-01-02 10:00"}}  # fmt: skip
    (kit / "lessons" / FIRST / ".progress.json").write_text(json.dumps(kept))
    return kit


@pytest.fixture(scope="module")
def a_start_page(a_kit):
    page = StartPage(a_kit, free_port())
    try:
        yield page
    finally:
        page.stop()


def card(page: Page, lesson: str):
    return page.locator(f"[data-lesson='{lesson}']")


def press(page: Page, name: str) -> None:
    """A button, by keyboard."""
    button = page.get_by_role("button", name=name, exact=True)
    expect(button).to_be_enabled(timeout=SAVES)
    button.focus()
    page.keyboard.press("Enter")


def test_each_server_is_the_one_that_its_lesson_asks_for():
    """Do the servers have the options that the lessons' own text and connect() have?"""
    for lesson, options in SERVERS.items():
        cells = json.loads((ROOT / f"solutions/{lesson}/{lesson}.ipynb").read_text())["cells"]
        said = "\n".join("".join(cell["source"]) for cell in cells)
        words, asked = re.split(r'["\\\s]+', said), set(flags(**options))
        commands = [set(words[at : at + len(asked)]) for at in range(len(words))]
        assert asked in commands, lesson


@NEEDS_CHROMIUM
def test_it_says_how_far_one_is(a_start_page, open_page):
    """Are the lessons there, in order, with what was right when it was checked and the points?"""
    page = open_page(a_start_page.address)
    expect(page.locator(".lesson")).to_have_count(5)
    expect(card(page, FIRST)).to_contain_text("3 of 6 checked are right, about 9 of 22 points")
    expect(card(page, "02-pong")).to_contain_text("Not checked yet; 22 points")
    expect(page.locator("#pill")).to_have_text("no policy server runs")
    expect(card(page, "05-your-own-environment").get_by_text("Start its server")).to_be_hidden()


@NEEDS_CHROMIUM
@pytest.mark.timeout(400)
def test_a_policy_server_at_a_click(a_start_page, open_page):
    """By keyboard: is the lesson's server started, another lesson's in its place, one with a fresh
    policy, and is it stopped; and is what it had learned kept?"""
    page = open_page(a_start_page.address)
    client = PolicyClient(f"http://localhost:{a_start_page.port}", quiet=True)
    press(page, f"Start its server: {FIRST}")
    expect(card(page, FIRST)).to_contain_text("its server runs", timeout=SAVES)
    status = client.status()
    assert (status.observation_size, status.action_size, status.run) == (4, 2, "DQN")
    play_steps(client, 20)
    expect(page.get_by_role("button", name=f"Start its server: {FIRST}")).to_be_disabled()

    press(page, f"A fresh policy: {FIRST}")
    expect(page.locator("#done")).to_contain_text("the old policy goes on with", timeout=SAVES)
    expect(card(page, FIRST)).to_contain_text("its server runs", timeout=SAVES)
    assert client.status().env_steps == 0
    (old,) = a_start_page.kit.glob("cartpole-2*.checkpoints")
    assert checkpoints.newest(str(old).removesuffix(".checkpoints"))  # it was saved, and is whole

    press(page, "Start its server: 04-compare-algorithms")
    expect(page.locator("#done")).to_contain_text("has saved and stopped", timeout=SAVES)
    expect(card(page, "04-compare-algorithms")).to_contain_text("its server runs", timeout=SAVES)
    assert client.status().run == "PG"

    press(page, "Save and stop it")
    expect(page.locator("#pill")).to_have_text("no policy server runs", timeout=SAVES)
    expect(page.locator("#done")).to_have_text("The policy server has saved and stopped.")
    expect(page.get_by_role("button", name="Save and stop it")).to_be_disabled()


@NEEDS_CHROMIUM
@pytest.mark.slow
def test_a_server_from_a_terminal_is_stopped_and_somebody_elses_port_is_not(a_kit, open_page):
    """Is one's own server stopped wherever it was started, and what is none left alone, with a
    sentence?"""
    port = free_port()
    start = StartPage(a_kit, port)
    try:
        with RunningServer(4, 2, learner=False, port=port) as server:
            page = open_page(start.address)
            expect(page.locator("#server")).to_contain_text("4 numbers an observation")
            press(page, "Save and stop it")
            expect(page.locator("#pill")).to_have_text("no policy server runs", timeout=SAVES)
            assert server.process.wait(20) == 0
        with socket.create_server(("127.0.0.1", port)):
            press(page, "Start its server: 02-pong")
            expect(page.locator("#problem")).to_contain_text("is no policy server of yours")
    finally:
        start.stop()


@NEEDS_CHROMIUM
def test_a_fresh_lesson_at_a_click(a_start_page, open_page):
    """On a phone: is the lesson as it came, what was in it kept, and a second click refused?"""
    folder = a_start_page.kit / "lessons" / "03-learn-from-logs"
    notebook = folder / "03-learn-from-logs.ipynb"
    came = notebook.read_bytes()
    notebook.write_bytes(came.replace(b"So far the policy", b"My own words", 1))
    page = open_page(a_start_page.address, **PHONE)
    page.get_by_role("button", name="A fresh lesson: 3").tap()
    expect(page.locator("#done")).to_contain_text("is as it came; what you had is kept as")
    assert notebook.read_bytes() == came
    (kept,) = folder.glob("03-learn-from-logs-2*.ipynb")
    assert b"My own words" in kept.read_bytes()
    page.get_by_role("button", name="A fresh lesson: 3").tap()
    expect(page.locator("#problem")).to_contain_text("there is nothing to begin anew")
    wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]


@NEEDS_CHROMIUM
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_nothing_serious(a_start_page, open_page, scheme):
    """Is there nothing that keeps somebody from using the page, in either colour scheme?"""
    page = open_page(a_start_page.address, color_scheme=scheme)
    expect(card(page, FIRST)).to_contain_text("checked are right")
    found = Axe().run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []


def test_only_its_own_page_may_ask(a_start_page):
    """Can another site's page neither look nor do anything, and has a page with a token to know it?"""
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    address = a_start_page.address
    assert httpx.get(f"{address}state", headers=foreign).status_code == 403
    for call in ("start", "stop", "fresh-lesson", "fresh-policy"):
        asked = {"json": {"lesson": FIRST}, "headers": foreign}
        assert httpx.post(address + call, **asked).status_code == 403
        assert httpx.get(address + call).status_code in (404, 405)
    assert httpx.post(f"{address}stop", headers={"Host": "evil.example"}).status_code == 403
    assert httpx.post(f"{address}start", json={"lesson": "../x"}).status_code == 409
    guarded = StartPage(a_start_page.kit, a_start_page.port, token="open-sesame")
    try:
        assert httpx.get(f"{guarded.address}state").status_code == 401
        shown = {"Authorization": "Bearer open-sesame"}
        assert httpx.get(f"{guarded.address}state", headers=shown).status_code == 200
    finally:
        guarded.stop()


def test_its_server_ends_with_it(a_kit):
    """Does a policy server that was started here save and end when the page's process does?"""
    start = StartPage(a_kit, free_port())
    try:
        answer = httpx.post(f"{start.address}start", json={"lesson": "02-pong"}, timeout=60)
        assert answer.status_code == 200, answer.text
        play_steps(PolicyClient(answer.json()["says"].split()[-1].rstrip("."), quiet=True), 20, 8)
    finally:
        start.stop()
    deadline = time.monotonic() + SAVES / 1000
    while listens(start.port) or checkpoints.newest(a_kit / "pong") is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.close(checkpoints.lock(a_kit / "pong"))  # nobody holds it any more


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False
