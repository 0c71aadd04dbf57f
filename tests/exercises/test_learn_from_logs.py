"""Lesson 03's verdict on a replay: the right loop passes, each wrong one loses what it should."""

from __future__ import annotations

from collections.abc import Iterator

import nbformat
import numpy as np
import pytest
from conftest import free_port
from grading import grade_in_process, reference_answers
from mutants import Mutant, lines
from served import ACTIONS, SIZE, Served

from serving import PolicyClient
from serving.examiner.exam import Exam
from serving.exercises.learn_from_logs import TOPICS, check_replay, watch_replay
from serving.exercises.serve_and_learn import Findings

LESSON = "03-learn-from-logs"

EPISODE = "for episode in episodes:"
START = "episode_id = client.start_episode()"
STEP = "for step in episode:"
LOG = 'client.log_action(episode_id, step["obs"], step["action"])'
PAY = 'client.log_returns(episode_id, step["reward"])'
COUNT = "steps += 1"
END = 'client.end_episode(episode_id, episode[-1]["obs"])'
ALL = set(TOPICS)
MOST = {"steps", "rewards", "endings"}


def mutant(name: str, loses: set[str], *replace: tuple[str, str]) -> Mutant:
    return Mutant(name, loses, list(replace), cell="replay")


REPLAYS = [
    mutant("leaves out the first step", ALL, (STEP, "for step in episode[1:]:")),
    mutant("drops the last step", ALL, (STEP, "for step in episode[:-1]:")),
    mutant("logs every second step", {"steps", "rewards", "result"}, (STEP, "for step in episode[::2]:")),
    mutant("logs every step twice", {"steps", "rewards"}, (LOG, lines(LOG, PAY, LOG, indent=12))),
    mutant("asks for actions instead", {"steps"}, (LOG, 'client.get_action(episode_id, step["obs"])')),
    mutant("asks and logs", {"steps", "rewards"},
           (LOG, lines('client.get_action(episode_id, step["obs"])', LOG, indent=12))),
    mutant("shuffles the steps", {"steps", "rewards"},
           (STEP, "for step in __import__('random').Random(1).sample(episode, len(episode)):")),
    mutant("goes backwards", {"steps", "rewards"}, (STEP, "for step in reversed(episode):")),
    mutant("logs the observation after", {"steps"},
           (STEP, "for i, step in enumerate(episode):"),
           (LOG, 'client.log_action(episode_id, episode[min(i + 1, len(episode) - 1)]["obs"], step["action"])')),
    mutant("logs the action before", {"steps"},
           (STEP, "for i, step in enumerate(episode):"),
           (LOG, 'client.log_action(episode_id, step["obs"], episode[max(i - 1, 0)]["action"])')),
    mutant("always logs action 0", {"steps"}, ('step["action"])', "0)")),
    mutant("rounds the observations", {"steps"}, ('step["obs"]', '[round(number, 1) for number in step["obs"]]')),
    mutant("logs no rewards", {"rewards"}, (PAY, "pass")),
    mutant("logs rewards before the action", ALL, (LOG, "pass"), (PAY, lines(PAY, LOG, indent=12))),
    mutant("logs the reward of the step before", {"rewards"},
           (STEP, "for i, step in enumerate(episode):"),
           (PAY, 'client.log_returns(episode_id, episode[i - 1]["reward"] if i else 0.0)')),
    mutant("logs the sum at the end", {"rewards"}, (PAY, "pass"),
           (END, lines('client.log_returns(episode_id, sum(step["reward"] for step in episode))', END, indent=8))),
    mutant("logs rewards twice", {"rewards"}, (PAY, lines(PAY, PAY, indent=12))),
    mutant("logs whole rewards only", {"rewards"}, ('step["reward"])', 'int(step["reward"]))')),
    mutant("one episode for all", MOST, (EPISODE, lines(START, EPISODE, indent=4)),
           ("        " + START + "\n", ""), ("        " + END + "\n", ""),
           ("    return steps", "    " + lines(END, "return steps", indent=4))),
    mutant("an episode for every step", MOST, (LOG, lines(START, LOG, indent=12)),
           (PAY, lines(PAY, END, indent=12)), ("        " + END + "\n    return", "    return")),
    mutant("never ends an episode", {"steps", "rewards", "endings"}, (END, "pass")),
    mutant("ends every episode twice", ALL, (END, lines(END, END, indent=8))),
    mutant("calls it truncated", {"endings"}, (END, END.replace('["obs"])', '["obs"], truncated=True)'))),
    mutant("replays only the first episode", ALL, (EPISODE, "for episode in episodes[:1]:")),
    mutant("replays everything twice", ALL, (EPISODE, "for episode in episodes * 2:")),
    mutant("does not let the server learn", {"steps"}, (START, "episode_id = client.start_episode(training_enabled=False)")),
    mutant("returns nothing", {"result"}, ("return steps", "return None")),
    mutant("returns the number of episodes", {"result"}, ("return steps", "return len(episodes)")),
]  # fmt: skip


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    server = Served(free_port()).start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    return reference_answers(LESSON)


