"""Checks that help: how far one is, a hint after the third failure of a kind, and the very line."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest
from kernels import a_kernel

from serving import exercises
from serving.exercises import tutor
from serving.exercises.findings import Findings, explain, report
from serving.exercises.pong import PLAY_GAME
from serving.exercises.serve_and_learn import RUN_TOPICS, check_solved

TOPICS = {"a": "the server is asked about every observation, and its actions are played",
          "b": "every reward reaches the server", "c": "something else"}  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_failed_before(monkeypatch):
    tutor._failures.clear()


def wrong(*topics: str, sentence: str = "expected this, came that") -> Findings:
    return Findings({topic: [sentence] for topic in topics})


def all_topics() -> set[str]:
    """The sentence of every topic that some lesson's check cells know."""
    found = set(PLAY_GAME.topics.values())
    for module in pkgutil.iter_modules(exercises.__path__):
        for name, topics in vars(
            importlib.import_module(f"serving.exercises.{module.name}")
        ).items():
            if name.endswith("TOPICS") and name != "SERVER_TOPICS":
                found |= set(topics.values())
    return found


def test_every_topic_of_every_lesson_has_its_hints():
    """Is there a hint and a stronger one for each, and none for what is no topic (any more)?"""
    assert all_topics() == set(tutor.HINTS) - {tutor.RAISED}
    for first, stronger in tutor.HINTS.values():
        assert first != stronger and len(first) < len(stronger) + 80


def test_no_hint_holds_a_line_of_the_answers():
    """Does none of them quote code of the solutions?"""
    import nbformat

    from serving import ROOT

    answers = [
        line.strip()
        for path in Path(ROOT, "solutions").glob("*/*.ipynb")
        for cell in nbformat.read(path, as_version=4).cells
        if cell.metadata.get("nbgrader", {}).get("solution") and cell.cell_type == "code"
        for line in cell.source.splitlines()
        if len(line.strip()) > 12 and "#" not in line
    ]
    assert len(answers) > 50
    hints = " ".join(" ".join(pair) for pair in tutor.HINTS.values())
    assert not [line for line in answers if line in hints]


def test_the_third_failure_brings_a_hint_and_the_fifth_a_stronger_one():
    """Is there none before, and does being right once begin the count anew?"""
    first, stronger = tutor.HINTS[TOPICS["b"]]
    said = [tutor.hint(wrong("b"), TOPICS) for _ in range(6)]
    assert said == ["", "", first, first, stronger, stronger]
    assert tutor.hint(Findings(), TOPICS) == ""
    assert tutor.hint(wrong("b"), TOPICS) == ""


def test_a_failure_of_another_kind_is_counted_apart():
    """Is the hint about what is wrong now, and about the first of it?"""
    tutor.hint(wrong("a", "b"), TOPICS), tutor.hint(wrong("a"), TOPICS)
    assert tutor.hint(wrong("b"), TOPICS) == ""
    assert tutor.hint(wrong("a", "b"), TOPICS) == ""  # "a" was right in between
    tutor.hint(wrong("a"), TOPICS)
    assert tutor.hint(wrong("a", "b"), TOPICS) == tutor.HINTS[TOPICS["a"]][0]


def test_exceptions_have_a_hint_of_their_own_and_a_stub_none():
    """Is an exception no failure at the topic, and an untouched stub no failure at all?"""
    for raised in ("KeyError: 'x'", "IndexError: 3", "KeyError: 'y'"):
        said = tutor.hint(wrong("a", "b", "c", sentence=f"f raised {raised}"), TOPICS)
    assert said == tutor.HINTS[tutor.RAISED][0]
    for _ in range(9):
        assert not tutor.hint(wrong("a", "b", sentence="f raised NotImplementedError: "), TOPICS)


def test_a_report_says_how_far_one_is(capsys):
    """Does it count what is right, once something is?"""
    report(wrong("ending", "result"), RUN_TOPICS)
    assert capsys.readouterr().out.splitlines()[-1].startswith("Not yet: 4 of 6 are right; change")
    report(wrong(*RUN_TOPICS), RUN_TOPICS, hint="look there")
    said = capsys.readouterr().out.splitlines()
    assert said[-2].startswith("Not yet: change your code") and said[-1] == "Hint: look there"


def test_an_exception_is_told_with_the_line_it_came_from():
    """Is it the innermost line of the student's own, not of a library it has called?"""

    def mine():
        numbers = [1, 2]
        return sorted(numbers, key=lambda number: number["x"])

    try:
        mine()
    except TypeError as error:
        said = explain(error, "mine")
    assert said.startswith("mine raised TypeError: 'int' object is not subscriptable, in line ")
    assert said.endswith('return sorted(numbers, key=lambda number: number["x"])')


def test_in_a_notebook(tmp_path, monkeypatch):
    """Do check cells of a real kernel give line and hint, and keep how far one is beside the
    notebook; and does Validate's kernel leave that alone?"""
    (tmp_path / "lesson.ipynb").write_text("{}")
    check = "from serving.exercises.serve_and_learn import check_solved\ncheck_solved(solved);"
    monkeypatch.chdir(tmp_path)
    with a_kernel() as kernel:
        kernel.run(
            "def solved(returns):\n    latest = returns[-20:]\n    return sum(latest) / 0 > 1"
        )
        for _ in range(3):
            said = kernel.run(check)
        assert "solved raised ZeroDivisionError: division by zero, in line 3: return sum" in said
        assert f"Hint: {tutor.HINTS[tutor.RAISED][0][:60]}" in said
        kernel.run("import os; os.environ['NO_POLICY_SERVER_AT_PORT'] = '8900'")
        right = "def solved(r):\n    return len(r) >= 20 and sum(r[-20:]) >= 20 * 195"
        kernel.run(right)
        assert "Well done!" in kernel.run(check)
        from serving.exercises import progress

        (kept,) = progress.read(tmp_path).values()
        assert (kept["right"], kept["of"]) == ([], 1)
        kernel.run("del os.environ['NO_POLICY_SERVER_AT_PORT']")
        kernel.run(check)
        (kept,) = progress.read(tmp_path).values()
        assert len(kept["right"]) == kept["of"] == 1 and kept["check"] == "check_solved"


def test_outside_of_notebooks_nothing_is_kept(tmp_path, monkeypatch, capsys):
    """Does a check in a program write no file?"""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lesson.ipynb").write_text("{}")
    check_solved(lambda returns: False)
    assert "✗" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["lesson.ipynb"]
