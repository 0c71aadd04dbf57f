"""Lesson 01's verdicts: right answers of many hands, wrong ones of many kinds, and what is said."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import numpy as np
import pytest
from grading import reference_answers
from in_process import InProcessClient, checks_in_process
from mutants import SERVE_AND_LEARN
from right_answers import RIGHT, variant
from wrong_loops import WRONG

from serving.exercises import serve_and_learn as lesson
from serving.exercises.findings import Findings
from serving.exercises.visible import EXAMINER, NotYet

LONG = int(os.environ.get("AUTOGRADES", "1"))  # how often each right answer is tried
LONGEST = lesson.LONGEST if LONG > 1 else 210
TOPICS_OF = {
    "test_calls": "calls",
    "test_numbers": "numbers",
    "test_ending": "ending",
    "test_result": "result",
    "test_elsewhere": "elsewhere",
}
LESSON = "01-serve-and-learn"


def notebook(*sources: str) -> dict:
    """What a notebook with these cells has defined."""
    namespace: dict = {}
    for source in sources:
        exec(source, namespace)
    return namespace


def examined(source: str, seed: int = 0, longest: int = LONGEST) -> Findings:
    """What is found wrong with a `run_one_episode`."""
    namespace = notebook(source)
    play = namespace["run_one_episode"]
    namespace["client"] = client = InProcessClient(*lesson.CARTPOLE, seed)
    findings = lesson.examine_run_one_episode(play, client, seed, longest)
    namespace["client"] = client = InProcessClient(*lesson.ELSEWHERE, seed)
    findings.by_topic |= lesson.examine_elsewhere(play, client, seed).by_topic
    return findings


def wrong_topics(findings: Findings) -> set[str]:
    return {topic for topic, sentences in findings.by_topic.items() if sentences}


def test_there_are_many_answers():
    """Are there as many right and wrong answers as were promised, each with a text of its own?"""
    assert len(set(RIGHT.values())) == len(RIGHT) >= 25
    assert len({source for source, _ in WRONG.values()}) == len(WRONG) >= 20


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_is_right(name):
    """Is nothing found wrong with what other people would write?"""
    for seed in range(LONG):
        assert not examined(RIGHT[name], seed).by_topic


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_loop_is_not_praised(name):
    """Is each wrong loop told what is wrong, and nothing else, in sentences about a situation?"""
    source, expected = WRONG[name]
    random.seed(1)
    np.random.seed(1)
    findings = examined(source, longest=lesson.LONGEST if "500" in name else LONGEST)
    assert wrong_topics(findings) == expected
    assert all(sentence.startswith("in ") for sentence in findings.of())


@pytest.mark.parametrize("mutant", SERVE_AND_LEARN, ids=lambda mutant: mutant.name)
def test_a_mistake_is_found(mutant):
    """Does each mutant of the reference answer lose the points it should, and no others?"""
    namespace = notebook(*mutant.answers(reference_answers(LESSON)).values())
    run_one_episode = namespace["run_one_episode"]
    namespace["client"] = InProcessClient(*lesson.CARTPOLE)
    found = lesson.examine_run_one_episode(run_one_episode, namespace["client"], 0, LONGEST)
    evaluation = lesson.examine_evaluate_policy(namespace["evaluate_policy"], namespace["client"])
    namespace["client"] = InProcessClient(*lesson.ELSEWHERE)
    found.by_topic |= lesson.examine_elsewhere(run_one_episode, namespace["client"]).by_topic
    lost = {test for test, topic in TOPICS_OF.items() if found.of(topic)}
    lost |= {"test_evaluate"} if found.of("training") or evaluation else set()
    lost |= {"test_solved"} if lesson.examine_solved(namespace["solved"]) else set()
    loses = mutant.loses - {"test_learning"}
    assert loses <= lost <= loses | mutant.may_lose, found


@pytest.mark.parametrize("end", ["truncated=truncated", "truncated=truncated and not terminated"])
@pytest.mark.parametrize("seed", range(LONG))
def test_a_fall_at_the_last_step_may_be_reported_as_either(end, seed):
    """Is an episode that falls where its time is up right as `terminated` and as `truncated`?"""
    source = variant(end=f"client.end_episode(episode_id, observation, {end})")
    env = lesson.DrawnEpisodes(4, 2, (3, 1, 12), ["both"])
    namespace = notebook(source)
    namespace["client"] = client = InProcessClient(4, 2)
    findings = lesson.watch(namespace["run_one_episode"], env, client, 3, seed)
    assert not findings, findings
    assert {t.ending for t in client.episodes().episodes} == {
        "terminated" if "and not" in end else "truncated"
    }


def test_a_function_that_hangs_is_called_once(monkeypatch):
    """Is an endless loop stopped, said, and not tried again in the other situations?"""
    monkeypatch.setattr(lesson, "examine", slow := Slow(lesson.examine))
    findings = examined("def run_one_episode(env, training_enabled=True):\n    while True: pass")
    assert wrong_topics(findings) >= {"calls", "numbers", "ending", "result", "training"}
    assert "took longer" in findings.of("training")[0]
    assert slow.calls == 2  # once in each of the two servers' sizes


class Slow:
    """`examine`, with a time limit that a test can wait for."""

    def __init__(self, examine: Callable):
        self._examine, self.calls = examine, 0

    def __call__(self, play, situations, client, task, topics, seed):
        self.calls += 1
        return self._examine(play, situations, client, task, topics, seed, seconds=0.3)


@pytest.mark.parametrize(
    "source, said",
    [
        ("return [200.0] * episodes", "played 0 episodes, expected"),
        ("return [sum(run_one_episode(env, False) for _ in range(episodes)) / episodes]", "expected the list"),
        ("return sum(run_one_episode(env, False) for _ in range(episodes))", "expected the list"),
        ("return [run_one_episode(env) for _ in range(episodes)]", "training_enabled=False"),
        ("return [run_one_episode(env, False) for _ in range(3)]", "played 3 episodes, expected"),
        ("return [run_one_episode(env, False) for _ in range(episodes)][::-1]", "expected the list"),
    ],
)  # fmt: skip
def test_a_wrong_evaluation_is_told_so(source, said):
    """Is each wrong `evaluate_policy` told what was expected?"""
    findings = evaluated(source)
    assert said in findings.of("evaluation")[0]


@pytest.mark.parametrize(
    "source",
    [
        "return [run_one_episode(env, training_enabled=False) for _ in range(episodes)]",
        "return (run_one_episode(env, False) for _ in range(episodes))",
        "return tuple(run_one_episode(env, False) for _ in range(episodes))",
        "import numpy as np\n    return np.array([run_one_episode(env, False) for _ in range(episodes)])",
        "returns = []\n    while len(returns) < episodes:\n"
        "        returns.append(run_one_episode(env, training_enabled=False))\n    return returns",
    ],
)  # fmt: skip
def test_a_right_evaluation_is_right(source):
    """May an evaluation's returns come as a list, a tuple, an array, or one by one?"""
    assert not evaluated(source), evaluated(source)


