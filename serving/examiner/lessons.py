"""Which examination belongs to which lesson."""

from __future__ import annotations

import importlib

from serving.examiner.examination import Examination

EXAMINATIONS = {
    "01-serve-and-learn": "serve_and_learn:ServeAndLearn",
    "02-pong": "pong:Pong",
    "03-learn-from-logs": "learn_from_logs:LearnFromLogs",
    "04-compare-algorithms": "compare_algorithms:CompareAlgorithms",
    "05-your-own-environment": "own_environment:OwnEnvironment",
}


def examination_of(lesson: str) -> type[Examination]:
    """The lesson's examination; imported only now, as lesson 05's needs more than all others."""
    if lesson not in EXAMINATIONS:
        raise LookupError(f"no examination of {lesson!r}; there are {', '.join(EXAMINATIONS)}")
    module, name = EXAMINATIONS[lesson].split(":")
    return getattr(importlib.import_module(f"serving.examiner.{module}"), name)
