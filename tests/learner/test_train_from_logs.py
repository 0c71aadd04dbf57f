"""Training from log shards on Ray: every episode once, whatever dies, and then it can be served."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from serving import ROOT, checkpoints
from serving.logs import LogWriter, check_log, split_log
from serving.running_server import RunningServer

SMALL, LARGE = (ROOT / "serving" / name for name in ("data_small.gz", "data_large.gz"))
SIZES = ("--observation-size=8", "--action-size=3")


class Training:
    """A run of the script; its lines come into `lines` as it prints them."""

    def __init__(self, *arguments, checkpoint_file: Path, sizes=SIZES):
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "serving" / "train_from_logs.py"), *map(str, arguments),
             *sizes, f"--checkpoint-file={checkpoint_file}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    @property
    def said(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, seconds: float) -> re.Match:
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.said)):
            assert time.monotonic() < deadline and self.process.poll() is None, self.said
            time.sleep(0.05)
        return found

    def result(self, seconds: float = 600) -> int:
        code = self.process.wait(seconds)
        self._reader.join(10)
        return code


@pytest.fixture
def train(ray_cluster, tmp_path):
    runs = []

    def start(*arguments, **options) -> Training:
        options = {"checkpoint_file": tmp_path / "pong", **options}
        runs.append(Training(*arguments, **options))
        return runs[-1]

    try:
        yield start
    finally:
        for run in runs:
            run.process.kill()
            run.process.wait()


@pytest.mark.slow
def test_a_policy_server_goes_on_from_what_was_learned(train, tmp_path):
    """Is every episode counted once a pass, and does the checkpoint serve and learn on?"""
    split_log(SMALL, 3, tmp_path / "shards")
    log = check_log(SMALL)
    run = train(tmp_path / "shards" / "*.gz", "--passes=2", "--updates-per-step=0.05", "--seed=1")
    assert run.result() == 0, run.said
    episodes, steps = 2 * log.episodes, 2 * log.steps
    assert f"read {episodes} episodes, {steps:,} steps" in run.said
    assert "100%" in run.said or "left" in run.said
    meta, _ = checkpoints.read(checkpoints.newest(tmp_path / "pong"))
    assert (meta.counters.episodes, meta.counters.env_steps) == (episodes, steps)
    assert meta.counters.logged_steps == steps
    assert meta.counters.updates == pytest.approx(0.05 * (steps - 500), abs=1)
    with RunningServer(8, 3, folder=tmp_path, checkpoint_file=tmp_path / "pong") as server:
        client = server.client()
        status = client.status()
        assert (status.env_steps, status.episodes) == (steps, episodes)
        assert status.policy_version > 0
        status = server.wait_until(lambda status: status.state == "idle", 120, "the learner")
        assert status.updates == meta.counters.updates
        episode_id = client.start_episode()
        for _ in range(100):
            client.get_action(episode_id, [0.0] * 8)
            client.log_returns(episode_id, 0.0)
        client.end_episode(episode_id, [0.0] * 8)
        server.wait_until(lambda status: status.env_steps == steps + 100 and
                          status.updates > meta.counters.updates, 120, "learning on")  # fmt: skip


@pytest.mark.slow
def test_training_goes_on_from_its_checkpoint(train, tmp_path):
    """Does a second run add to the first, and does one of other sizes say why it cannot?"""
    for times in (1, 2):
        run = train(SMALL, "--updates-per-step=0.01", "--quiet", "--num-env-runners=1")
        assert run.result() == 0, run.said
        assert run.lines[0].startswith("read "), "quiet means that only the result is printed"
        meta, _ = checkpoints.read(checkpoints.newest(tmp_path / "pong"))
        assert meta.counters.env_steps == times * check_log(SMALL).steps
    other = train(SMALL, "--quiet", "--hidden=32")
    assert other.result() == 1
    assert "was written with --hidden=128,128" in other.said


@pytest.mark.slow
def test_an_env_runner_that_is_killed_is_replaced(train, tmp_path):
    """If env runners die in the middle of a pass, does every episode still count once?"""
    split_log(LARGE, 8, tmp_path / "shards")
    log = check_log(LARGE)
    # So little is remembered that reading has to wait for learning all the time.
    run = train(tmp_path / "shards" / "*.gz", "--updates-per-step=0.05", "--replay-capacity=4000")
    processes = [int(n) for n in run.wait_for(r"read by processes (\d+), (\d+)", 300).groups()]
    run.wait_for(r" [1-9][\d,]* episodes", 300)
    # One that is stopped is asked for a portion and does not answer: there it dies.
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    stopped_at = len(run.lines)
    deadline = time.monotonic() + 300
    while not any(
        re.search(r" (\S+) steps read, \1 learned from", line) for line in run.lines[stopped_at:]
    ):
        assert time.monotonic() < deadline, run.said
        time.sleep(0.05)
    time.sleep(1.0)
    assert run.process.poll() is None, run.said
    for process in processes:
        os.kill(process, signal.SIGKILL)
    assert run.result(900) == 0, run.said
    assert f"read {log.episodes} episodes, {log.steps:,} steps" in run.said
    assert "though env runners died" in run.said
    assert "Traceback" not in run.said
    meta, _ = checkpoints.read(checkpoints.newest(tmp_path / "pong"))
    assert (meta.counters.episodes, meta.counters.env_steps) == (log.episodes, log.steps)


@pytest.mark.slow
def test_a_bad_shard_is_named(train, tmp_path):
    """Does training end with file, line and step of what is wrong, rather than learn nonsense?"""
    good = [{"obs": [0.0] * 8, "action": 1, "reward": 0.0}] * 5
    with gzip.open(tmp_path / "bad.gz", "wt") as file:
        for episode in (good, good, [*good, {**good[0], "action": 1.5}]):
            file.write(json.dumps(episode) + "\n")
    run = train(tmp_path / "bad.gz", "--quiet")
    assert run.result() == 1
    assert f"{tmp_path}/bad.gz, line 3, step 5: action is 1.5: expected a whole number" in run.said
    assert "Traceback" not in run.said


@pytest.mark.slow
def test_a_shard_that_breaks_off_may_be_accepted(train, tmp_path):
    """Are the whole episodes of a log whose writer was killed learned from, if that is wanted? (If it
    is not, tests/test_logs.py has the sentence, and a bad shard above the way it takes.)"""
    episode = [{"obs": [i / 50] * 8, "action": i % 3, "reward": 0.0} for i in range(50)]
    with LogWriter(tmp_path / "log.gz") as log:
        for _ in range(20):
            log.write(episode)
    whole = (tmp_path / "log.gz").read_bytes()
    (tmp_path / "log.gz").write_bytes(whole[: len(whole) - 20])
    run = train(tmp_path / "log.gz", "--quiet", "--num-env-runners=1", "--may-be-cut-off")
    assert run.result() == 0
    assert re.search(r"read \d+ episodes", run.said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing/*.gz"], r"nothing/\*.gz: no such log"),
        ([SMALL, "--num-env-runners=0"], "--num-env-runners=0: expected 1 or more"),
        ([SMALL, "--passes=0"], "--passes=0: expected 1 or more"),
        ([SMALL, "--hidden=x"], "hidden is 'x': expected units"),
        ([SMALL, "--gamma=2"], "gamma is 2.0: expected 0 to 1"),
        ([SMALL, "--ray-address=localhost:1"], "nobody answers at localhost:1"),
    ],
)
def test_mistakes_are_sentences(arguments, said, tmp_path):
    """Does a mistake in the command end in one sentence that says what was expected?"""
    run = Training(*arguments, "--quiet", checkpoint_file=tmp_path / "pong")
    try:
        assert run.result() == 1
    finally:
        run.process.kill()
        run.process.wait()
    assert re.search(said, run.said) and "Traceback" not in run.said
