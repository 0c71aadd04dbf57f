"""Lessons 2 to 5 as lesson 1 in test_student.py, from the start page to the feedback. The long form,
as policies learn Pong, by playing and from logs, and CartPole nine times over: JOURNEYS=all."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
from lab_page import JupyterLab
from playwright.sync_api import expect
from walk import Lesson, Walk, graded, watch_a_demo, words

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.environ.get("JOURNEYS") != "all", reason="JOURNEYS=all walks them"),
]

PONG = Lesson(
    "02-pong",
    mistakes={
        "play_game": (
            'info["event"] == "right scores"',
            "reward > 0",
        ),  # returned balls are paid too
        "share_of_points": ("play_game(env, training_enabled=False)", "play_game(env)"),
        "train": ("while made < steps:", "for _ in range(steps):"),  # games, not steps
    },
)
LOGS = Lesson(
    "03-learn-from-logs",
    mistakes={
        "replay": ('last.get("truncated", False)', "True"),
        "importance_weight": ("weight *= p / q", "weight += p / q"),
    },
)
ALGORITHMS = Lesson(
    "04-compare-algorithms",
    mistakes={
        "learning_curve": ("[total, made, time", "[total, length, time"),  # so far, not each
        "mean_and_spread": ("np.std", "np.var"),
        "conclude": ("float(np.median(episodes))", "float(np.mean(episodes))"),
    },
)
ENVIRONMENT = Lesson(
    "05-your-own-environment",
    mistakes={
        "my_env": ("self.np_random.random(2)", "np.random.random(2)"),
        "sizes": ("env.observation_space.shape[0], ", "4, "),
        "run_one_episode": ("client.log_returns(episode_id, reward)", "pass"),
    },
)
WRONG_SERVER = (
    "python serving/simple_policy_server.py --action-size=8 --observation-size=3 --run=DQN "
    "--checkpoint-file=pong"
)


@pytest.fixture(scope="module")
def a_lab(open_lab) -> JupyterLab:
    lab = open_lab()
    lab.open()
    return lab


@pytest.fixture
def begin(a_lab):
    """Opens a lesson from the start page, runs it unanswered, and presses Validate."""

    def begin_(lesson: Lesson) -> Walk:
        a_lab.tab("START.md")
        walk = Walk(a_lab, lesson)
        walk.run_stubs()
        a_lab.photograph(f"{lesson.name}-stubs")
        assert "replace this line with your own code" in words(walk.notebook.said)
        said = walk.validate()
        a_lab.photograph(f"{lesson.name}-stubs-validated")
        assert "Success" not in said and "replace this line with your own code" in said, said
        return walk

    return begin_


def finish(walk: Walk) -> None:
    """Presses Validate, hands in, is graded, and reads the feedback."""
    lesson = walk.lesson
    said = walk.validate()
    walk.lab.photograph(f"{lesson.name}-validated")
    assert "Success" in said, said
    walk.hand_in()
    grade, feedback = graded(walk.lab, lesson)
    status = "to be graded by hand" if lesson.words() else "graded"
    assert (grade["status"], float(grade["score"])) == (status, lesson.points()), feedback
    most = lesson.points() + lesson.points(by_hand=True)
    assert f"Score: {lesson.points():.1f} / {most:.1f}" in feedback


def test_pong(a_lab, begin):
    """Lesson 2: the wrong server is told from the right one, the page is played, rollouts teach the
    policy while the notebook looks on, and a fresh one learns from the student's own."""
    walk = begin(PONG)
    server = walk.start_server(WRONG_SERVER)
    walk.answer(until="print(start_server)")
    walk.run(PONG.find("connect(checkpoint_file"))
    said = walk.run(PONG.find("check_server(client)"))
    assert "✗" in said and "--observation-size=3" in said and "--action-size=8" in said
    server.interrupt("stopped")
    command = walk.said[PONG.find("print(start_server)")].strip()
    server.type("rm -r pong*")  # the file holds another policy, or none
    server.type(command, "http://localhost:8900")
    walk.back()
    walk.answer(after="print(start_server)", until="check_server(client)")

    web = a_lab.terminal()
    said = web.type("python serving/pong_web_server.py", "/proxy/3000/")
    page = a_lab.page.context.new_page()
    page.goto(re.search(r"http://localhost:3000/", said)[0])
    watch_a_demo(a_lab, page, "02-page")
    expect(page.locator("#decisions tr").nth(20)).to_be_visible(timeout=60_000)
    page.close()

    walk.back()
    mistakes = walk.answer(after="check_server(client)", until="share_of_points(env, 5)")
    assert "✗" in mistakes["play_game"] and "points" in mistakes["play_game"]
    assert "✗" in mistakes["share_of_points"] and "training_enabled" in mistakes["share_of_points"]
    rollouts = a_lab.terminal()
    rollouts.type("python serving/do_rollouts.py --steps=6000", "steps")
    walk.back()
    watch = PONG.find("while steps > before")
    walk.notebook.run(watch, 600)
    assert walk.notebook.pictures(watch) == 1
    a_lab.photograph("02-rollouts-watched")
    assert walk.notebook.in_view(watch)
    assert a_lab.running.status()["env_steps"] >= 6_000
    a_lab.tab(rollouts.name)
    a_lab.photograph("02-rollouts")
    server.interrupt("stopped")
    server.type(command + "2", "http://localhost:8900")
    walk.back()
    mistakes = walk.answer(after="while steps > before")
    assert "✗" in mistakes["train"] and "steps" in mistakes["train"]
    share = re.search(r"(\d+)% of the points after", walk.said[PONG.find("A fresh policy")])
    assert int(share[1]) >= 25
    a_lab.photograph("02-fresh-policy")
    finish(walk)
    for terminal in (server, web):
        terminal.interrupt("stopped")


