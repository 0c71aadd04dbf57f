"""Lesson 04: what may be concluded from curves and figures, and what went wrong if it was not."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np

from serving.evaluation import time_limit
from serving.exercises.compare_algorithms import short
from serving.exercises.serve_and_learn import Findings
from serving.exercises.visible import require_all, show

CONCLUSION_TOPICS = {
    "solved": "how many seeds got there",
    "medians": "median episodes and seconds over the seeds",
    "fewest": "the run that needs the fewest of each",
    "logs": "the runs that learn from logs",
}
TARGET = 195.0  # where nobody names one


def watch_conclusion(
    conclude: Callable, curves: dict, logged: dict, target: float | None
) -> Findings:
    """Compares with what these figures say. Without a target it is not named in the call, and is the
    one that the lesson's stub has."""
    findings = Findings()
    expected = _expected_conclusion(curves, logged, TARGET if target is None else target)
    named = [] if target is None else [target]
    try:
        with time_limit(20, f"conclude(curves, logged{', target' if named else ''})"):
            answer = conclude(copy.deepcopy(curves), copy.deepcopy(logged), *named)
        missing = [name for name in expected if name not in answer]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the student's code
        for topic in CONCLUSION_TOPICS:
            findings.add(topic, f"conclude raised {type(error).__name__}: {error}")
        return findings
    if missing:
        for topic in CONCLUSION_TOPICS:
            findings.add(topic, f"conclude returned {short(answer)}, without {', '.join(missing)}")
        return findings
    topics = {"episodes": "medians", "seconds": "medians", "learns_from_logs": "logs",
              "fewest_episodes": "fewest", "fewest_seconds": "fewest"}  # fmt: skip
    for name, want in expected.items():
        came = answer[name]
        if isinstance(want, dict):
            right = (
                isinstance(came, dict)
                and set(came) == set(want)
                and all(_is_number(came[run], want[run]) for run in want)
            )
        elif isinstance(want, list):
            right = not isinstance(came, str) and sorted(came or []) == want
        else:
            right = came == want
        if not right:
            findings.add(
                topics.get(name, name),
                f"{name} is {short(came)}, and the figures say {short(want)}",
            )
    return findings


def _expected_conclusion(curves: dict, logged: dict, target: float) -> dict:
    """Computed from the curves alone, another way than `serving.notebook.experiment.solved_at` does."""
    took: dict[str, list[tuple[float, float]]] = {}
    for run, of_seeds in curves.items():
        took[run] = []
        for curve in of_seeds:
            table = np.array(curve, float).reshape(-1, 3)
            sums = np.convolve(table[:, 0], np.ones(20), "valid") if len(table) >= 20 else []
            there = np.flatnonzero(np.array(sums) / 20 >= target - 1e-9)
            first = int(there[0]) + 19 if len(there) else None
            took[run].append(
                (math.inf, math.inf) if first is None else (first + 1.0, table[first, 2])
            )
    medians = [
        {run: float(np.median([pair[part] for pair in pairs])) for run, pairs in took.items()}
        for part in (0, 1)
    ]
    fewest = [min(of, key=of.get) if min(of.values()) < math.inf else None for of in medians]
    return {
        "solved": {run: sum(e < math.inf for e, _ in pairs) for run, pairs in took.items()},
        "episodes": medians[0],
        "seconds": medians[1],
        "fewest_episodes": fewest[0],
        "fewest_seconds": fewest[1],
        "learns_from_logs": sorted(run for run, figures in logged.items() if figures["updates"]),
    }


def _is_number(came, want: float) -> bool:
    try:
        came = float(came)
    except (TypeError, ValueError):
        return False
    return came == want or (math.isfinite(want) and math.isclose(came, want, rel_tol=1e-6))


def examine_conclude(conclude: Callable) -> Findings:
    """Two invented runs, and three targets, one of them not named; topics are CONCLUSION_TOPICS."""

    def a_curve(rise: float, pace: float, most: float = 200.0) -> list[list[float]]:
        return [[min(most, rise * i), 100.0 * i, pace * i] for i in range(1, 70)]

    curves = {
        "A": [a_curve(20, 2.0), a_curve(10, 2.5), a_curve(9, 0.1, most=20.0)],
        "B": [a_curve(7, 0.5), a_curve(5, 0.2), a_curve(6, 0.9)],
    }
    logged = {
        "A": {"logged_steps": 100, "unlearnable_steps": 100, "updates": 0},
        "B": {"logged_steps": 100, "unlearnable_steps": 0, "updates": 1},
    }
    for target in (None, 100.0, 250.0):
        findings = watch_conclusion(conclude, curves, logged, target)
        if findings:
            break
    return findings


def check_conclude(conclude: Callable) -> bool:
    """Tries it on invented figures, and prints what is right and what is not."""
    says = (
        "Invented figures. Run A: few episodes, much time, and a seed that never gets there; run B: "
        "many episodes, little time ..."
    )
    return show(lambda: examine_conclude(conclude), CONCLUSION_TOPICS, says)


def require_conclude(conclude: Callable) -> None:
    """Raises AssertionError with what is wrong about the conclusion."""
    require_all(lambda: examine_conclude(conclude), CONCLUSION_TOPICS)
