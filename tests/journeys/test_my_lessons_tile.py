"""The tile My lessons where a hub has started the kit, under a base URL: a server, a lesson, no terminal."""

from __future__ import annotations

import pytest
from clones import commit
from lab_page import Notebook
from playwright.sync_api import FrameLocator, expect
from walk import Lesson

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FIRST = Lesson("01-serve-and-learn")
PATIENCE = 60_000  # ms


@pytest.fixture(scope="module")
def a_lab(open_lab):
    lab = open_lab("--IdentityProvider.token= --ServerApp.base_url=/user/ada/")
    commit(lab.running.kit)
    lab.open()
    return lab


def my_lessons(a_lab) -> FrameLocator:
    """The page, in its tab: where there is none yet, by its tile."""
    if a_lab.page.locator("#jp-main-dock-panel .lm-TabBar-tab", has_text="My lessons").count():
        a_lab.tab("My lessons")
    else:
        tile = a_lab.page.locator(".jp-LauncherCard[title='My lessons']:visible")
        if not tile.count():
            a_lab.menu("File", "New Launcher")
        tile.click()
    return a_lab.page.frame_locator("iframe.jp-ServerProxy, .jp-ServerProxy iframe")


def test_from_the_launcher_to_a_first_answer_without_a_terminal(a_lab):
    """Is the page the first of the kit's tiles, in a tab beside the lessons; does it start the
    lesson's server, open the lesson there, and is the server found, and stopped again?"""
    a_lab.menu("File", "New Launcher")
    tiles = a_lab.page.locator(".jp-LauncherCard:visible").evaluate_all(
        "cards => cards.map(card => card.title)"
    )
    ours = [title for title in tiles if title.split(" [")[0] in
            ("My lessons", "Policy server", "Pong", "TensorBoard")]  # fmt: skip
    assert ours[0] == "My lessons" and len(ours) == 4
    page = my_lessons(a_lab)
    start = page.get_by_role("button", name=f"Start its server: {FIRST.name}")
    expect(start).to_be_enabled(timeout=PATIENCE)
    start.focus()
    a_lab.page.keyboard.press("Enter")
    card = page.locator(f"[data-lesson='{FIRST.name}']")
    expect(card).to_contain_text("its server runs", timeout=PATIENCE)
    a_lab.photograph("my-lessons")
    assert a_lab.running.status()["observation_size"] == 4
    expect(page.locator("#watch")).to_have_attribute("href", "/user/ada/policy-server/")

    card.get_by_role("link", name=FIRST.title).click()
    notebook = Notebook(a_lab)
    assert "Policy server at http://localhost:8900: DQN" in notebook.run(FIRST.find("connect("))
    assert (
        a_lab.page.locator("#jp-main-dock-panel .lm-TabBar-tab", has_text="START.md").count() == 1
    )
    a_lab.photograph("my-lessons-lesson")

    a_lab.tab("My lessons")
    page.get_by_role("button", name="Save and stop it").click()
    expect(page.locator("#done")).to_have_text("The policy server has saved and stopped.",
                                               timeout=PATIENCE)  # fmt: skip
    assert a_lab.running.status() == {}


def test_a_lesson_that_is_open_begins_anew_where_it_is(a_lab):
    """Is what was typed and not saved kept all the same, and does the tab show the fresh lesson?"""
    page = my_lessons(a_lab)
    page.locator(f"[data-lesson='{FIRST.name}']").get_by_role("link", name=FIRST.title).click()
    notebook = Notebook(a_lab)
    notebook.replace(FIRST.find("connect("), "mine = 'not saved'")
    a_lab.tab("My lessons")
    page.get_by_role("button", name=f"A fresh lesson: 1 · {FIRST.title}").click()
    expect(page.locator("#done, #problem").filter(visible=True)).to_contain_text(
        "is as it came; what you had is kept as", timeout=PATIENCE
    )
    (kept,) = (a_lab.running.kit / "lessons" / FIRST.name).glob(f"{FIRST.name}-2*.ipynb")
    assert "mine = 'not saved'" in kept.read_text()
    a_lab.tab(f"{FIRST.name}.ipynb")
    expect(a_lab.front).to_contain_text("serving.connect(")
    expect(a_lab.front).not_to_contain_text("not saved")