def test_logs(a_lab, begin):
    """Lesson 3: a policy that never plays becomes better than those who wrote the log."""
    walk = begin(LOGS)
    server = walk.start_server()
    mistakes = walk.answer(until="median weight")
    assert "✗" in mistakes["replay"] and "truncated" in mistakes["replay"]
    assert "✗" in mistakes["importance_weight"]
    a_lab.photograph("03-answered")
    weights = re.findall(r"median weight +(\S+),", walk.said[LOGS.find("median weight")])
    assert float(weights[0]) == 1 and float(weights[-1]) < 0.001
    learned = re.search(
        r"mean return: (-?[\d.]+); those who wrote the log: (-?[\d.]+)",
        walk.said[LOGS.find("for game in read_log(LARGE)")],
    )
    assert float(learned[1]) > float(learned[2])
    assert walk.notebook.pictures(LOGS.find("for game in read_log(LARGE)")) == 1
    finish(walk)
    server.interrupt("stopped")


def solved(returns: list[float]) -> bool:
    """Whether some twenty of the returns, one after another, have a mean of 195."""
    means = np.convolve(returns, np.full(20, 1 / 20), "valid") if len(returns) >= 20 else []
    return any(mean >= 195 - 1e-9 for mean in means)


def test_algorithms(a_lab, begin):
    """Lesson 4: a server that throws steps away and says so, three algorithms side by side, a log
    that teaches one of them, and a conclusion that is what the figures say."""
    walk = begin(ALGORITHMS)
    server = walk.start_server()
    walk.answer(until="Nothing was played")
    assert re.search(r"policy version [1-9]\d*, [1-9]\d* updates", words(walk.notebook.said))
    server.interrupt("stopped")
    walk.back()
    mistakes = walk.answer(after="Nothing was played", until="experiment(learning_curve")
    assert "✗" in mistakes["learning_curve"] and "env steps" in mistakes["learning_curve"]
    a_lab.photograph("04-experiment")
    mistakes = walk.answer(after="experiment(learning_curve", until="axis.fill_between")
    assert "✗" in mistakes["mean_and_spread"] and "spread" in mistakes["mean_and_spread"]
    drawn = ALGORITHMS.find("axis.fill_between")
    assert walk.notebook.pictures(drawn) == 1 and walk.notebook.in_view(drawn)
    a_lab.photograph("04-curves")
    mistakes = walk.answer(after="axis.fill_between")
    assert "✗" in mistakes["conclude"] and "median" in mistakes["conclude"]
    a_lab.photograph("04-conclusion")

    kept = a_lab.running.kit / "lessons" / ALGORITHMS.name / "figures.json"
    counts = dict.fromkeys(("DQN", "PG", "PPO"), 0)
    for name, curve in json.loads(kept.read_text()).items():
        if "seed" in name:
            counts[name.partition(",")[0]] += solved([row[0] for row in curve])
    concluded = words(walk.said[ALGORITHMS.find("conclude(curves, logged)")])
    assert f"solved {', '.join(f'{run} {n}' for run, n in counts.items())}" in concluded, concluded
    assert "learns_from_logs ['DQN']" in concluded
    walk.write_words()
    a_lab.photograph("04-words")
    finish(walk)


def test_own_environment(a_lab, begin):
    """Lesson 5: an environment of one's own, solved by RLlib, and once more through a server that was
    started by the command that the notebook prints."""
    walk = begin(ENVIRONMENT)
    mistakes = walk.answer(until="if check_sizes(sizes, MyEnv)")
    assert "✗" in mistakes["my_env"] and "seed" in mistakes["my_env"]
    assert "✗" in mistakes["sizes"]
    learned = walk.said[ENVIRONMENT.find("check_learning(learn, MyEnv)")]
    a_lab.photograph("05-learned")
    assert "learned" in learned and "✗" not in learned, learned
    printed = walk.said[ENVIRONMENT.find("if check_sizes(sizes, MyEnv)")]
    server = walk.start_server(words(printed[printed.index("python serving") :]))
    more = walk.answer(after="if check_sizes(sizes, MyEnv)")
    assert "✗" in more["run_one_episode"] and "reward" in more["run_one_episode"]
    assert walk.notebook.pictures(ENVIRONMENT.find("My environment against")) == 1
    a_lab.photograph("05-served")
    finish(walk)
    server.interrupt("stopped")
