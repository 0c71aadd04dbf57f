"""The instructor's page and the class's: what they say of a class that was graded."""

from __future__ import annotations

import re

import gymnasium as gym
import numpy as np
import pytest

from serving import ROOT
from serving.examiner.examination import packed, unpacked
from serving.policy import Policy, untrained
from tools.class_results import UNTOUCHED, Result, Topic
from tools.leaderboard import FIRST, SECOND, leaderboard, pseudonyms
from tools.report import class_page, page, topic_section

BALANCES = Policy(  # the angle, and how fast it changes, say where to push
    1, "action_values", "relu",
    [(np.array([[0, 0], [0, 0], [-1, 1], [-1, 1]], np.float32), np.zeros(2, np.float32))], [(0, 0.0)],
)  # fmt: skip


def result(student: str, policy: Policy | None, sentence: str | None = None) -> Result:
    verdict = {
        "question": "test_learning", "sentence": sentence, "seconds": 1.0,
        "curve": [[100, 20.0]], "policy": policy and packed(policy),
    }  # fmt: skip
    line = {"status": "graded", "score": 3.0}
    return Result(student, line, {}, {"verdicts": [verdict], "remarks": [], "sandboxed": True})


def test_a_policy_survives_being_kept():
    """Does it act as before?"""
    policy, again = BALANCES, unpacked(packed(BALANCES))
    env = gym.make("CartPole-v1")
    observation, _ = env.reset(seed=3)
    assert np.array_equal(policy.values(observation), again.values(observation))


def test_the_better_policy_comes_first():
    """Are the places those of episodes really played, and is who kept no policy left out?"""
    clumsy = untrained(4, 2, [16], seed=1)
    class_ = [result("ben", clumsy), result("ada", BALANCES), result("cem", None)]
    places = leaderboard("01-serve-and-learn", class_, seed=5)
    assert [place.student for place in places] == ["ada", "ben"]
    assert places[0].mean > 150 > places[1].mean
    assert leaderboard("05-your-own-environment", class_) == []


def test_the_classs_page_names_nobody():
    """Are there pseudonyms in the place of names, and only there?"""
    places = leaderboard("01-serve-and-learn", [result("ada", BALANCES)], seed=5)
    names = pseudonyms(["ada"], "salt")
    assert "ada" not in re.sub(
        r"<style>.*?</style>", "", class_page("01-serve-and-learn", places, names), flags=re.S
    )
    assert names["ada"] in class_page("01-serve-and-learn", places, names)
    assert ">ada<" in class_page("01-serve-and-learn", places, {})


def test_pseudonyms_are_different_and_stay():
    """Has everybody a name of their own, also in a class of more than there are pairs of words, and the
    same one each time, for this course only?"""
    students = [f"s{number}" for number in range(len(FIRST) * len(SECOND) + 20)]
    names = pseudonyms(students, "salt")
    assert len(set(names.values())) == len(students)
    assert pseudonyms(students[::-1], "salt") == names
    assert pseudonyms(students, "another") != names


def test_the_commonest_sentence_is_the_one_with_other_numbers():
    """Do sentences count as one that differ in what was seen only?"""
    said = {"a": "step 3: expected 0.5", "b": "step 17: expected -2e-3", "c": "no function"}
    results = {student: result(student, None, sentence) for student, sentence in said.items()}
    topic = Topic("test_learning", "", 5, wrong=list(said))
    assert topic.commonest(results) == ("step 3: expected 0.5", "a", 2)


def test_who_has_not_begun_is_no_mistake_of_the_class():
    """Are untouched exercises counted apart, and is the commonest sentence one of those who tried?"""
    assert UNTOUCHED in (ROOT / "nbgrader_config.py").read_text()  # which writes it into stubs
    stub = f"solved raised NotImplementedError: {UNTOUCHED}, in line 3"
    said = {"a": stub, "b": "expected 0.5", "c": stub}
    results = {student: result(student, None, sentence) for student, sentence in said.items()}
    topic = Topic("test_learning", "", 1, ["d"], list(said))
    assert topic.commonest(results) == ("expected 0.5", "b", 1)
    section = topic_section(topic, results)
    assert "1 point: not by 3 of 4, 2 of whom have not begun<" in section and "(1 of 1)" in section
    nobody = Topic("test_learning", "", 2, ["d"], ["a"])
    assert nobody.commonest(results) == ("", "", 0)
    assert "2 points: not by 1 of 2, 1 of whom have not begun<" in topic_section(nobody, results)


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", 'a "quoted" & name'])
def test_what_students_write_is_text(text):
    """Can nothing that comes from a submission be more than text in the instructor's page?"""
    assert text not in page(text, text)
