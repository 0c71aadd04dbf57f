"""Lesson 03's verdict on a replay: the right loop passes, each wrong one loses what it should."""

from __future__ import annotations

import math
from collections.abc import Iterator

import nbformat
import numpy as np
import pytest
from grading import grade_in_process, reference_answers
from leftovers import free_port
from mutants import Mutant, lines
from served import ACTIONS, SIZE, Served

from serving import PolicyClient
from serving.exercises.learn_from_logs import (
    TOPICS,
    WEIGHTS,
    check_importance_weight,
    check_replay,
    watch_replay,
    watch_weights,
)
from serving.exercises.serve_and_learn import Findings

LESSON = "03-learn-from-logs"

EPISODE = "for episode in episodes:"
START = "episode_id = client.start_episode()"
STEP = "for step in episode:"
LOG = 'client.log_action(episode_id, step["obs"], step["action"])'
PAY = 'client.log_returns(episode_id, step["reward"])'
COUNT = "steps += 1"
LAST = "last = episode[-1]"
END = 'client.end_episode(episode_id, last["obs"], truncated=last.get("truncated", False))'
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
           ("        " + START + "\n", ""), (lines(LAST, END) + "\n", "pass\n"),
           ("    return steps", "    " + lines(LAST, END, "return steps", indent=4))),
    mutant("an episode for every step", MOST, (LOG, lines(START, LOG, indent=12)),
           (PAY, lines(PAY, END.replace("last", "step"), indent=12)), (lines(LAST, END), "pass")),
    mutant("never ends an episode", {"steps", "rewards", "endings"}, (END, "pass")),
    mutant("ends every episode twice", ALL, (END, lines(END, END, indent=8))),
    mutant("calls all of them truncated", {"endings"}, (END, END.replace('last.get("truncated", False)', "True"))),
    mutant("calls none of them truncated", {"endings"}, (END, END.replace(', truncated=last.get("truncated", False)', ""))),
    mutant("calls the long ones truncated", {"endings"},
           (END, END.replace('last.get("truncated", False)', "len(episode) > 500"))),
    mutant("looks at the first step for the ending", {"endings"}, (END, END.replace("last.get", "episode[0].get"))),
    mutant("turns the endings round", {"endings"}, (END, END.replace("last.get", "not last.get"))),
    mutant("takes five hundred steps at most", {"steps", "rewards", "result"},
           (STEP, "for step in episode[:500]:")),
    mutant("leaves out episodes of one step", ALL, (EPISODE, "for episode in [e for e in episodes if len(e) > 1]:")),
    mutant("leaves out episodes that were cut short", ALL,
           (EPISODE, "for episode in [e for e in episodes if not e[-1].get('truncated')]:")),
    mutant("counts one step an episode too few", {"result"}, ("return steps", "return steps - len(episodes)")),
    mutant("returns only the last episode's steps", {"result"}, (START, lines(START, "steps = 0"))),
    mutant("returns the sum of the rewards", {"result"}, (COUNT, 'steps += step["reward"]')),
    mutant("replays only the first episode", ALL, (EPISODE, "for episode in episodes[:1]:")),
    mutant("replays everything twice", ALL, (EPISODE, "for episode in episodes * 2:")),
    mutant("does not let the server learn", {"steps"}, (START, "episode_id = client.start_episode(training_enabled=False)")),
    mutant("returns nothing", {"result"}, ("return steps", "return None")),
    mutant("returns the number of episodes", {"result"}, ("return steps", "return len(episodes)")),
]  # fmt: skip


