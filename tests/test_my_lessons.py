"""Where one stands; a fresh lesson and a fresh policy, with the old ones kept."""

from __future__ import annotations

import json
import subprocess

import pytest
from players import play_steps

from serving import ROOT, checkpoints, my_lessons
from serving.running_server import RunningServer

LESSON = "01-serve-and-learn"


@pytest.fixture
def a_kit(tmp_path, monkeypatch):
    """A clone with one lesson in it, as the commands see it."""
    folder = tmp_path / "lessons" / LESSON
    folder.mkdir(parents=True)
    notebook = folder / f"{LESSON}.ipynb"
    notebook.write_bytes((ROOT / "lessons" / LESSON / f"{LESSON}.ipynb").read_bytes())
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "the kit"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(my_lessons, "ROOT", tmp_path)
    monkeypatch.setattr(my_lessons, "LESSONS", tmp_path / "lessons")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_how_far_one_is(a_kit, capsys):
    """Is it said by lesson what was right when it was checked last?"""
    assert my_lessons.main([]) == 0
    assert "not checked yet" in capsys.readouterr().out
    kept = {"a": {"check": "check_run_one_episode", "right": ["a", "b"], "of": 3,
                  "checked": "2030-01-02 10:00"},
            "b": {"check": "check_solved", "right": ["c"], "of": 1,
                  "checked": "2030-01-02 11:00"}}  # fmt: skip
    (a_kit / "lessons" / LESSON / ".progress.json").write_text(json.dumps(kept))
    my_lessons.main([])
    said = capsys.readouterr().out
    assert f"{LESSON}" in said and "3 of  4 checked are right" in said
    # Two thirds of the 17 points for the episode, and 2 for when it is solved.
    assert "about 13 of 22 points, 2030-01-02 11:00" in said
    assert "olicy server" in said.splitlines()[-1]


@pytest.mark.parametrize("name", ["1", "01", LESSON])
def test_a_fresh_lesson_keeps_the_old_one(a_kit, capsys, name):
    """Is the lesson as it came, and what was written in it still there?"""
    folder = a_kit / "lessons" / LESSON
    notebook = folder / f"{LESSON}.ipynb"
    came = notebook.read_bytes()
    notebook.write_text("my answers")
    (folder / "figures.json").write_text("{}")
    assert my_lessons.main(["fresh-lesson", name]) == 0
    assert notebook.read_bytes() == came
    (old,) = folder.glob(f"{LESSON}-2*.ipynb")
    assert old.read_text() == "my answers" and old.name in capsys.readouterr().out
    assert len(list(folder.glob("figures-*.json"))) == 1 and not (folder / "figures.json").exists()
    assert my_lessons.main(["fresh-lesson", name]) == 1
    assert "there is nothing to begin anew" in capsys.readouterr().err


def test_what_cannot_be_is_a_sentence(a_kit, capsys):
    """Are a lesson that is none, a policy that is none, and a folder without history refused?"""
    assert my_lessons.main(["fresh-lesson", "9"]) == 1
    assert "there is no lesson '9'; there are 01-serve-and-learn" in capsys.readouterr().err
    assert my_lessons.main(["fresh-policy", "cartpole"]) == 1
    assert "there is no checkpoint 'cartpole' here" in capsys.readouterr().err
    assert not list(a_kit.glob("cartpole*"))
    (a_kit / ".git").rename(a_kit / "git")
    assert my_lessons.main(["fresh-lesson", "1"]) == 1
    assert "this folder is no clone" in capsys.readouterr().err


def test_a_fresh_policy_keeps_the_old_one(a_kit, capsys):
    """Is it refused while a server saves to it; and does the next server begin with nothing, and the
    old policy go on under its new name?"""
    with RunningServer(4, 2, folder=a_kit, checkpoint_file=a_kit / "cartpole") as server:
        play_steps(server.client(), 20)
        assert my_lessons.main(["fresh-policy", "cartpole"]) == 1
        assert "is in use by another policy server" in capsys.readouterr().err
    assert checkpoints.newest("cartpole")
    assert my_lessons.main(["fresh-policy", "cartpole"]) == 0
    name = capsys.readouterr().out.split("--checkpoint-file=")[-1].strip()
    assert checkpoints.newest("cartpole") is None
    options = {"folder": a_kit, "learner": False}
    with RunningServer(4, 2, checkpoint_file=a_kit / "cartpole", **options) as server:
        assert server.client().status().env_steps == 0
    with RunningServer(4, 2, checkpoint_file=a_kit / name, **options) as server:
        assert server.client().status().env_steps == 20
