"""`watch(client)`: an episode in a cell's output, in an executed notebook and in its export."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path

import nbclient
import nbformat
import pytest
from browsers import NEEDS_CHROMIUM, chromium
from nbconvert import HTMLExporter
from playwright.sync_api import expect

from serving.notebook import playback, watch
from serving.protocol import EpisodeNotFound
from serving.running_server import RunningServer

# Five lines, for an environment that lesson 05's reader may have thought of: a ferry.
DRAW = """
def draw(observation):
    x = 50 + 30 * observation[0]
    here = f'<rect x="{x - 8}" y="40" width="16" height="6" fill="teal" />'
    people = "".join(f'<circle cx="{20 + 4 * i}" cy="30" r="1.5" fill="orange" />' for i in range(round(8 * observation[1])))
    return here + people
"""


@pytest.fixture(scope="module")
def a_server():
    """With an episode of the sizes of CartPole, named `a "name" </script>`."""
    with RunningServer(4, 2, learner=False) as server:
        client = server.client()
        episode_id = client.start_episode('a "name" </script>')
        for step in range(20):
            client.get_action(episode_id, [step / 10, 0.5, step / 100, 0])
            client.log_returns(episode_id, 1.0)
        client.end_episode(episode_id, [2.0, 0.5, 0.2, 0])
        yield server


def exported(address: str, folder: Path) -> Path:
    """A notebook that watches, executed in a kernel of its own and exported as HTML."""
    cells = [
        f"from serving import PolicyClient\nclient = PolicyClient({address!r}, quiet=True)",
        "from serving.notebook import watch\nwatch(client)",
        f"{DRAW}\nwatch(client, draw=draw)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    page = folder / "notebook.html"
    page.write_text(HTMLExporter().from_notebook_node(notebook)[0])
    return page


@NEEDS_CHROMIUM
def test_an_exported_notebook_plays_it_by_itself(a_server, tmp_path):
    """Does the export play both outputs, with no server and no network, and draw what was seen?"""
    page_file = exported(a_server.address, tmp_path)
    with chromium() as browser:
        page, complaints = browser.new_page(), []
        page.context.set_offline(True)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(page_file.as_uri(), wait_until="domcontentloaded")
        cart, ferry = (page.frame_locator("iframe").nth(i) for i in range(2))
        cart.get_by_label("To the end").click()
        expect(cart.locator(".told").first).to_contain_text(
            "step 20 of 20 · terminated · return 20"
        )
        moved = cart.locator(".cart").evaluate("g => g.transform.baseVal.consolidate().matrix.e")
        assert math.isclose(moved, 200, abs_tol=1e-3)
        # By keyboard: the output above may still be growing, and this one moves down with it.
        ferry.get_by_label("A step on").press("Enter")
        expect(ferry.locator("rect")).to_have_attribute("x", re.compile(r"^45(\.0+\d*)?$"))
        assert ferry.locator(".picture circle").count() == 4
        ferry.get_by_label("Play (space)").press("Enter")
        expect(ferry.locator("#player")).to_have_attribute("data-step", "20")
        if folder := os.environ.get("PAGE_SCREENSHOTS"):
            page.screenshot(path=f"{folder}/exported-notebook.png", full_page=True)
    assert [said for said in complaints if "MathJax" not in said and "require" not in said] == []


def test_the_numbers_are_the_transcripts(a_server):
    """Are the episode's numbers in the output, and in text what it is where no HTML is shown?"""
    episode = a_server.client().episodes(last=1).episodes[0]
    shown = watch(a_server.client())
    given = json.loads(re.search(r"^const given = (.*);$", shown.page(), re.M)[1])
    assert given["episode"]["actions"] == episode.actions
    for told, seen in zip(given["episode"]["observations"], episode.observations, strict=True):
        assert all(math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-9) for a, b in zip(told, seen))
    assert repr(shown) == 'episode a "name" </script>: 20 steps, return 20'
    assert shown.page().count("</script>") == 1


def test_it_asks_no_host_for_anything(a_server):
    """Is there no address in the output that a browser would ask, but names of namespaces?"""
    page = watch(a_server.client()).page()
    assert re.findall(r'(?:src|href)="|url\(|fetch\(|\bimport\b', re.sub(r"//.*", "", page)) == []


def test_the_output_is_bounded(a_server, monkeypatch):
    """Of a long episode, is the latest part shown, and its steps still counted from the start?"""
    monkeypatch.setattr(playback, "MOST_NUMBERS", 40)
    shown = watch(a_server.client()).episode
    assert (shown.dropped_steps, len(shown.actions), len(shown.observations)) == (10, 10, 11)
    assert shown.observations[-1][0] == 2.0
    monkeypatch.setattr(playback, "MOST_DRAWN", 3000)
    drawn = watch(a_server.client(), draw=lambda observation: "x" * 999)
    assert (
        len(drawn.page())
        < len(watch(a_server.client(), draw=lambda observation: "x" * 9).page()) + 3000
    )


def test_what_is_wrong_is_said(a_server, policy_servers):
    """Are a server without episodes, an unknown id and a function that draws nothing told so?"""
    with pytest.raises(EpisodeNotFound, match="play one first"):
        watch(policy_servers(learner=False).client())
    with pytest.raises(EpisodeNotFound):
        watch(a_server.client(), "nobody's")
    with pytest.raises(TypeError, match="returned None for step 0: expected SVG as text"):
        watch(a_server.client(), draw=lambda observation: None)
