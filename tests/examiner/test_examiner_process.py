"""The examiner's process: it asks when a graded cell begins, once, and keeps the ledger."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from grading import reference_answers

from serving.examiner import candidate
from serving.examiner.examination import NOT_ASKED
from serving.examiner.kernel import ExaminerProcess
from serving.examiner.sandbox import Box, Limits

LESSON, OWN = "03-learn-from-logs", "05-your-own-environment"
QUESTIONS = ["test_steps", "test_rewards", "test_endings", "test_result", "test_weights"]

# Of the lesson's other cells.
IMPORTS = """
import gymnasium as gym
import numpy as np
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.tune.registry import register_env
from tqdm.auto import tqdm
"""


@pytest.fixture
def an_examiner(request):
    box = Box(Limits(), sandboxed=False)
    examiner = ExaminerProcess(getattr(request, "param", LESSON), box)
    examiner.path = str(box.sockets / "examiner")
    yield examiner
    examiner.close()
    box.remove()


def a_notebook(path: str, questions: list[str], lesson: str = LESSON, **answers: str) -> int:
    """A process that is ready for these questions, one after the other, with these answers."""
    pid = os.fork()
    if pid == 0:
        try:
            os.environ[candidate.SOCKET] = path
            namespace: dict = {}
            if lesson == OWN:
                exec(IMPORTS, namespace)
            for source in {**reference_answers(lesson), **answers}.values():
                exec(source, namespace)
            exam = candidate.Candidate(namespace)
            for question in questions:
                try:
                    exam.require(question)
                except AssertionError as wrong:
                    print(wrong, file=sys.stderr)
        finally:
            os._exit(0)
    return pid


def test_right_answers_pass(an_examiner):
    """Does the reference pass each question, through the examiner's server?"""
    for question in QUESTIONS:
        an_examiner.begin(question, None)
        pid = a_notebook(an_examiner.path, [question])
        os.waitpid(pid, 0)
        verdict = an_examiner.over(question, None)
        assert verdict["question"] == question and verdict["sentence"] is None


def test_each_question_is_decided_once_and_in_its_cell(an_examiner):
    """Is a verdict about the cell that has begun, and does the first one hold?"""
    an_examiner.begin("test_weights", None)
    wrong = "def importance_weight(pi, mu):\n    return 0.0"
    os.waitpid(a_notebook(an_examiner.path, ["test_result"], importance_weight=wrong), 0)
    os.waitpid(a_notebook(an_examiner.path, ["test_weights"]), 0)
    assert "expected" in an_examiner.over("test_weights", None)["sentence"]
    an_examiner.begin("test_result", None)
    assert an_examiner.over("test_result", None)["sentence"] == NOT_ASKED


def test_a_notebook_that_dies_costs_the_question(an_examiner):
    """Is it said that nobody answers any more, at once?"""
    dies = f"import os\n\n\ndef importance_weight(pi, mu):\n    os.kill(os.getpid(), {int(signal.SIGKILL)})"
    an_examiner.begin("test_weights", None)
    os.waitpid(a_notebook(an_examiner.path, ["test_weights"], importance_weight=dies), 0)
    assert "stopped answering" in an_examiner.over("test_weights", None)["sentence"]


@pytest.mark.parametrize("an_examiner", [OWN], indirect=True)
@pytest.mark.slow
def test_an_environment_and_its_learner_are_black_boxes(an_examiner):
    """Does the reference of lesson 05 pass, whose environment and RLlib are in the notebook's process?"""
    for question in ("test_spaces", "test_seed", "test_act", "test_sizes"):
        an_examiner.begin(question, None)
        os.waitpid(a_notebook(an_examiner.path, [question], lesson=OWN), 0)
        assert an_examiner.over(question, None)["sentence"] is None