# Right ones: what the text allows, said in other words.
RIGHT_REPLAYS = {
    "indices": """
def replay(episodes):
    steps = 0
    for i in range(len(episodes)):
        e = client.start_episode()
        for j in range(len(episodes[i])):
            client.log_action(e, episodes[i][j]["obs"], episodes[i][j]["action"])
            client.log_returns(e, episodes[i][j]["reward"])
            steps = steps + 1
        client.end_episode(e, episodes[i][j]["obs"], episodes[i][j].get("truncated", False))
    return steps
""",
    "a function for one episode, and a sum": """
def one(episode):
    number = client.start_episode(training_enabled=True)
    for step in episode:
        client.log_action(number, step["obs"], step["action"])
        client.log_returns(number, step["reward"])
    client.end_episode(number, step["obs"], truncated="truncated" in step and step["truncated"])
    return len(episode)

def replay(episodes):
    return sum(one(episode) for episode in episodes)
""",
    "arrays and integers": """
import numpy as np

def replay(episodes):
    steps = np.int64(0)
    for episode in episodes:
        e = client.start_episode()
        for step in episode:
            client.log_action(e, np.array(step["obs"]), int(step["action"]))
            client.log_returns(e, float(step["reward"]))
        client.end_episode(e, np.float64(episode[-1]["obs"]), truncated=bool(step.get("truncated")))
        steps += len(episode)
    return steps
""",
    "unpacked": """
def replay(episodes):
    total = 0
    for episode in episodes:
        e, cut = client.start_episode(), False
        for n, (obs, action, reward, *more) in enumerate((s.values() for s in episode), 1):
            client.log_action(e, obs, action)
            client.log_returns(e, reward)
            cut = bool(more and more[0])
        client.end_episode(e, obs, truncated=cut)
        total += n
    return total
""",
    "only rewards that are some": """
def replay(episodes):
    steps = 0
    for episode in episodes:
        e = client.start_episode()
        for step in episode:
            client.log_action(e, step["obs"], step["action"])
            if step["reward"] != 0:
                client.log_returns(e, step["reward"])
        client.end_episode(e, step["obs"], truncated=step.get("truncated", False))
        steps += len(episode)
    return steps
""",
    "names of its own": """
def replay(episodes):
    steps = 0
    for number, episode in enumerate(episodes):
        name = client.start_episode(f"game-{number}")
        for step in episode:
            client.log_action(name, step["obs"], step["action"])
            client.log_returns(name, step["reward"], {"step": steps})
            steps += 1
        if episode[-1].get("truncated"):
            client.end_episode(name, episode[-1]["obs"], truncated=True)
        else:
            client.end_episode(name, episode[-1]["obs"])
    return steps
""",
    "while loops": """
def replay(episodes):
    steps, left = 0, list(episodes)
    while left:
        episode = list(left.pop(0))
        e = client.start_episode()
        while episode:
            step = episode.pop(0)
            client.log_action(e, step["obs"], step["action"])
            client.log_returns(e, step["reward"])
            steps += 1
        client.end_episode(e, step["obs"], truncated=step.get("truncated", False))
    return steps
""",
    "rewards in two parts, floats, prints": """
def replay(episodes):
    steps = 0.0
    for episode in episodes:
        e = client.start_episode()
        for step in episode:
            client.log_action(e, tuple(step["obs"]), float(step["action"]))
            client.log_returns(e, step["reward"] / 2)
            client.log_returns(e, step["reward"] / 2)
            steps += 1
        print("episode of", len(episode))
        client.end_episode(e, step["obs"], truncated=step.get("truncated") is True)
    return steps
""",
}  # fmt: skip

