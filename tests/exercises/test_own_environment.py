"""Lesson 05 grades environments that nobody has seen before: right, degenerate and pointless ones."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from grading import NEEDS_SANDBOX, Course, grade_in_process, reference_answers
from own_environments import (
    DEGENERATE,
    LEARNING,
    POINTLESS,
    QUICK_LEARN,
    RIGHT,
    SERVED,
)

from serving.examiner.own_environment import EnvironmentExam, lead_of
from serving.exercises.own_environment import TOPICS, check_environment, examine, returns_of
from serving.exercises.own_solution import (
    LEARNED_TOPICS,
    compare_with_thoughtless,
    examine_learner,
)

LESSON = "05-your-own-environment"
LONG = bool(os.environ.get("LONG_TEST"))
REFERENCE = reference_answers(LESSON)
ALL = {"test_spaces", "test_seed", "test_episodes", "test_reward", "test_act", "test_solved",
       "test_observing", "test_sizes", "test_loop", "test_served"}  # fmt: skip
QUICK = {**REFERENCE, "learn": QUICK_LEARN}
SOURCES = {"ferry": REFERENCE["my_env"], **RIGHT}


def notebook(**answers: str) -> dict:
    """The globals of a notebook with the answers in it."""
    namespace = {"gym": gym, "np": np}
    for source in {**QUICK, **answers}.values():
        exec(source, namespace)
    return namespace


def verdict(exam: EnvironmentExam, grade_ids: set[str]) -> tuple[set[str], str]:
    """The tests that are lost, and what was said of them; those that need no policy server."""
    tests = {
        "test_act": exam.require_learner,
        "test_solved": exam.require_solved,
        "test_observing": exam.require_observing,
        "test_sizes": exam.require_sizes,
        **{f"test_{topic}": lambda topic=topic: exam.require(topic) for topic in TOPICS},
    }
    lost, said = set(), []
    for grade_id, test in tests.items():
        if grade_id in grade_ids:
            try:
                test()
            except AssertionError as error:
                lost.add(grade_id)
                said.append(str(error))
    return lost, " | ".join(said)


@pytest.mark.parametrize("name", SOURCES)
def test_a_right_environment_gets_all_points(name):
    """Does whatever is a fair environment pass, with a learner that knows nothing about it?"""
    exam = EnvironmentExam(notebook(my_env=SOURCES[name]), needs_ray=False)
    lost, said = verdict(exam, ALL)
    assert not lost, said


@pytest.mark.parametrize("degenerate", DEGENERATE, ids=lambda d: d.name)
def test_a_degenerate_environment_loses_what_it_should(degenerate):
    """Is each of these recognised, and said in words that help?"""
    namespace = notebook(my_env=degenerate.source(REFERENCE["my_env"]))
    judged = ALL if degenerate.loses & LEARNING else ALL - LEARNING
    lost, said = verdict(EnvironmentExam(namespace, needs_ray=False), judged)
    assert lost == degenerate.loses - SERVED, said
    assert degenerate.says in said


@pytest.mark.parametrize("pointless", POINTLESS, ids=lambda d: d.name)
def test_learning_that_is_no_credit_is_told_apart(pointless):
    """Is it seen that a constant action would do, or that time pays and not the policy?"""
    namespace = notebook(my_env=pointless.source(REFERENCE["my_env"]))
    lost, said = verdict(EnvironmentExam(namespace, needs_ray=False), ALL)
    assert lost == pointless.loses, said
    assert pointless.says in said


@dataclass(frozen=True)
class WrongLearner:
    name: str
    loses: frozenset[str]
    says: str
    old: str
    new: str


ACT = "        return int(values(observation).argmax())"
UNSOLVED = LEARNING - {"test_act"}
WRONG_LEARNERS = [
    WrongLearner("plays MyEnv whatever it is given", LEARNING, "made no step in it",
                 "env_class(), {}", "MyEnv(), {}"),
    WrongLearner("never trains", LEARNING, "made no step in it", "range(iterations)", "range(0)"),
    WrongLearner("trains as long as it likes", frozenset({"test_act"}), "expected one iteration",
                 "range(iterations)", "range(12)"),
    WrongLearner("trains once", UNSOLVED, "call algo.train() `iterations` times",
                 "range(iterations)", "range(1)"),
    WrongLearner("returns nothing", LEARNING, "returned None", "    return act", "    return"),
    WrongLearner("returns the table", LEARNING, "expected a function", "    return act", "    return table"),
    WrongLearner("acts at random", LEARNING, "when it was asked five times", ACT,
                 "        return int(rng.integers(actions))"),
    WrongLearner("returns values for an action", LEARNING, "expected an action as a number", ACT,
                 "        return values(observation)"),
    WrongLearner("counts actions from 1", LEARNING, "expected an action as a number", ACT,
                 "        return 1 + int(values(observation).argmax())"),
    WrongLearner("takes the worst action", UNSOLVED, "no clear difference", "argmax())\n\n    return",
                 "argmin())\n\n    return"),
    WrongLearner("does not look", UNSOLVED, "no clear difference", ACT,
                 "        return int(values(0 * observation).argmax())"),
    WrongLearner("knows the answer beforehand", UNSOLVED, "no clear difference", ACT,
                 "        return int(observation[1] >= 0.4)"),
    WrongLearner("forgets what it learned", UNSOLVED, "no clear difference", "    return act",
                 "    table.clear()\n    return act"),
    WrongLearner("raises", LEARNING, "learn raised ZeroDivisionError", "    return act",
                 "    return 1 / 0"),
    WrongLearner("cannot act", LEARNING, "act(observation) raised KeyError", ACT,
                 "        return {}[0]"),
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_LEARNERS, ids=lambda w: w.name)
@pytest.mark.slow
def test_a_wrong_learner_loses_its_points(wrong):
    """Does each mistake lose the points it should, and only those?"""
    assert wrong.old in QUICK_LEARN
    namespace = notebook(learn=QUICK_LEARN.replace(wrong.old, wrong.new))
    lost, said = verdict(EnvironmentExam(namespace, needs_ray=False), ALL)
    assert lost == wrong.loses, said
    assert wrong.says in said


LOG = "        client.log_returns(episode_id, reward)"
END = "    client.end_episode(episode_id, observation, truncated=truncated and not terminated)"
WRONG_LOOPS = {
    "logs no reward": ("run_one_episode", LOG, "        pass", SERVED),
    "ends no episode": ("run_one_episode", END, "    pass", SERVED),
    "ignores truncation": ("run_one_episode", ", truncated=truncated and not terminated", "", SERVED),
    "plays at random": ("run_one_episode", "env.step(action)", "env.step(0)", SERVED),
    "returns nothing": ("run_one_episode", "    return total", "    return", {"test_loop"}),
    "knows only one size": ("sizes", "env.observation_space.shape[0]", "4", {"test_sizes"}),
    "mixes up the sizes": ("sizes", "env.observation_space.shape[0], int(env.action_space.n)",
                           "int(env.action_space.n), env.observation_space.shape[0]", {"test_sizes"}),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_LOOPS)
def test_a_wrong_loop_loses_its_points(name):
    """Is the loop that served an episode judged in the student's own environment?"""
    cell, old, new, loses = WRONG_LOOPS[name]
    assert old in REFERENCE[cell]
    answers = {**QUICK, cell: REFERENCE[cell].replace(old, new)}
    skip = LEARNING if "test_served" in loses else LEARNING | {"test_served"}
    points, said = grade_in_process(LESSON, answers, skip, {"gym": gym, "np": np})
    assert {grade_id for grade_id, earned in points.items() if not earned} == loses, said


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.slow
def test_a_server_learns_a_right_environment(name):
    """Does a fresh policy server learn what others have invented?"""
    answers = {**QUICK, "my_env": SOURCES[name]}
    points, said = grade_in_process(LESSON, answers, LEARNING, {"gym": gym, "np": np})
    assert not said and sum(points.values()) == 14, said