def evaluated(body: str) -> Findings:
    namespace = notebook(variant(), f"def evaluate_policy(env, episodes):\n    {body}\n")
    namespace["client"] = client = InProcessClient(*lesson.CARTPOLE)
    return lesson.examine_evaluate_policy(namespace["evaluate_policy"], client)


def test_what_is_solved():
    """Are other ways to say it right, and is a wrong one told about the case?"""
    for right in (
        lambda returns: len(returns) >= 20 and sum(returns[-20:]) / 20 >= 195,
        lambda returns: bool(len(returns) > 19 and np.mean(returns[-20:]) >= 195),
        lambda returns: np.mean(np.array([0.0] * 20 + returns)[-20:]) >= 195 and len(returns) > 19,
        lambda returns: len(returns) >= 20 and sum(returns[-20:]) >= 3900,
    ):
        assert not lesson.examine_solved(right)
    (sentence,) = lesson.examine_solved(lambda returns: sum(returns[-20:]) >= 20 * 194).of()
    assert sentence == (
        "solved() of 20 returns, the latest 20 with a mean of 194.90, is True, expected False"
    )
    (sentence,) = lesson.examine_solved(lambda returns: None).of()
    assert sentence == (
        "solved() of 20 returns, the latest 20 with a mean of 200.00, is None, expected True"
    )


def test_what_the_lesson_shows(capsys):
    """Does a check print a line for each topic and what to change, and leave `client` as it was?"""
    namespace = notebook(*reference_answers(LESSON).values())
    namespace["client"] = mine = object()
    with checks_in_process():
        assert lesson.check_run_one_episode(namespace["run_one_episode"])
        assert lesson.check_solved(namespace["solved"])
        assert lesson.check_evaluate_policy(namespace["evaluate_policy"])
    said = capsys.readouterr().out
    assert said.count("✓") == len(lesson.RUN_TOPICS) + 2
    assert said.count("Well done!") == 3
    assert namespace["client"] is mine
    stub = notebook(
        "def run_one_episode(env, training_enabled=True):\n    raise NotImplementedError"
    )
    with checks_in_process():
        assert not lesson.check_run_one_episode(stub["run_one_episode"])
    said = capsys.readouterr().out
    assert said.count("✗") == len(lesson.RUN_TOPICS)
    assert "run_one_episode raised NotImplementedError" in said


def test_what_a_graded_cell_shows(monkeypatch):
    """Does a graded cell say its own topic's sentence and no other, and nothing while grading?"""
    namespace = notebook(variant(end="client.end_episode(episode_id, observation)"))
    play = namespace["run_one_episode"]
    with checks_in_process():
        lesson.require_run_one_episode(play, "calls", "numbers", "result")
        with pytest.raises(
            NotYet, match="cut short after 7 steps: the episode was truncated"
        ) as raised:
            lesson.require_run_one_episode(play, "ending")
    shown = raised.value._render_traceback_()
    assert shown[0].startswith("✗ the episode is ended once")
    assert all(len(line) <= 80 for line in shown)
    monkeypatch.setenv(EXAMINER, "here")
    lesson.require_run_one_episode(play)
    lesson.require_solved(lambda returns: None)
    lesson.require_evaluate_policy(None)
