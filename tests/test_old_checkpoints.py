"""Checkpoints of format 1, which was a pickle: tests/data/format_1 holds one for each --run, written
by the code of commit 1cc91c8 (n_step 6, one episode of 30 steps and five steps of an open one)."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import msgspec
import numpy as np
import pytest

from serving import ROOT, checkpoints, state_file
from serving.checkpoints import CheckpointError, Meta
from serving.old_checkpoints import convert

OLD = ROOT / "tests" / "data" / "format_1"
RUNS = ["DQN", "PG", "PPO"]


@pytest.fixture
def old(tmp_path):
    """Copies the old checkpoint of a --run; returns its checkpoint file."""

    def copy(run: str) -> Path:
        name = tmp_path / run.lower()
        shutil.copy(OLD / name.name, name)
        folder = checkpoints.folder_of(name)
        shutil.copytree(checkpoints.folder_of(OLD / name.name), folder)
        return name

    return copy


@pytest.mark.parametrize("run", RUNS)
def test_an_old_checkpoint_is_taken_over(old, run):
    """Does the refusal name the command, and does the command keep all that was learned?"""
    name = old(run)
    with pytest.raises(CheckpointError, match=f"serving.checkpoints convert {name}$"):
        checkpoints.read(checkpoints.newest(name))
    done = subprocess.run(
        [sys.executable, "-m", "serving.checkpoints", "convert", str(name)],
        capture_output=True, text=True, timeout=60, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "only arrays" in done.stdout
    meta, policy = checkpoints.read(checkpoints.newest(name))
    assert (meta.run, meta.session, meta.counters.env_steps) == (run, "then", 35)
    assert policy.version > 0
    state = state_file.read(Path(checkpoints.newest(name)) / checkpoints.LEARNER)
    assert state["online"]["counters"]["updates"] == meta.counters.updates > 0
    if run == "DQN":
        (observations, actions, _) = state["online"]["replay"]["tails"]["open"]
        assert observations[:, 0].tolist() == [0, 1, 2, 3, 4] and len(actions) == 4
        assert len(state["online"]["replay"]["columns"]["actions"]) == 30
    else:
        (stretch,) = state["online"]["batch"]["stretches"]
        assert state["online"]["batch"]["open"] == {"open": 0}
        assert stretch["last"].tolist() == [5, 5]
    assert "nothing to do" in convert(str(name))


@pytest.mark.parametrize("run", RUNS)
def test_learning_goes_on_from_it(old, run, rllib):
    """Does today's learner load it, end its open episode, and learn on?"""
    from test_dqn import Learning

    name = old(run)
    convert(str(name))
    small = {"learning_starts": 0} if run == "DQN" else {"batch_size": 20, "minibatch_size": 10}
    learning = Learning(size=2, actions=2, run=run, hidden=(4,), **small)
    algorithm = learning.algorithm
    algorithm.load(Path(checkpoints.newest(name)) / checkpoints.LEARNER)
    algorithm.begin_session()
    algorithm.publish()
    meta, policy = checkpoints.read(checkpoints.newest(name))
    seen = np.random.default_rng(0).normal(size=(10, 2))
    np.testing.assert_allclose(learning.published[-1].values(seen), policy.values(seen), rtol=1e-6)
    updates = algorithm.counters.updates
    if run == "DQN":
        assert len(algorithm.replay) == 34
    learning.feed(60, "terminated", name="open")
    algorithm.training_step(1.0)
    assert algorithm.counters.env_steps == 95
    assert algorithm.counters.acted == 60
    if run == "DQN":
        assert algorithm.counters.updates > updates


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("it-has-run"),)


def spoil(name: Path, content: bytes) -> None:
    """Puts another pickle into the checkpoint, with a checksum that is right."""
    folder = Path(checkpoints.newest(name))
    (folder / "learner.pkl").write_bytes(content)
    meta = msgspec.json.decode((folder / "meta.json").read_bytes(), type=Meta)
    meta.files["learner.pkl"] = (len(content), zlib.crc32(content))
    (folder / "meta.json").write_bytes(msgspec.json.encode(meta))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_code_of_a_pickle_is_run(old, tmp_path, monkeypatch, protocol):
    """Is a pickle that names a function refused before it is called?"""
    monkeypatch.chdir(tmp_path)
    name = old("DQN")
    spoil(name, pickle.dumps({"online": Evil()}, protocol=protocol))
    with pytest.raises(CheckpointError, match="it was not run"):
        convert(str(name))
    assert not (tmp_path / "it-has-run").exists()
    assert checkpoints.newest(name).endswith("000001")


def test_damage_is_a_sentence(old):
    """Is a pickle that breaks off, or holds something else, one sentence?"""
    name = old("PG")
    content = (Path(checkpoints.newest(name)) / "learner.pkl").read_bytes()
    for wrong in (content[:100], pickle.dumps([1, 2]), b""):
        spoil(name, wrong)
        with pytest.raises(CheckpointError, match="cannot be read"):
            convert(str(name))
    with pytest.raises(CheckpointError, match="no such checkpoint file"):
        convert(str(name.with_name("another")))