RIGHT_WEIGHTS = {
    "a loop": "def importance_weight(pi, mu):\n    w = 1\n    for i in range(len(pi)):\n        w *= pi[i] / mu[i]\n    return w",
    "math.prod": "import math\ndef importance_weight(pi, mu):\n    return math.prod(p / q for p, q in zip(pi, mu))",
    "np.prod of arrays": "import numpy as np\ndef importance_weight(pi, mu):\n    return np.prod(np.array(pi) / np.array(mu))",
    "np.divide": "import numpy as np\ndef importance_weight(pi, mu):\n    return float(np.prod(np.divide(pi, mu)))",
    "one product over the other": "import numpy as np\ndef importance_weight(pi, mu):\n    return np.prod(pi) / np.prod(mu)",
    "logarithms": "import numpy as np\ndef importance_weight(pi, mu):\n    return np.exp(np.sum(np.log(pi)) - np.sum(np.log(mu)))",
    "reduce": "from functools import reduce\ndef importance_weight(pi, mu):\n    return reduce(lambda w, r: w * r[0] / r[1], zip(pi, mu), 1.0)",
    "recursion": "def importance_weight(pi, mu):\n    return pi[0] / mu[0] * importance_weight(pi[1:], mu[1:]) if len(pi) else 1.0",
    "cumulative": "import numpy as np\ndef importance_weight(pi, mu):\n    return np.cumprod([1.0, *(p / q for p, q in zip(pi, mu))])[-1]",
}  # fmt: skip
WRONG_WEIGHTS = {
    "upside down": ("p / q for p, q in zip(pi, mu)", "that is mu / pi", "q / p for p, q in zip(pi, mu)"),
    "adds": ("math.prod(", "sum of the ratios", "sum("),
    "averages": ("math.prod(p / q for p, q in zip(pi, mu))", "mean of the ratios",
                 "sum(p / q for p, q in zip(pi, mu)) / max(1, len(pi))"),
    "only the last step": ("zip(pi, mu)", "the whole episode counts", "zip(pi[-1:], mu[-1:])"),
    "only the first step": ("zip(pi, mu)", "inside its loop", "zip(pi[:1], mu[:1])"),
    "forgets mu": ("p / q", "product of pi alone", "p"),
    "its logarithm": ("math.prod(p / q", "logarithm", "sum(math.log(p / q)"),
    "leaves out the last step": ("zip(pi, mu)", "expected", "zip(pi[:-1], mu[:-1])"),
    "nothing for an episode without a step": ("math.prod(p / q for p, q in zip(pi, mu))", "expected 1",
                                              "math.prod(p / q for p, q in zip(pi, mu)) if len(pi) else 0.0"),
    "leaves out zeros": ("zip(pi, mu)", "expected 0", "zip(pi, mu) if p"),
    "a hundred steps at most": ("zip(pi, mu)", "expected", "zip(pi[:100], mu[:100])"),
    "cut off at 1": ("math.prod(p / q for p, q in zip(pi, mu))", "expected",
                     "min(1.0, math.prod(p / q for p, q in zip(pi, mu)))"),
    "fails without a step": ("math.prod(", "raised", "math.prod([pi[0] / pi[0]]) * math.prod("),
    "uses up what it is given": ("    return", "changed the sequences",
                                 "    first = pi[0] if len(pi) else 0\n    if len(pi): pi[0] = first + 1e-9\n    return"),
}  # fmt: skip


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


def a_log(seed: int = 0, lengths=(40, 3, 730, 1, 1)) -> list:
    """Short and long episodes; every second one was only cut short."""
    rng = np.random.default_rng(seed)
    log = [
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
    for episode in log[1::2]:
        episode[-1]["truncated"] = True
    return log


def verdict(served: Served, source: str) -> Findings:
    client = PolicyClient(served.address, quiet=True)
    namespace = {"client": client}
    exec(source, namespace)
    served.begin_anew()
    return watch_replay(namespace["replay"], a_log(), client)


def test_the_reference_answer_is_right(served, reference):
    """Is there nothing to find fault with, and is the log left as it was?"""
    assert not verdict(served, reference["replay"])


@pytest.mark.parametrize("name", RIGHT_REPLAYS)
def test_a_right_replay_is_right_in_other_words_too(served, name):
    """Does whatever the text allows pass?"""
    assert not verdict(served, RIGHT_REPLAYS[name])


@pytest.mark.parametrize("name", RIGHT_WEIGHTS)
def test_a_right_weight_is_right_in_other_words_too(name):
    namespace = {}
    exec(RIGHT_WEIGHTS[name], namespace)
    assert not watch_weights(namespace["importance_weight"], WEIGHTS)


@pytest.mark.parametrize("name", WRONG_WEIGHTS)
def test_a_wrong_weight_is_told_why(name, capsys):
    """Is each mistake named, and none praised?"""
    old, hint, new = WRONG_WEIGHTS[name]
    namespace = {"math": math}
    assert old in RIGHT_WEIGHTS["math.prod"]
    exec(RIGHT_WEIGHTS["math.prod"].replace(old, new), namespace)
    assert not check_importance_weight(namespace["importance_weight"])
    said = capsys.readouterr().out
    assert "Well done" not in said and hint in said


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


def test_what_a_lesson_shows(reference, capsys):
    """Does the check print a line per topic, and what to change, and is there a long episode in it?"""
    namespace = {}
    exec(reference["replay"], namespace)
    assert check_replay(namespace["replay"])
    assert capsys.readouterr().out.count("✓") == len(TOPICS)
    assert not check_replay(lambda episodes: None)
    said = capsys.readouterr().out
    assert "✗ the function returns how many steps there were" in said
    assert "replay returned None, expected" in said
    assert "client" not in namespace


def test_the_stub_gets_nothing(reference):
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
