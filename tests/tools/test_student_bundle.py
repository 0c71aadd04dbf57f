"""make bundle: what students get works on its own, and holds no answer anywhere in its history."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from grading import reference_answers

from serving import ROOT
from tools import student_bundle

pytestmark = pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="this is no git repository"
)
ADDRESS = "https://github.com/ada/online-learning"
LESSONS = sorted(path.name for path in (ROOT / "lessons").iterdir())
if not os.environ.get("LONG_TEST"):  # the others are alike, and take a minute
    LESSONS = [lesson for lesson in LESSONS if lesson.startswith("03")]

# Runs a lesson's cells in the bundle with right answers in place, and prints what its checks say.
TAKE_A_LESSON = """
import contextlib, json, os, re, sys
import gymnasium as gym, numpy as np, nbformat, serving
assert serving.__file__.startswith(os.getcwd()), serving.__file__
lesson, answers = sys.argv[1], json.load(sys.stdin)
space = {"gym": gym, "np": np, "client": serving.PolicyClient("http://localhost:1", quiet=True)}
for cell in nbformat.read(f"lessons/{lesson}/{lesson}.ipynb", as_version=4).cells:
    mark = cell.metadata.get("nbgrader", {})
    if cell.cell_type == "code" and mark.get("solution"):
        with contextlib.suppress(NotImplementedError):
            exec(answers.get(mark["grade_id"], cell.source), space)
    elif mark.get("grade") and cell.cell_type == "code" or re.search(
        r"serving.exercises\\S+ import check_(?!server|solved)", cell.source
    ):
        exec(cell.source, dict(space))
"""


@pytest.fixture(scope="module")
def a_bundle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "online-learning"
    assert student_bundle.main([f"--into={folder}", f"--repository={ADDRESS}"]) == 0
    (folder / ".venv").symlink_to(sys.prefix)  # git ignores it in the bundle, too
    return folder


def run(bundle: Path, *command: str, stdin: str = "", timeout: float = 280) -> str:
    """What a command prints in the bundle, which sees the bundle's `serving`."""
    done = subprocess.run(
        command, cwd=bundle, input=stdin, capture_output=True, text=True, timeout=timeout,
        env={**os.environ, "PYTHONPATH": str(bundle)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_everything_is_there_and_nothing_of_the_instructors(a_bundle):
    """Are lessons, kit, pictures and data in repository and archive alike, and nothing to grade by?"""
    files = set(run(a_bundle, "git", "ls-files").split())
    archive = zipfile.ZipFile(a_bundle.with_name("online-learning.zip"))
    archived = {name.split("/", 1)[1] for name in archive.namelist() if not name.endswith("/")}
    assert archived == files
    lessons = {str(path.relative_to(ROOT)) for path in (ROOT / "lessons").rglob("*.ipynb")}
    expected = {"START.md", "README.md", "Makefile", "serving/client.py", "serving/data_large.gz"}
    assert lessons | expected <= files
    assert not [name for name in files if re.search(r"solutions|examiner|hostile|mutant", name)]


@pytest.mark.parametrize("kind", ["solution", "hidden test"])
def test_a_leak_is_found_also_in_its_history(a_bundle, tmp_path, kind):
    """Does an answer that was committed once, and deleted again, end it?"""
    folder = tmp_path / "leaky"
    shutil.copytree(a_bundle, folder, symlinks=True)
    answer = reference_answers("03-learn-from-logs")["replay"]
    secret = answer if kind == "solution" else 'exam.require("test_learning")\n'
    (folder / "lessons" / "notes.py").write_text("# moved\n" + secret.replace("    ", "\t"))
    student_bundle.commit(folder)
    (folder / "lessons" / "notes.py").unlink()
    student_bundle.commit(folder)
    with pytest.raises(student_bundle.Leak, match="notes.py"):
        student_bundle.check(folder)


@pytest.mark.slow
def test_called_again_it_adds_what_is_new(a_bundle, tmp_path, capsys):
    """Is the second release a commit on top of the first, and no commit if nothing is new?"""
    folder = tmp_path / "again"
    shutil.copytree(a_bundle, folder, symlinks=True)
    (folder / "START.md").write_text("an older one\n")
    student_bundle.commit(folder)
    arguments = [f"--into={folder}", f"--repository={ADDRESS}"]
    for said in ("a new commit", "nothing new"):
        assert student_bundle.main(arguments) == 0
        assert said in capsys.readouterr().out
    assert len(run(folder, "git", "log", "--format=%h").split()) == 3
    assert (folder / "START.md").read_text() == (ROOT / "START.md").read_text()


def test_it_writes_over_nothing_else(tmp_path):
    """Are a folder with somebody's files, and the kit itself, left alone?"""
    (tmp_path / "mine").write_text("mine")
    for folder in (tmp_path, ROOT):
        with pytest.raises(SystemExit, match="name another"):
            student_bundle.main([f"--into={folder}"])
    assert (tmp_path / "mine").read_text() == "mine"


def test_readme_and_make_are_the_students(a_bundle):
    """Do README and make name only what is there, and does a badge open the bundle itself?"""
    readme = (a_bundle / "README.md").read_text()
    assert f"/gh/{ADDRESS.removeprefix('https://github.com/')}/main?urlpath=" in readme
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", readme + (a_bundle / "START.md").read_text())
    assert not [link for link in links if not (a_bundle / link).exists()]
    listed = dict(re.findall(r"^  make (\S+) +(\S.*)$", run(a_bundle, "make"), re.M))
    assert set(listed) == set(student_bundle.TARGETS)
    assert not [words for words in listed.values() if "solution" in words]
    assert set(re.findall(r"`?make ([a-z-]+)", readme)) <= listed.keys()


@pytest.mark.parametrize("lesson", LESSONS)
@pytest.mark.slow
def test_its_lessons_pass_their_checks(a_bundle, lesson):
    """With right answers: is every check cell content, and does every graded cell pass?"""
    answers = reference_answers(lesson)
    if "learn" in answers:  # minutes of RLlib, which tests/lessons wait for
        pytest.skip("lesson 05's answers are looked at by tests/lessons/test_visible_parts.py")
    said = run(a_bundle, sys.executable, "-c", TAKE_A_LESSON, lesson, stdin=json.dumps(answers))
    assert "Well done" in said and "✗" not in said


@pytest.mark.timeout(400)
@pytest.mark.slow
def test_its_own_tests_pass(a_bundle):
    """Does `make test` pass in it?"""
    said = run(
        a_bundle, "make", "-o", ".venv/installed", "test", "ARGS=-p no:cacheprovider", timeout=380
    )
    assert re.search(r"\b\d+ passed", said) or "100%" in said
