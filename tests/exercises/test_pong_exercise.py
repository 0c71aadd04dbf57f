"""The checks that lesson 02 shows: quick, right, and helpful. The hidden tests' own tests are mutants
in test_lessons.py."""

from __future__ import annotations

import time

import numpy as np
import pytest
from grading import reference_answers

from serving import PolicyClient
from serving.evaluation import RecordedEpisode
from serving.exercises import pong as pong_exercise
from serving.exercises.pong import ShortGame
from serving.running_server import RunningServer

WAITING = 10.0  # s, generous: tests run on busy machines


@pytest.fixture(scope="module")
def a_pong_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pong")
    with RunningServer(8, 3, folder=folder, checkpoint_file=folder / "pong") as server:
        yield server


@pytest.fixture
def answers(a_pong_server) -> dict:
    """The namespace of a notebook with the right answers in it."""
    namespace = {"client": a_pong_server.client()}
    for source in reference_answers("02-pong").values():
        exec(source, namespace)
    return namespace


@pytest.mark.parametrize("name", ["play_game", "share_of_points", "train"])
def test_a_right_answer_is_told_so_soon(answers, name, capsys):
    """Is the check of the right answer content, within the time a student waits for gladly?"""
    started = time.monotonic()
    before = answers["client"].status()
    assert getattr(pong_exercise, f"check_{name}")(answers[name])
    seconds = time.monotonic() - started
    said = capsys.readouterr().out
    assert "Well done!" in said and "✗" not in said
    print(f"{name}: {seconds:.1f} s")
    after = answers["client"].status()
    assert (after.env_steps, after.evaluation_steps) == (before.env_steps, before.evaluation_steps)
    assert seconds < WAITING


@pytest.mark.parametrize(
    "name, wrong, hint",
    [
        ("play_game", lambda env: None, "never called env.reset()"),
        ("share_of_points", lambda env, games: 1 / 0, "raised ZeroDivisionError"),
        ("share_of_points", lambda env, games: 0.5, "0 games were played to their end, expected 4"),
        ("train", lambda env, steps: steps, "train(env, 30) stopped after 0 steps"),
    ],
)
def test_a_wrong_answer_is_told_why(name, wrong, hint, capsys):
    assert not getattr(pong_exercise, f"check_{name}")(wrong)
    said = capsys.readouterr().out
    assert hint in said and "Not yet" in said


def test_the_right_server_is_told_so(a_pong_server, capsys):
    assert pong_exercise.check_server(a_pong_server.client())
    assert "Well done!" in capsys.readouterr().out


def test_a_server_of_the_wrong_sizes_is_told_why(a_policy_server, capsys):
    """Does the check name both sizes, and the forgotten file, of lesson 1's server?"""
    assert not pong_exercise.check_server(a_policy_server.client())
    said = capsys.readouterr().out
    for wrong in ("--observation-size=4", "--action-size=2", "--checkpoint-file=pong"):
        assert wrong in said
    assert "stop the server with Ctrl-C" in said


def test_no_server_is_told_how_to_start_one(a_free_port, capsys):
    started = time.monotonic()
    assert not pong_exercise.check_server(PolicyClient(f"http://localhost:{a_free_port}"))
    assert time.monotonic() - started < WAITING
    assert "into a terminal" in capsys.readouterr().out


def test_points_are_what_was_paid():
    """Are returned balls no points, and points of both sides counted?"""
    game = RecordedEpisode([np.zeros(8)], rewards=[0.0, 0.1, 1.0, -1.0, 0.1, -1.0])
    assert pong_exercise.points(game) == (1, 2)


def test_a_short_game_ends_with_its_last_point():
    """Is it over after so many points, by whoever, and as a game that terminated?"""
    from serving.pong import PongEnv

    env, ends = ShortGame(PongEnv(), points=2), []
    for seed in range(5):
        env.reset(seed=seed)
        terminated = False
        while not terminated:
            *_, terminated, truncated, info = env.step(0)
            assert not truncated
        ends.append(sum(info["score"]))
    assert ends == [2] * 5
