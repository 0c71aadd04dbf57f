"""The bench measures real processes; here only that it does so, never how fast."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from browsers import NEEDS_CHROMIUM

from serving import ROOT
from serving.logs import check_log
from tools.bench.__main__ import plan, rows_of
from tools.bench.bench import LARGE, Bench
from tools.bench.parts import PARTS, checks, environments, on_policy


def bench(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "tools.bench", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_a_part_is_measured_and_written(tmp_path):
    """Does a run of one part print its row, and write the same figures?"""
    out = tmp_path / "figures" / "bench.json"
    done = bench("--only=start", "--starts=2", f"--out={out}")
    assert done.returncode in (0, 1), done.stderr
    written = json.loads(out.read_text())
    for row in written["rows"]:
        assert row["what"] in done.stdout and row["measured"] in done.stdout
    assert len(written["figures"]["start"]) == 2
    assert done.returncode == (0 if all(row["met"] for row in written["rows"]) else 1)


@pytest.mark.slow
def test_evaluation_beside_training_is_measured(tmp_path):
    """Do both players get their actions from one server?"""
    out = tmp_path / "bench.json"
    done = bench("--only=beside", "--seconds=2", f"--out={out}")
    (beside,) = json.loads(out.read_text())["figures"]["beside"]
    assert beside["steps_per_second"] > 0 and beside["updates_per_second"] > 0
    assert beside["per_second"] > 0 and beside["p50_ms"] <= beside["p99_ms"]
    assert "not compared with echo: no --peers was given" in done.stdout


@pytest.mark.slow
def test_a_replay_is_measured(tmp_path):
    """Is every step of the log accepted, while another client gets its answers?"""
    out = tmp_path / "bench.json"
    bench("--only=replay", f"--out={out}")
    (replay,) = json.loads(out.read_text())["figures"]["replay"]
    assert replay["accepted"] == replay["steps"] == 3 * check_log(LARGE).steps
    assert replay["requests"] > 0 and replay["p50_ms"] <= replay["p99_ms"]


def test_an_unknown_part_is_refused():
    """Does a mistyped part end in a sentence that names the parts?"""
    done = bench("--only=start,speed")
    assert done.returncode == 2
    assert "no part speed" in done.stderr and all(part in done.stderr for part in PARTS)


def test_algorithms_and_environments_are_measured(monkeypatch):
    """Does each seed become a figure, and each algorithm a row that says how many got there?"""
    measuring = Bench(options(None), "mark")
    measuring.options.only = ["on-policy", "environments"]

    def learn(name, target, seconds, observation_size, action_size, seed, run):  # as parts.learning
        return {"solved": seed == 0 or run == "DQN", "seconds": 10.0 + seed, "steps": 1_000,
                "episodes": 20, "evaluation": target, "seed": seed}  # fmt: skip

    for part in (on_policy, environments):
        monkeypatch.setattr(part, "learn", learn)
    for item in plan(measuring):
        item.run()
    figures = measuring.figures
    assert [(f["run"], f["seed"]) for f in figures["on-policy"]] == [
        ("PPO", 0), ("PPO", 1), ("PG", 0), ("PG", 1)
    ]  # fmt: skip
    assert len(figures["environments"]) == 2 * 2 * 2
    rows = {row.what: row for row in rows_of(measuring.figures)}
    assert rows["CartPole to a mean of 195, --run=PPO, seeds within 180 s"].measured == "1 of 2"
    assert not rows["CartPole to a mean of 195, --run=PPO, seeds within 180 s"].met
    assert rows["CartPole to a mean of 195, --run=PG, median"].met
    acrobot = rows["Acrobot-v1 to a mean of -100, --run=PPO"]
    assert acrobot.measured.startswith("1 of 2 seeds") and acrobot.met  # DQN always gets there


def options(peers: Path | None) -> Namespace:
    return Namespace(
        only=list(PARTS), starts=2, seeds=3, few_seeds=2, peer_seeds=1, seconds=1.0, peers=peers
    )


def test_peers_that_are_not_there_are_left_out(tmp_path):
    """Is a peer without an environment or a driver left out, with a sentence that says why?"""
    (tmp_path / "echo" / "bin").mkdir(parents=True)
    (tmp_path / "echo" / "bin" / "python").touch()
    planned = Bench(options(tmp_path), "mark")
    names = " ".join(item.name for item in plan(planned))
    assert "Ray" not in names and "SB3" not in names and "echo" not in names
    said = "\n".join(planned.skipped)
    assert "no ray29/bin/python" in said and "no sb3/bin/python" in said
    assert "no http_echo.py" in said


@NEEDS_CHROMIUM  # which is what else could be left out
def test_peers_that_are_there_are_planned(tmp_path):
    """Is a peer with an environment and a driver measured?"""
    drivers = {"ray29": "ray29_cartpole.py", "sb3": "sb3_cartpole.py", "echo": "http_echo.py"}
    (tmp_path / "ray29_replay.py").touch()
    for environment, driver in drivers.items():
        (tmp_path / environment / "bin").mkdir(parents=True)
        (tmp_path / environment / "bin" / "python").touch()
        (tmp_path / driver).touch()
    planned = Bench(options(tmp_path), "mark")
    names = " ".join(item.name for item in plan(planned))
    assert "Ray 2.9.3" in names and "SB3" in names and "echo" in names
    assert not planned.skipped


def test_a_lessons_check_cells_are_timed(tmp_path):
    """Are they run with the right answers, in a process of their own, and the slowest one told?"""
    figures = checks.in_a_kernel("03-learn-from-logs")
    assert set(figures["seconds"]) == {"check_replay", "check_importance_weight"}
    assert 0 < figures["seconds"]["check_importance_weight"] < figures["seconds"]["check_replay"]
    (row,) = rows_of({"checks": [figures]})
    assert "check_replay" in row.measured


def test_every_lesson_has_check_cells():
    """Does the bench find all of them: each function `check_...` that a lesson calls?"""
    for folder in (ROOT / "solutions").iterdir():
        text = (folder / f"{folder.name}.ipynb").read_text()
        called = set(re.findall(r'"(?:if )?(check_\w+)\(', text)) - {"check_env", "check_server"}
        assert called and called == set(checks.CHECK.findall("\n".join(f"{c}(" for c in called)))
