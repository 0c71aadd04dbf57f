"""What a student sees of a verdict: check cells, and the visible part of graded cells.

Both let the student's function play against a policy server of their own, so that the student's
server never notices. While somebody grades, the grader asks by itself, and nothing here runs.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import sys
import textwrap
import weakref
from collections.abc import Callable, Iterator

from serving.client import PolicyClient
from serving.connection import GRADING
from serving.exercises import progress, tutor
from serving.exercises.findings import Findings, report
from serving.protocol import PolicyServerError
from serving.running_server import RunningServer

EXAMINER = "EXAMINER"  # set in the kernel that an examiner questions


class NotYet(AssertionError):
    """What a graded cell says of an answer that is not right yet: a sentence, and no traceback."""

    def _render_traceback_(self) -> list[str]:
        return textwrap.wrap(f"✗ {self}", 80, subsequent_indent="  ")


def is_graded() -> bool:
    """Whether an examiner questions this kernel."""
    return bool(os.environ.get(EXAMINER))


def is_alone() -> bool:
    """Whether nobody sits before this kernel: it grades, or *Validate* has started it."""
    return bool(os.environ.get(GRADING)) or is_graded()


def findings_of(function: Callable, find: Callable[[Callable], Findings]) -> Findings:
    """`find(function)`; while nobody changes the notebook it is found once for all its graded cells.

    Only then: what the function calls may have been written anew since."""
    if not is_alone():
        return find(function)
    found = _found.setdefault(function, {})
    if find not in found:
        found[find] = find(function)
    return found[find]


_found: weakref.WeakKeyDictionary[Callable, dict[Callable, Findings]] = weakref.WeakKeyDictionary()


def namespace_of(function: Callable) -> dict:
    """The globals that the function sees: those of the notebook it was written in."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(getattr(function, "__func__", function))
    return getattr(function, "__globals__", vars(sys.modules["__main__"]))


@contextlib.contextmanager
def playing_against(function: Callable, client: PolicyClient) -> Iterator[None]:
    """While the block runs, the variable `client` of the function's notebook is this one."""
    namespace, missing = namespace_of(function), object()
    before = namespace.get("client", missing)
    namespace["client"] = client
    try:
        yield
    finally:
        if before is missing:
            namespace.pop("client", None)
        else:
            namespace["client"] = before


@contextlib.contextmanager
def a_server_for(
    function: Callable, observation_size: int, action_size: int, **options
) -> Iterator[PolicyClient]:
    """A fresh policy server that the function plays against in the block, and that is gone then. It
    records and does not learn: a check looks at what was said, and is over before a learner is up."""
    with RunningServer(observation_size, action_size, learner=False, **options) as server:
        client = server.client()
        with playing_against(function, client):
            yield client


def show(find: Callable[[], Findings], topics: dict[str, str], says: str) -> bool:
    """A check cell: prints what is being done, what is right, and what is not."""
    if is_graded():
        print("Whoever grades this looks by themselves.")
        return False
    print(says)
    try:
        findings = find()
        hint = tutor.hint(findings, topics)
        if not is_alone():
            check = find.__qualname__.partition(".")[0]  # `find` is a lambda of the check's
            progress.remember(check, topics, findings)
        return report(findings, topics, hint=hint)
    except (PolicyServerError, RuntimeError) as error:
        print(f"✗ {error}")
        return False


@contextlib.contextmanager
def nothing_on_stderr() -> Iterator[None]:
    """What is written to stderr in the block stands in stdout: nbgrader takes a graded cell that has
    written there for one that failed, and RLlib's warnings, and bars, are written there."""
    stderr, loggers = sys.stderr, [logging.root, *logging.root.manager.loggerDict.values()]
    handlers = [handler for logger in loggers for handler in getattr(logger, "handlers", ())]
    moved = [handler for handler in handlers if getattr(handler, "stream", None) is stderr]
    for handler in moved:  # a handler keeps the stream that was stderr when it was made
        handler.setStream(sys.stdout)
    try:
        with contextlib.redirect_stderr(sys.stdout):
            yield
    finally:
        for handler in moved:
            handler.setStream(stderr)


def require(find: Callable[[], Findings], topic: str, topics: dict[str, str]) -> None:
    """A graded cell: raises NotYet with the first finding about the topic."""
    if is_graded():
        return
    with nothing_on_stderr():
        findings = find()
    if findings.of(topic):
        raise NotYet(f"{topics[topic]}: {findings.of(topic)[0]}")


def require_all(find: Callable[[], Findings], topics: dict[str, str]) -> None:
    """A graded cell about all topics: raises NotYet with the first finding."""
    if is_graded():
        return
    with nothing_on_stderr():
        findings = find()
    for topic, meaning in topics.items():
        if findings.of(topic):
            raise NotYet(f"{meaning}: {findings.of(topic)[0]}")
