"""A student's first hour: the start page, lesson 1, the Pong page. Keyboard, mouse and screen only."""

from __future__ import annotations

import os
import re

import pytest
from lab_page import BROKEN_WORDS, SCREEN, JupyterLab
from walk import Lesson, Walk, graded, watch_a_demo, words

# The stations of one hour, in one lab: what is open and in front is what the one before has left.
pytestmark = [pytest.mark.timeout(900), pytest.mark.random_order(disabled=True)]

FIRST = Lesson(
    "01-serve-and-learn",
    mistakes={
        "run_one_episode": """def run_one_episode(env, training_enabled=True):
    observation, info = env.reset()
    episode_id = client.start_episode(training_enabled=training_enabled)
    total, terminated, truncated = 0.0, False, False
    while not (terminated or truncated):
        action = client.get_action(episode_id, observation)
        observation, reward, terminated, truncated, info = env.step(action)
        total += reward
    client.end_episode(episode_id, observation, truncated=truncated)
    return total
""",  # the rewards are never told
        "solved": """def solved(returns):
    return sum(returns[-20:]) / 20 > 195
""",  # at least 195, says the lesson
    },
)
PONG = "python serving/simple_policy_server.py --observation-size=8 --action-size=3 --run=DQN --checkpoint-file=pong"


@pytest.fixture(scope="module")
def a_lab(open_lab) -> JupyterLab:
    lab = open_lab()
    lab.open()
    return lab


def greedy_mean(said: str) -> float:
    return float(re.search(r"greedy[^\n]*: ([\d.]+)", said)[1])


@pytest.mark.slow
def test_make_lab_opens_where_one_starts(a_lab):
    """Is there a page that leads to the lessons, and nothing that only instructors need?"""
    assert FIRST.title in a_lab.front.locator("table a").all_inner_texts()
    a_lab.photograph("start")
    assert a_lab.files() == ["lessons", "serving", "START.md"]
    assert "Nbgrader" not in a_lab.menus()
    a_lab.menu("File", "New Launcher")
    for tile in ("My lessons", "Policy server", "Pong", "TensorBoard"):
        icon = a_lab.page.locator(f".jp-LauncherCard[title^='{tile}'] img")
        assert icon.evaluate("async icon => { await icon.decode(); return icon.naturalWidth; }") > 0
    a_lab.photograph("launcher")
    a_lab.tab("START.md")


@pytest.mark.slow
def test_lesson_one_from_stub_to_validate(a_lab):
    """Can it be done, by somebody who makes mistakes, and does it say what helps at each station?"""
    walk = Walk(a_lab, FIRST)
    assert "replace this line with your own code" in words(walk.run_stubs())
    assert FIRST.command in words(walk.notebook.said)  # how to start a server
    a_lab.photograph("01-stubs")
    said = words(walk.notebook.validate())
    assert "Success" not in said and "replace this line with your own code" in said
    a_lab.photograph("01-stubs-validated")

    terminal = walk.start_server()
    mistakes = walk.answer(until="curve.live(")
    assert "✗" in mistakes["run_one_episode"] and "reward" in mistakes["run_one_episode"]
    assert "✗" in mistakes["solved"] and "195" in mistakes["solved"]
    assert walk.notebook.pictures(FIRST.find("curve.live(")) == 1
    a_lab.photograph("01-curve")
    walk.answer(after="curve.live(")
    greedy = FIRST.find("20 greedy episodes")
    assert greedy_mean(walk.said[greedy]) >= 190

    # "Stop it, start it again": nothing is forgotten.
    terminal.interrupt("stopped")
    terminal.type(FIRST.command, "http://localhost:8900")
    a_lab.photograph("01-terminal")
    a_lab.tab(f"{FIRST.name}.ipynb")
    assert greedy_mean(walk.run(greedy)) >= 190

    assert "Success" in walk.validate()
    a_lab.photograph("01-validated")
    walk.hand_in()
    terminal.interrupt("stopped")
    a_lab.tab("START.md")


@pytest.mark.slow
def test_lesson_one_handed_in(a_lab):
    """Does the very file that was saved get full marks, by plain nbgrader, and feedback that says so?
    (After the walk through the lesson.)"""
    grade, feedback = graded(a_lab, FIRST)
    assert grade["status"] == "graded", grade
    assert float(grade["score"]) == FIRST.points(), feedback
    assert f"Score: {FIRST.points():.1f} / {FIRST.points():.1f}" in feedback


def test_nothing_of_grading_is_in_kernels_and_terminals(a_lab):
    """Have they the environment `make lab` was started with, also after *Validate*?"""
    ours = set(a_lab.running.environment)
    shells = {"COLUMNS", "LINES", "PYXTERM_DIMENSIONS", "SHELL", "SHLVL", "OLDPWD", "PWD", "_"}
    kernels = {"CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "GIT_PAGER", "PAGER", "MPLBACKEND"}
    terminal = a_lab.terminal()
    said = terminal.type("env | cut -d= -f1 | sort; echo en''d", "\nend")
    in_terminal = set(re.findall(r"^(\w+)\r?$", said, re.M)) - {"end"}
    a_lab.tab("START.md")
    second = Lesson("02-pong")
    notebook = a_lab.follow(second.title)
    number = second.code()[0]
    notebook.replace(number, "import os\nprint(*os.environ, sep='\\n')")
    in_kernel = set(notebook.run(number).split())
    assert "PATH" in in_terminal and "PATH" in in_kernel
    # A terminal is a login shell: what the machine's own profile sets comes back there.
    for name in (in_terminal | in_kernel) - ours - set(os.environ) - shells - kernels:
        assert name.startswith(("JUPYTER_", "JPY_", "PYDEVD_")), name


def test_what_is_printed_breaks_at_spaces(a_lab):
    """Are sentences whole words, on however many lines they stand, those of an error, too, and
    commands in a narrow window?"""
    a_lab.tab("START.md")
    second = Lesson("02-pong")
    notebook = a_lab.follow(second.title)
    number = second.code()[0]
    long = "'observation ' * 40"
    notebook.replace(number, f"print({long})\nraise AssertionError({long})")
    assert notebook.run(number).count("observation ") >= 80
    assert notebook.broken_words(number) == []
    command = notebook.panel.locator("pre", has_text="--checkpoint-file=cartpole").first
    a_lab.page.set_viewport_size({**SCREEN, "width": 800})
    command.scroll_into_view_if_needed()
    assert command.evaluate_all(BROKEN_WORDS) == []
    a_lab.page.set_viewport_size(SCREEN)


@pytest.mark.slow
def test_the_pong_tile_opens_a_game_with_the_policy(a_lab):
    """Does a click in the Launcher open the page, through Jupyter's proxy, and is it played?"""
    terminal = a_lab.terminal()
    terminal.type(PONG, "http://localhost:8900")
    a_lab.menu("File", "New Launcher")
    with a_lab.page.expect_popup() as opened:
        a_lab.page.locator(".jp-LauncherCard[title^='Pong']:visible").click()
    page = opened.value
    watch_a_demo(a_lab, page, "pong")
    assert page.url.endswith("/pong/")
    page.close()
    terminal.interrupt("stopped")
