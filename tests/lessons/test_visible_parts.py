"""What *Validate* and the check cells run: the released cells, with stubs and with right answers."""

from __future__ import annotations

import contextlib
import io
import re

import gymnasium as gym
import nbformat
import numpy as np
import pytest
from leftovers import free_port
from grading import ROOT, reference_answers
from light_server import light_servers  # noqa: F401 - a fixture
from own_environments import QUICK_LEARN
from served import Served

from serving import PolicyClient
from serving.connection import GRADING

LESSONS = ["02-pong", "03-learn-from-logs", "04-compare-algorithms", "05-your-own-environment"]
pytestmark = pytest.mark.usefixtures("light_servers")


def released(lesson: str) -> list:
    path = ROOT / "lessons" / lesson / f"{lesson}.ipynb"
    return nbformat.read(path, as_version=4).cells


def run(lesson: str, answers: dict[str, str], namespace: dict) -> dict[str, str]:
    """Runs the cells with answers in `namespace`, and graded cells and check cells each in a copy
    of it: they stand on their own. What graded cells raised, and under "checks" what was printed."""
    raised, said = {}, io.StringIO()
    with contextlib.redirect_stdout(said):
        for cell in released(lesson):
            mark = cell.metadata.get("nbgrader", {})
            if cell.cell_type != "code":
                continue
            if mark.get("solution"):
                with contextlib.suppress(NotImplementedError):
                    exec(answers.get(mark["grade_id"], cell.source), namespace)
            elif mark.get("grade"):
                try:
                    exec(cell.source, dict(namespace))
                except AssertionError as error:
                    raised[mark["grade_id"]] = str(error)
            elif re.search(r"serving.exercises\S+ import check_(?!server)", cell.source):
                exec(cell.source, dict(namespace))
    return {**raised, "checks": said.getvalue()}


@pytest.fixture
def a_live_server():
    server = Served(free_port()).start()
    try:
        yield server
    finally:
        server.stop()


SAYS = {("02-pong", "test_server"): "arguments are required"}


def graded(lesson: str) -> set[str]:
    marks = [cell.metadata.get("nbgrader", {}) for cell in released(lesson)]
    return {m["grade_id"] for m in marks if m.get("grade") and not m.get("solution")}


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_stub_fails_with_a_sentence(lesson, monkeypatch):
    """Does every released graded cell of an untouched lesson say what is missing, in a sentence, also
    in the kernel of *Validate*?"""
    monkeypatch.setenv(GRADING, "8900")
    said = run(lesson, {}, {"gym": gym, "np": np})
    assert "Well done" not in said.pop("checks")
    assert set(said) == graded(lesson)
    for grade_id, sentence in said.items():
        expected = SAYS.get((lesson, grade_id), "raised NotImplementedError: replace this line")
        assert expected in sentence, (grade_id, sentence)


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_right_answer_passes_and_the_live_server_never_notices(lesson, a_live_server):
    """Do right answers pass, without a word to the student's own server?"""
    answers = reference_answers(lesson)
    answers.pop("words", None)
    if "learn" in answers:
        answers["learn"] = QUICK_LEARN
    client = PolicyClient(a_live_server.address)
    said = run(lesson, answers, {"client": client, "gym": gym, "np": np})
    assert "✗" not in said["checks"] and "Well done" in said["checks"]
    assert set(said) == {"checks"}
    assert not a_live_server.calls


@pytest.mark.parametrize("lesson", LESSONS)
def test_nothing_runs_while_an_examiner_asks(lesson, monkeypatch):
    """Are released cells silent in a kernel that is examined, also for a stub?"""
    monkeypatch.setenv("EXAMINER", "somewhere")
    assert set(run(lesson, {}, {"gym": gym, "np": np})) == {"checks"}