# Wrong uses of RLlib itself, with what is lost of `LEARNING`.
WRONG_RLLIB = {
    "gives RLlib another environment": ("lambda config: env_class()", "lambda config: MyEnv()", LEARNING),
    "never calls train": ("tqdm(range(iterations)", "tqdm(range(0)", LEARNING),
    "does not learn": ("lr=1e-3", "lr=0.0", UNSOLVED),
    "returns another network": ("module = algo.get_module()",
                                "module = config.copy(copy_frozen=False).build_algo().get_module()", UNSOLVED),
    "hands over no tensor": ("torch.from_numpy(np.asarray(observation, np.float32))",
                             "np.asarray(observation, np.float32)", LEARNING),
    "takes the smallest logit": ("logits.argmax()", "logits.argmin()", UNSOLVED),
    "starts workers that cannot play": ("num_env_runners=0", "num_env_runners=1", LEARNING),
}  # fmt: skip


def rllib_imports() -> dict:
    """What the notebook's own cells import before `learn`."""
    import torch
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
    from ray.tune.registry import register_env
    from tqdm.auto import tqdm

    return {"tqdm": tqdm, "gym": gym, "np": np, "torch": torch, "PPOConfig": PPOConfig,
            "DefaultModelConfig": DefaultModelConfig, "register_env": register_env}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_RLLIB)
@pytest.mark.slow
def test_a_wrong_use_of_rllib_loses_its_points(name, rllib):
    """Is what goes wrong between a student and RLlib seen, too?"""
    from serving.learner.algorithm import without_cluster  # which imports torch and Ray

    old, new, loses = WRONG_RLLIB[name]
    assert old in REFERENCE["learn"] and "iterations=12" in REFERENCE["learn"]
    namespace, learn = rllib_imports(), REFERENCE["learn"].replace(old, new)
    if (
        not LONG
    ):  # the mistake shows as well in what has not got far, and an iteration takes seconds
        learn = learn.replace("iterations=12", f"iterations={2 if loses == LEARNING else 4}")
    exec(REFERENCE["my_env"], namespace)
    exec(learn, namespace)
    with without_cluster():  # as in the process that is examined
        lost, said = verdict(EnvironmentExam(namespace, needs_ray=False), set(LEARNING))
    assert lost == loses, said


