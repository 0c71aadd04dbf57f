"""Lesson 0: what a right answer looks like, in sentences.

Check cells and hidden tests ask the same questions; only the numbers differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from serving.evaluation import time_limit
from serving.exercises.findings import Findings, explain
from serving.exercises.visible import require_all, show

TOPICS = {"values": "each reward counts, and each once more discounted than the one before it"}
# Rewards and a discount; short enough that a student can follow them by hand.
CASES = [([], 0.9), ([3.0], 0.5), ([1.0, 1.0], 0.5), ([1.0, 0.0, -2.0], 0.9), ([0.0, 5.0], 0.0)]
SECONDS = 10.0


def expected_of(rewards: Sequence[float], discount: float) -> float:
    """By the formula, term by term: another way than the one that the solution takes."""
    return math.fsum(reward * discount**step for step, reward in enumerate(rewards))


def examine_discounted_return(
    discounted_return: Callable, cases: Sequence[tuple[list[float], float]]
) -> Findings:
    """Compares the function's answers with the formula; topic `values`."""
    findings = Findings()
    for rewards, discount in cases:
        given = list(rewards)
        shown = f"{given[:6]}{' ...' if len(given) > 6 else ''}"
        call = f"discounted_return({shown}, {discount})"
        try:
            with time_limit(SECONDS, call):
                answer = float(discounted_return(given, discount))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the student's code
            findings.add("values", explain(error, call))
            return findings
        expected = expected_of(rewards, discount)
        if not math.isclose(answer, expected, rel_tol=1e-6, abs_tol=1e-9):
            findings.add("values", f"{call} returned {answer:.6g}, expected {expected:.6g}")
            return findings
        if given != list(rewards):
            findings.add("values", f"{call} changed the list that it was given")
            return findings
    return findings


def check_discounted_return(discounted_return: Callable) -> bool:
    """Tries it on a few episodes, and prints what is right and what is not."""
    says = f"{len(CASES)} episodes of 0 to 3 steps ..."
    return show(lambda: examine_discounted_return(discounted_return, CASES), TOPICS, says)


def require_discounted_return(discounted_return: Callable) -> None:
    """Raises AssertionError with what is wrong about it."""
    require_all(lambda: examine_discounted_return(discounted_return, CASES), TOPICS)
