"""An examination: the questions of one lesson, put to one notebook."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np

from serving.evaluation import time_limit
from serving.examiner.line import Gone
from serving.examiner.stand_ins import Notebook
from serving.policy import Policy

SECONDS_FOR_AN_ANSWER = 20.0
NOT_ASKED = (
    "this cell ended before the examiner could ask: something in the notebook has stopped it, or "
    "has taken the examiner's place"
)


@dataclass(frozen=True)
class Verdict:
    """What a question came to. `sentence`: what is wrong; None if nothing is.

    curve, policy
        of a question about learning: [env steps played, how good the frozen policy was] at each look,
        and the policy of the last of them, as `packed` packs it
    """

    question: str
    sentence: str | None
    seconds: float
    curve: list[list[float]] = field(default_factory=list)
    policy: str | None = None

    @property
    def passed(self) -> bool:
        return self.sentence is None


class Look(NamedTuple):
    """One of the times a policy was judged while it learned."""

    steps: int
    measured: float
    policy: Policy


def packed(policy: Policy) -> str:
    """A policy as a line of text."""
    return base64.b64encode(msgspec.msgpack.encode(policy.pack())).decode()


def unpacked(text: str) -> Policy:
    return Policy.unpack(msgspec.msgpack.decode(base64.b64decode(text)))


class Examination:
    """Base of the lessons' examinations: a method for each graded cell, named by its grade_id, which
    raises AssertionError with a sentence for the student.

    notebook
        the notebook's variables: its `globals()`, or what stands for them (`stand_ins.Notebook`)
    seed
        of what is drawn for this submission
    """

    def __init__(self, notebook: dict | Notebook, seed: int = 0):
        self.notebook, self.seed = notebook, seed
        self.rng = np.random.default_rng(seed)
        self._to_close: list = []

    @classmethod
    def questions(cls) -> list[str]:
        return [name for name in dir(cls) if name.startswith("test_")]

    def ask(self, question: str) -> Verdict:
        """The verdict on one question. Whatever goes wrong on the way is a failure that is told."""
        began, sentence, seen = time.monotonic(), None, len(self._looks())
        try:
            if question not in self.questions():
                raise AssertionError(f"this lesson has no question {question}")
            getattr(self, question)()
        except AssertionError as wrong:
            sentence = str(wrong) or "that is not right"
        except Gone as gone:
            sentence = f"the notebook stopped answering: {gone}"
        except Exception as error:  # noqa: BLE001 - a question without a verdict is not passed
            sentence = f"{type(error).__name__}: {error}"
        seconds, looks = time.monotonic() - began, self._looks()[seen:]
        policy = packed(looks[-1].policy) if looks else None
        return Verdict(question, sentence, seconds, [[*look[:2]] for look in looks], policy)

    def function(self, name: str) -> Callable:
        """The notebook's function; raises AssertionError if there is none."""
        function = self.notebook.get(name)
        assert callable(function), f"there is no function {name} in this notebook"
        return function

    @staticmethod
    def asked(function: Callable, *arguments):
        """The function's answer to plain arguments."""
        name = getattr(function, "__name__", "the function")
        try:
            with time_limit(SECONDS_FOR_AN_ANSWER, f"{name}()"):
                return function(*arguments)
        except Gone:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the student's code
            raise AssertionError(f"{name} raised {type(error).__name__}: {error}") from None

    def _looks(self) -> list[Look]:
        return [look for thing in self._to_close for look in getattr(thing, "looks", ())]

    def closing(self, thing):
        """The thing, which is closed with this examination."""
        self._to_close.append(thing)
        return thing

    def close(self) -> None:
        things, self._to_close = self._to_close, []
        with ThreadPoolExecutor() as pool:  # each server takes its quarter of a second to stop
            list(pool.map(lambda thing: thing.close(), things))
