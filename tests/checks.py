"""The check cell of each exercise, and what a notebook holds when it runs."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym
import numpy as np
from grading import reference_answers

from serving.exercises import (
    compare_algorithms,
    conclusions,
    learn_from_logs,
    own_solution,
    pong,
    serve_and_learn,
)

FIRST, PONG, LOGS, ALGORITHMS, OWN = (
    "01-serve-and-learn", "02-pong", "03-learn-from-logs", "04-compare-algorithms",
    "05-your-own-environment",
)  # fmt: skip
CHECKS: dict[tuple[str, str], Callable] = {
    (FIRST, "run_one_episode"): serve_and_learn.check_run_one_episode,
    (FIRST, "solved"): serve_and_learn.check_solved,
    (FIRST, "evaluate_policy"): serve_and_learn.check_evaluate_policy,
    (PONG, "play_game"): pong.check_play_game,
    (PONG, "share_of_points"): pong.check_share_of_points,
    (PONG, "train"): pong.check_train,
    (LOGS, "replay"): learn_from_logs.check_replay,
    (LOGS, "importance_weight"): learn_from_logs.check_importance_weight,
    (ALGORITHMS, "learning_curve"): compare_algorithms.check_learning_curve,
    (ALGORITHMS, "mean_and_spread"): compare_algorithms.check_mean_and_spread,
    (ALGORITHMS, "conclude"): conclusions.check_conclude,
    (OWN, "sizes"): own_solution.check_sizes,
    (OWN, "run_one_episode"): own_solution.check_loop,
}


def names_of(lesson: str, **answers: str) -> dict:
    """A notebook's names, with these answers and else the reference's; nothing that waits for RLlib."""
    names = {"gym": gym, "np": np, "env": None}
    for grade_id, source in {**reference_answers(lesson), **answers}.items():
        if grade_id not in ("words", "learn"):
            exec(source, names)
    return names


def check(lesson: str, exercise: str, answer: str) -> bool:
    """Whether the check cell finds this answer right."""
    names = names_of(lesson, **{exercise: answer})
    more = [names["MyEnv"]] if lesson == OWN else []
    return CHECKS[lesson, exercise](names[exercise], *more)
