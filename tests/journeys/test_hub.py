"""The same kit where a hub has started it: under a base URL, with a token. Part of the long form."""

from __future__ import annotations

import os

import pytest
from test_student import PONG
from walk import Lesson, watch_a_demo

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.environ.get("JOURNEYS") != "all", reason="JOURNEYS=all, the long form"),
]

BASE, TOKEN = "/user/ada/", "open-sesame"
HUB = f"--IdentityProvider.token={TOKEN} --ServerApp.base_url={BASE}"


@pytest.fixture(scope="module")
def a_lab(open_lab):
    lab = open_lab(HUB)
    lab.open(TOKEN)
    return lab


def test_a_hub_leads_to_the_start_page_and_from_there_to_a_lesson(a_lab):
    """Is it found under the base URL, are its links followed, does a first cell run?"""
    assert f"{BASE}lab/tree/START.md" in a_lab.page.url
    first = Lesson("01-serve-and-learn")
    notebook = a_lab.follow(first.title)
    assert "observation" in notebook.run(first.code()[0])


def test_the_terminal_names_the_page_that_the_proxy_shows(a_lab):
    """Is the address that the Pong web server prints for Jupyter the one at which it is played?"""
    servers, pages = a_lab.terminal(), a_lab.terminal()
    servers.type(PONG, "http://localhost:8900")
    said = pages.type("python serving/pong_web_server.py", "/proxy/3000/")
    assert f"{BASE}proxy/3000/" in said
    page = a_lab.page.context.new_page()
    page.goto(a_lab.running.address.split(BASE)[0] + f"{BASE}proxy/3000/")
    watch_a_demo(a_lab, page, "hub-pong")
    page.close()
    pages.interrupt("stopped")
    servers.interrupt("stopped")