def a_log(seed: int = 0, lengths=(40, 1, 730, 9)) -> list:
    rng = np.random.default_rng(seed)
    return [
        [
            {
                "obs": rng.uniform(-1, 1, SIZE).round(5).tolist(),
                "action": int(rng.integers(ACTIONS)),
                "reward": round(float(rng.normal()), 3),
            }
            for _ in range(length)
        ]
        for length in lengths
    ]


def verdict(served: Served, source: str) -> Findings:
    client = PolicyClient(served.address, quiet=True)
    namespace = {"client": client}
    exec(source, namespace)
    served.begin_anew()
    return watch_replay(namespace["replay"], a_log(), client)


def test_the_reference_answer_is_right(served, reference):
    """Is there nothing to find fault with, and is the log left as it was?"""
    assert not verdict(served, reference["replay"])


@pytest.mark.parametrize("wrong", REPLAYS, ids=lambda wrong: wrong.name)
def test_a_wrong_replay_loses_its_points(served, reference, wrong):
    """Does each mistake lose what it should, with a reason, and only that?"""
    findings = verdict(served, wrong.answers(reference)["replay"])
    lost = {topic for topic in TOPICS if findings.of(topic)}
    assert lost == wrong.loses, findings.by_topic


def test_an_answer_that_fails_is_told_how(served):
    """Is an exception of the student's, or the stub's, a sentence?"""
    findings = verdict(served, "def replay(episodes): raise NotImplementedError('your own code')")
    for topic in TOPICS:
        assert findings.of(topic) == ["replay raised NotImplementedError: your own code"]


def test_what_a_lesson_shows(served, reference, capsys):
    """Does the check print a line per topic, and what to change?"""
    served.begin_anew()
    client = PolicyClient(served.address, quiet=True)
    namespace = {"client": client}
    exec(reference["replay"], namespace)
    assert check_replay(namespace["replay"], a_log()[:2], client)
    assert capsys.readouterr().out.count("✓") == len(TOPICS)
    assert not check_replay(lambda episodes: None, a_log()[:2], client)
    said = capsys.readouterr().out
    assert "✗ the function returns how many steps there were" in said
    assert "replay returned None, expected 41" in said


def test_the_lesson_grades_itself(ray_cluster, reference):
    """Does the reference answer get full marks, learning from the large log among them?"""
    points, said = grade_in_process(LESSON, reference)
    assert sum(points.values()) == 23, said


def test_the_stub_gets_nothing(ray_cluster, reference):
    """Does an untouched lesson get 0 points, and end soon?"""
    stub = "def {}(*arguments): raise NotImplementedError('replace this line with your own code')"
    answers = {name: stub.format(name) for name in reference}
    points, said = grade_in_process(LESSON, answers)
    assert sum(points.values()) == 0
    assert "replay raised NotImplementedError: replace this line" in said["test_steps"]


def test_the_lesson_is_complete():
    """Are there points for every topic, and answers behind marks only?"""
    from serving import ROOT

    notebook = nbformat.read(ROOT / "solutions" / LESSON / f"{LESSON}.ipynb", as_version=4)
    nbformat.validate(notebook)
    marks = [c.metadata.nbgrader for c in notebook.cells if "nbgrader" in c.metadata]
    assert sum(mark.get("points", 0) for mark in marks) == 23
    graded = {mark["grade_id"] for mark in marks if mark["grade"]}
    assert {f"test_{topic}" for topic in TOPICS} < graded
    assert issubclass(
        __import__("serving.exercises.learn_from_logs").replay_checks.ReplayExam, Exam
    )