@pytest.fixture(scope="module")
def a_course(tmp_path_factory):
    return Course(tmp_path_factory.mktemp("course"), LESSON)


@NEEDS_SANDBOX
@pytest.mark.timeout(1500)  # it learns with RLlib four times, and once through a server
@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"ferry"}))  # which test_lessons.py plays
@pytest.mark.slow
def test_autograding_gives_other_inventions_full_marks(a_course, name):
    """Does plain `nbgrader autograde` give environments other than the reference all points? The
    short form learns by a table, as RLlib takes a minute or two; test_lessons.py has it learn."""
    quick = {} if LONG else {"learn": QUICK_LEARN.replace("iterations=12", "iterations=3")}
    a_course.submit(name, {**REFERENCE, "my_env": SOURCES[name], **quick})
    graded = a_course.grade(name, timeout=1500)
    print(f"{name}: {graded.total} points in {graded.seconds:.0f} s")
    assert graded.total == 20, graded.said


def test_the_visible_check_says_what_is_earned_without_thought(capsys):
    """Does the check answer in words, and with the figures a policy has to beat?"""
    assert check_environment(notebook()["MyEnv"])
    said = capsys.readouterr().out
    assert "Well done!" in said and "at random" in said and "always 1" in said
    assert not check_environment(notebook(my_env="class MyEnv(gym.Env): pass")["MyEnv"])
    assert "expected a row of numbers" in capsys.readouterr().out


def test_a_learned_policy_is_compared_with_thoughtless_ones():
    """Is one that has learned right in all, one that always does the same not better than that, and
    one that is none told so?"""
    named = notebook(**QUICK)
    findings, figures = compare_with_thoughtless(named["learn"](named["MyEnv"]), named["MyEnv"])
    assert not findings and "learned" in figures and "at random" in figures
    findings, _ = compare_with_thoughtless(lambda observation: 0, named["MyEnv"])
    assert "always 0 earns" in findings.of("observing")[0] and not findings.of("greedy")
    for nothing in (None, lambda observation: 7, lambda observation: "left"):
        findings, _ = compare_with_thoughtless(nothing, named["MyEnv"])
        assert all("returned" in findings.of(topic)[0] for topic in LEARNED_TOPICS)


def test_an_environment_that_hangs_is_told_apart():
    """Does a step that never returns end the examination?"""
    source = REFERENCE["my_env"].replace(
        "        reward = -", "        while True: pass\n        reward = -", 1
    )
    findings = examine(notebook(my_env=source)["MyEnv"], seconds=1.0)
    assert "longer than 1 s" in findings.by_topic["episodes"][0]


def test_the_grader_keeps_quiet():
    """Is what a learner prints kept out of the graded cell?"""
    loud = QUICK_LEARN.replace("    return act", "    import sys, os, logging\n    print('x', file=sys.stderr)\n"
                               "    logging.error('x')\n    return act")  # fmt: skip
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        EnvironmentExam(notebook(learn=loud), needs_ray=False).require_learner()
    assert not said.getvalue()


def test_an_algorithm_leaves_no_folder_behind():
    """Is the folder that RLlib makes for an algorithm none in the grader's home, and gone?"""
    build = (
        "    from ray.tune import Trainable\n    folders.append(Trainable().logdir)\n    return act"
    )
    learner = notebook()
    learner["folders"] = []
    exec(QUICK_LEARN.replace("    return act", build), learner)
    EnvironmentExam(learner, needs_ray=False).require_learner()
    (folder,) = map(Path, learner["folders"])
    assert Path.home() / "ray_results" not in folder.parents and not folder.exists()


def test_leads_are_in_standard_errors():
    """Is the lead the paired t statistic, also where nothing varies?"""
    assert lead_of(np.array([1.0, 2, 3]), np.array([1.0, 2, 3])) == 0
    assert lead_of(np.array([2.0, 3, 4]), np.array([1.0, 2, 3])) == 99
    assert lead_of(np.array([1.0, 3, 5]), np.array([0.0, 1, 2])) == pytest.approx(2 / (1 / 3**0.5))


def test_returns_come_from_fresh_environments():
    """Does the same seed make the same returns?"""
    env_class = notebook()["MyEnv"]
    act = lambda observation: int(observation[1] > 0.4)  # noqa: E731
    assert returns_of(env_class, act, 3, seed=1) == returns_of(env_class, act, 3, seed=1)


def test_steps_count_in_a_copy_that_ray_has_made():
    """Where a Ray runs it pickles the environments it registers: is a learner that plays such a copy
    found to have played?"""
    from ray import cloudpickle

    namespace = {"gym": gym, "np": np, "__name__": "__main__"}
    exec(REFERENCE["my_env"], namespace)
    own = namespace["MyEnv"]

    def learn(env_class, iterations=12):
        env = cloudpickle.loads(cloudpickle.dumps(env_class))()
        env.reset(seed=1)
        for _ in range(20):
            env.step(0)
        return lambda observation: 0

    assert not examine_learner(learn, own).of("plays")
    assert examine_learner(lambda env_class, iterations=12: lambda observation: 0, own).of("plays")
