"""Checkpoints on disk: written, killed in between, damaged, mismatched, fought over."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from serving import ROOT, checkpoints
from serving.checkpoints import CheckpointError
from serving.link import Counters
from serving.policy import untrained

OBSERVATIONS = np.random.default_rng(0).normal(size=(10, 4))

WRITER = """
import sys, time, itertools
import msgspec
from serving import checkpoints
from serving.link import Counters
from serving.policy import untrained

for number in itertools.count(1):
    policy = untrained(4, 2, [16], seed=number)
    checkpoints.write(
        sys.argv[1],
        {
            "learner.npz": lambda path: path.write_bytes(b"%d " % number * 20_000),
            "policy.msgpack": lambda path: path.write_bytes(msgspec.msgpack.encode(policy.pack())),
        },
        run="DQN", observation_size=4, action_size=2, hidden=[16], session="s",
        counters=Counters(updates=number),
    )
    print(number, flush=True)
"""


def write(checkpoint_file: Path, number: int = 1, **meta) -> Path:
    policy = untrained(4, 2, [16], seed=number)
    return checkpoints.write(
        checkpoint_file,
        {
            "learner.npz": lambda path: path.write_bytes(b"learner %d" % number),
            "policy.msgpack": lambda path: path.write_bytes(msgspec.msgpack.encode(policy.pack())),
        },
        **{
            "run": "DQN",
            "observation_size": 4,
            "action_size": 2,
            "hidden": [16],
            "session": "s",
            "counters": Counters(env_steps=10 * number, updates=number),
            **meta,
        },
    )


@pytest.fixture
def a_checkpoint_file(tmp_path) -> Path:
    return tmp_path / "policy"


def test_what_was_written_is_read(a_checkpoint_file):
    """Do counters, sizes and the policy come back as they were?"""
    folder = write(a_checkpoint_file, 3)
    assert checkpoints.newest(a_checkpoint_file) == str(folder)
    meta, policy = checkpoints.read(folder)
    assert (meta.run, meta.observation_size, meta.action_size, meta.hidden) == ("DQN", 4, 2, [16])
    assert meta.counters == Counters(env_steps=30, updates=3)
    assert abs(meta.saved - time.time()) < 60
    expected = untrained(4, 2, [16], seed=3)
    assert (policy.values(OBSERVATIONS) == expected.values(OBSERVATIONS)).all()
    assert (folder / "learner.npz").read_bytes() == b"learner 3"


def test_the_pointer_is_a_small_text_file(a_checkpoint_file):
    """Is the checkpoint file itself something a person can read?"""
    folder = write(a_checkpoint_file)
    assert a_checkpoint_file.read_text().strip() == folder.name
    assert a_checkpoint_file.stat().st_size < 100


def test_no_checkpoint_yet(a_checkpoint_file):
    """Is there nothing to restore where nothing was saved?"""
    assert checkpoints.newest(a_checkpoint_file) is None


def test_the_one_before_stays_and_older_ones_go(a_checkpoint_file):
    """Is the previous checkpoint kept, and the disk not filled with all of them?"""
    folders = [write(a_checkpoint_file, number) for number in range(1, 6)]
    assert checkpoints.newest(a_checkpoint_file) == str(folders[-1])
    assert [folder.exists() for folder in folders] == [False, False, False, True, True]
    assert checkpoints.read(folders[-2])[0].counters.updates == 4


def test_the_folder_can_be_moved(tmp_path, a_checkpoint_file):
    """Does a checkpoint load after its folder was copied elsewhere?"""
    (tmp_path / "here").mkdir()
    write(tmp_path / "here" / "policy")
    (tmp_path / "here").rename(tmp_path / "there")
    meta, _ = checkpoints.read(checkpoints.newest(tmp_path / "there" / "policy"))
    assert meta.counters.updates == 1


@pytest.mark.parametrize("seed", range(6))
def test_a_kill_at_any_instant_leaves_the_previous_one(a_checkpoint_file, seed):
    """Does a writer killed at any instant leave the last checkpoint it had finished?"""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(a_checkpoint_file)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        first = writer.stdout.readline()
        assert first.strip() == "1"
        time.sleep(random.Random(seed).uniform(0.0, 0.3))
    finally:
        writer.kill()
        finished = [int(line) for line in writer.stdout.read().split()]
        writer.wait()
        writer.stdout.close()
    meta, policy = checkpoints.read(checkpoints.newest(a_checkpoint_file))
    assert meta.counters.updates >= max(finished, default=1)
    expected = untrained(4, 2, [16], seed=meta.counters.updates)
    assert (policy.values(OBSERVATIONS) == expected.values(OBSERVATIONS)).all()


def test_half_written_checkpoints_are_cleared_away(a_checkpoint_file):
    """Does what a killed process had begun to write go away with the next checkpoint?"""
    write(a_checkpoint_file)
    draft = checkpoints.folder_of(a_checkpoint_file) / ".writing-12345"
    draft.mkdir()
    (draft / "learner.npz").write_bytes(b"half")
    write(a_checkpoint_file, 2)
    entries = {entry.name for entry in checkpoints.folder_of(a_checkpoint_file).iterdir()}
    assert entries - {"lock"} == {"000001", "000002"}


def test_numbers_are_numbers(a_checkpoint_file):
    """Does checkpoint 1,000,000 follow 999,999, and stay?"""
    folder = write(a_checkpoint_file)
    folder.rename(folder.with_name("999998"))
    for number in (999_999, 1_000_000, 1_000_001):
        done = write(a_checkpoint_file, number)
        assert done.name == str(number)
        assert checkpoints.newest(a_checkpoint_file) == str(done)
    kept = {entry.name for entry in checkpoints.folder_of(a_checkpoint_file).iterdir()}
    assert kept - {"lock"} == {"1000000", "1000001"}


# -- damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["learner.npz", "policy.msgpack"])
@pytest.mark.parametrize("how", ["cut", "longer", "flipped", "gone"])
def test_damage_is_noticed_and_named(a_checkpoint_file, name, how):
    """Is a damaged file refused with a sentence that says which checkpoint it is?"""
    folder = write(a_checkpoint_file)
    content = (folder / name).read_bytes()
    middle = len(content) // 2
    damaged = {
        "cut": content[:middle],
        "longer": content + b"x",
        "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
    }
    (folder / name).unlink() if how == "gone" else (folder / name).write_bytes(damaged[how])
    with pytest.raises(CheckpointError, match=f"{folder} is damaged: .*{name}"):
        checkpoints.read(folder)


@pytest.mark.parametrize("seed", range(200))
def test_no_damage_does_worse_than_a_sentence(a_checkpoint_file, seed):
    """Does any scribble over any file end in a CheckpointError, if it does any harm?"""
    rng = random.Random(seed)
    folder = write(a_checkpoint_file)
    path = folder / rng.choice(["meta.json", "policy.msgpack", "learner.npz"])
    content = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(content))
        match rng.randrange(3):
            case 0:
                content[at] = rng.randrange(256)
            case 1:
                del content[at : at + rng.randint(1, 50)]
            case 2:
                content[at:at] = rng.randbytes(rng.randint(1, 10))
        if not content:
            break
    path.write_bytes(bytes(content))
    try:
        _, policy = checkpoints.read(folder)
    except CheckpointError as error:
        assert str(folder) in str(error)
    else:
        expected = untrained(4, 2, [16], seed=1)
        assert (policy.values(OBSERVATIONS) == expected.values(OBSERVATIONS)).all()


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"000009\n", b"../../etc", b"\xff\xfe\x00", b"x" * 300]
)
def test_a_pointer_to_nothing(a_checkpoint_file, content):
    """Is a pointer to no checkpoint refused, and left as it is?"""
    write(a_checkpoint_file)
    a_checkpoint_file.write_bytes(content)
    with pytest.raises(CheckpointError, match=str(a_checkpoint_file)):
        checkpoints.newest(a_checkpoint_file)
    assert a_checkpoint_file.read_bytes() == content


def test_another_format_is_named(a_checkpoint_file):
    """Does a checkpoint of a later version say that it is one?"""
    folder = write(a_checkpoint_file)
    meta = msgspec.json.decode((folder / "meta.json").read_bytes())
    meta["format"] = 99
    (folder / "meta.json").write_bytes(msgspec.json.encode(meta))
    with pytest.raises(CheckpointError, match="has format 99"):
        checkpoints.read(folder)


# -- mismatch --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "written", "wanted"), [
    ("observation-size", {"observation_size": 8}, "8.*--observation-size=4"),
    ("action-size", {"action_size": 3}, "3.*--action-size=2"),
    ("run", {"run": "PPO"}, "PPO.*--run=DQN"),
    ("hidden", {"hidden": [64, 64]}, "64,64.*--hidden=16"),
])  # fmt: skip
def test_a_mismatch_says_which(a_checkpoint_file, name, written, wanted):
    """Is a checkpoint of other sizes or another algorithm refused with both values?"""
    folder = write(a_checkpoint_file, **written)
    meta, _ = checkpoints.read(folder)
    with pytest.raises(CheckpointError, match=f"--{name}={wanted}"):
        checkpoints.check_fits(meta, str(folder), "DQN", 4, 2, (16,))


def test_a_fitting_checkpoint_fits(a_checkpoint_file):
    """Is a checkpoint of the same sizes accepted, whether hidden is a list or a tuple?"""
    folder = write(a_checkpoint_file)
    meta, _ = checkpoints.read(folder)
    for hidden in ([16], (16,)):
        checkpoints.check_fits(meta, str(folder), "DQN", 4, 2, hidden)


# -- the lock --------------------------------------------------------------------------------------


def test_a_checkpoint_belongs_to_one_server(a_checkpoint_file):
    """Is a second claim refused while the first one holds, and granted after it?"""
    first = checkpoints.lock(a_checkpoint_file)
    try:
        started = time.monotonic()
        with pytest.raises(CheckpointError, match="in use by another policy server"):
            checkpoints.lock(a_checkpoint_file, patience=0.3)
        assert 0.3 <= time.monotonic() - started < 5
        os.close(checkpoints.lock(a_checkpoint_file.with_name("other")))
    finally:
        os.close(first)
    os.close(checkpoints.lock(a_checkpoint_file, patience=0.3))


def test_a_lock_is_gone_with_its_process(a_checkpoint_file):
    """Does a killed server leave no lock behind?"""
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys, time; from serving import checkpoints;"
         "checkpoints.lock(sys.argv[1]); print('held', flush=True); time.sleep(60)",
         str(a_checkpoint_file)], stdout=subprocess.PIPE, cwd=ROOT)  # fmt: skip
    try:
        assert holder.stdout.readline().strip() == b"held"
        with pytest.raises(CheckpointError):
            checkpoints.lock(a_checkpoint_file, patience=0)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    os.close(checkpoints.lock(a_checkpoint_file, patience=5))


def test_unwritable_places_are_one_sentence(tmp_path):
    """Is a checkpoint file that cannot be written refused before anything is learned?"""
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder").mkdir()
    for place, said in {
        tmp_path / "file" / "policy": "cannot write there: Not a directory",
        Path("/proc/nobody/policy"): "cannot write there",
        tmp_path / "folder": "is a folder: expected a file",
        tmp_path / ("x" * 300): "cannot write there: File name too long",
    }.items():
        with pytest.raises(CheckpointError, match=said):
            os.close(checkpoints.lock(place))


def test_a_new_folder_is_made(tmp_path):
    """May the checkpoint file lie in a folder that does not exist yet?"""
    checkpoint_file = tmp_path / "new" / "er" / "policy"
    os.close(checkpoints.lock(checkpoint_file))
    write(checkpoint_file)
    assert checkpoints.newest(checkpoint_file)
