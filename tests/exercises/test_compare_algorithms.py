"""Lesson 04's experiment and its verdict, beyond the mutants of test_lessons.py."""

from __future__ import annotations

import json
import math

import pytest

from serving import running_server
from serving.connection import GRADING
from serving.exercises.compare_algorithms import check_mean_and_spread, servers_watched
from serving.exercises.conclusions import check_conclude
from serving.notebook.experiment import experiment, measured, solved_at
from serving.running_server import RunningServer, a_policy_server


def rows(returns: list[float]) -> list[list[float]]:
    return [[value, 10.0 * i, 0.5 * (i + 1)] for i, value in enumerate(returns)]


@pytest.mark.parametrize(
    "returns, episodes",
    [
        ([200.0] * 19, math.inf),
        ([200.0] * 20, 20),
        ([0.0] * 20 + [200.0] * 40, 40),
        ([0.0] * 5 + [100.0] * 50, math.inf),
        ([195.0] * 20 + [0.0] * 20, 20),
    ],
)
def test_when_a_curve_is_solved(returns, episodes):
    """Is it the first episode at which the latest 20 have the target as their mean?"""
    assert solved_at(rows(returns)) == (episodes, episodes / 2)


def test_an_experiment_goes_on_where_it_was(tmp_path, capsys):
    """Is a curve that is there not made again, and does a curve that failed cost no other one?"""
    file, made = tmp_path / "figures.json", []

    def learning_curve(run, seed, steps, report):
        if (run, seed) == ("PG", 2) and len(made) == 3:
            raise KeyboardInterrupt
        made.append((run, seed))
        report(steps)
        return rows([float(seed)])

    plan = {"runs": ["DQN", "PG"], "seeds": [1, 2], "steps": 5, "file": file}
    curves = experiment(learning_curve, **plan)
    assert made == [("DQN", 1), ("PG", 1), ("DQN", 2)]
    assert curves == {"DQN": [rows([1.0]), rows([2.0])], "PG": [rows([1.0])]}
    assert (
        "Stopped at 15 of 20 steps; the curves that are there are kept" in capsys.readouterr().out
    )
    made.append("interrupted")
    curves = experiment(learning_curve, **plan)
    assert made[4:] == [("PG", 2)]
    assert curves == {"DQN": [rows([1.0]), rows([2.0])], "PG": [rows([1.0]), rows([2.0])]}


def test_a_run_without_a_curve_is_left_out(tmp_path):
    """Can the lesson go on with what is there when somebody stops after the first curve?"""

    def learning_curve(run, seed, steps, report):
        if run == "PG":
            raise KeyboardInterrupt
        return rows([1.0])

    curves = experiment(learning_curve, file=tmp_path / "figures.json")
    assert curves == {"DQN": [rows([1.0])]}


def test_an_experiment_ends_in_time(tmp_path, capsys):
    """Is no curve begun after the time is up, and is that said?"""
    curves = experiment(lambda *_: 1 / 0, minutes=-1, file=tmp_path / "figures.json")
    assert curves == {}
    assert "The time is up: 0 of 9 curves are there." in capsys.readouterr().out


def test_nothing_is_measured_while_grading(tmp_path, monkeypatch):
    """Are figures that were handed in shown, and is it said if there are none?"""
    file = tmp_path / "figures.json"
    file.write_text(json.dumps({"DQN": 1}))
    monkeypatch.setenv(GRADING, "8900")
    assert measured("DQN", lambda: 1 / 0, file) == 1
    with pytest.raises(FileNotFoundError, match="no figures of PG"):
        measured("PG", lambda: 1 / 0, file)


def test_a_damaged_file_is_named(tmp_path):
    """Does an error say which file to delete?"""
    file = tmp_path / "figures.json"
    file.write_text("{")
    with pytest.raises(ValueError, match="figures.json is damaged; delete it"):
        measured("DQN", dict, file)


def test_watched_servers_leave_their_records():
    """Is a server's record what happened, and is one that was never stopped ended?"""
    with servers_watched() as watched:
        with a_policy_server(3, 2, run="PG", seed=6) as client:
            episode_id = client.start_episode()
            actions = [client.get_action(episode_id, [0.0, 0.1, 0.2])]
            client.log_returns(episode_id, 2.5)
            client.end_episode(episode_id, [0.0, 0.0, 0.0])
        forgotten = running_server.RunningServer(3, 2).start()
    assert running_server.RunningServer is RunningServer
    assert forgotten.process.poll() is not None
    (record,) = watched.records
    assert (record.status.run, record.options["seed"]) == ("PG", "6")
    assert record.transcripts[0].actions == actions
    assert record.rows[0][:2] == [2.5, 1]
    assert len(watched.started) == 2


def test_what_the_lesson_shows(capsys):
    """Do the checks that need no server print a line for each topic, and what to change?"""
    assert not check_mean_and_spread(lambda curves: ([2, 4, 3], [1, 2, 0], [2, 2, 1]))
    assert not check_mean_and_spread(lambda curves: ([2, 4], [1, 2], [2, 2]))
    assert not check_conclude(lambda curves, logged, target=195.0: {"solved": {"A": 2, "B": 3}})
    said = capsys.readouterr().out
    assert "expected [2.0, 4.0, 3.0]" in said and "expected [4.0, 5.0, 2.0]" in said
    assert "without episodes, seconds" in said
