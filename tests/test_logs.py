"""Logs: what is written is read again, and whatever is wrong is named by file, line and step."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from players import play_steps

from serving import logs
from serving.logs import EpisodeLog, LogError, LogWriter, check_log, read_log, split_log

GOOD = {"obs": [0.5, -1.0], "action": 1, "reward": 0.0}


def a_step(**changes) -> dict:
    return {**GOOD, **changes}


def some_episodes(many: int = 5, seed: int = 0) -> list[list[dict]]:
    rng = np.random.default_rng(seed)
    return [
        [
            {
                "obs": rng.uniform(-1, 1, 3).round(6).tolist(),
                "action": int(rng.integers(3)),
                "reward": float(rng.integers(-1, 2)),
            }
            for _ in range(rng.integers(1, 30))
        ]
        for _ in range(many)
    ]


@pytest.fixture
def a_log(tmp_path):
    """Writes lines, as they are, into a gzip file and returns its path."""

    def write(*lines: str | list):
        path = tmp_path / "games.gz"
        with gzip.open(path, "wt") as file:
            for line in lines:
                file.write((line if isinstance(line, str) else json.dumps(line)) + "\n")
        return path

    return write


def written(path, episodes) -> None:
    with LogWriter(path) as log:
        for episode in episodes:
            log.write(episode)


def test_what_is_written_is_read_again(tmp_path):
    episodes = some_episodes()
    written(tmp_path / "log.gz", episodes)
    assert list(read_log(tmp_path / "log.gz", 3, 3)) == episodes


def test_the_format_is_plain_gzip_and_json(tmp_path):
    """Can somebody read a log who has never heard of this module?"""
    episodes = some_episodes()
    written(tmp_path / "log.gz", episodes)
    with gzip.open(tmp_path / "log.gz", "rt") as file:
        assert [json.loads(line) for line in file] == episodes


def test_the_same_episodes_give_the_same_bytes(tmp_path):
    for name in ("a.gz", "b.gz"):
        written(tmp_path / name, some_episodes())
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_arrays_are_written_as_numbers(tmp_path):
    step = {"obs": np.float32([0.1, 1 / 3]), "action": np.int64(2), "reward": np.float64(1)}
    written(tmp_path / "log.gz", [[step]])
    assert list(read_log(tmp_path / "log.gz")) == [
        [{"obs": [0.1, 0.333333], "action": 2, "reward": 1.0}]
    ]


def test_older_logs_have_floats_for_actions(a_log):
    episodes = list(read_log(a_log([a_step(action=1.0)])))
    assert episodes[0][0]["action"] == 1 and type(episodes[0][0]["action"]) is int


def test_reading_goes_line_by_line(a_log):
    """Is the first episode there before the second one, which is broken, has been looked at?"""
    log = read_log(a_log([GOOD], "broken"))
    assert len(next(log)) == 1
    with pytest.raises(LogError, match="line 2"):
        next(log)


@pytest.mark.parametrize(
    "line, said",
    [
        ([GOOD, a_step(action=1.5)], r"line 2, step 1: action is 1.5: expected a whole number"),
        ([GOOD, a_step(action=-1)], r"line 2, step 1: action is -1"),
        ([GOOD, a_step(action=7)], r"line 2, step 1: action is 7.* from 0 to 2"),
        ([a_step(action="up")], r"line 2, step 0: Expected `float`, got `str` in action"),
        ([GOOD, a_step(obs=[0.5])], r"line 2, step 1: obs has 1 numbers: expected 2"),
        ([a_step(obs=[0.5, None])], r"line 2, step 0: .*got `null` in obs\[1\]"),
        ([GOOD, {"obs": [0.5, 1], "action": 1}], r"line 2, step 1: .*missing.*`reward`"),
        ([GOOD, a_step(reward=float("nan"))], r"line 2, step 1: .*NaN or Infinity"),
        ([GOOD, GOOD, a_step(obs=[float("inf"), 0])], r"line 2, step 2: .*NaN or Infinity"),
        ([GOOD, 3], r"line 2, step 1: Expected `object`, got `int`"),
        ([a_step(truncated=True), GOOD], r"line 2, step 0: truncated, and there are steps after"),
        ([], r"line 2: .*an empty one"),
        ({"obs": []}, r"line 2: .*a list of steps"),
        ("[{", r"line 2: not JSON"),
        ("\x00\x01", r"line 2: not JSON"),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_step(a_log, line, said):
    path = a_log([GOOD], line)
    with pytest.raises(LogError, match=f"{path}, {said}"):
        check_log(path, 2, 3)


def test_a_log_that_was_cut_off_is_named_by_line(tmp_path):
    path = tmp_path / "log.gz"
    written(path, some_episodes(200))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LogError, match=r"log.gz, line \d+: the file is cut off"):
        check_log(path)
    path.write_bytes(whole[:1000] + b"\x00" * 50 + whole[1050:])
    with pytest.raises(LogError, match=r"log.gz.*(line|damaged)"):
        check_log(path)


def test_a_file_that_is_no_log_is_refused(tmp_path):
    path = tmp_path / "log.gz"
    for content, said in [(b"hello", "not gzip"), (gzip.compress(b""), "there are none")]:
        path.write_bytes(content)
        with pytest.raises(LogError, match=said):
            check_log(path)
    with pytest.raises(LogError, match="No such file"):
        check_log(tmp_path / "missing.gz")
    with pytest.raises(LogError, match="cannot be written"):
        LogWriter(tmp_path / "missing" / "log.gz")


def test_a_log_is_summed_up(a_log):
    path = a_log([GOOD, a_step(action=0, reward=1)], [a_step(reward=-2)])
    assert check_log(path) == (2, 3, -0.5, 2, {0: 1, 1: 2})


def test_a_writer_refuses_what_a_log_cannot_hold(tmp_path):
    with LogWriter(tmp_path / "log.gz") as log:
        for episode in ([a_step(obs=[float("nan")])], [a_step(action=0.5)], []):
            with pytest.raises(LogError, match="log.gz, line 1"):
                log.write(episode)
        log.write([GOOD])
    assert list(read_log(tmp_path / "log.gz")) == [[GOOD]]


def test_an_interrupted_writer_keeps_what_it_has(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with LogWriter(tmp_path / "log.gz") as log:
            log.write([GOOD])
            assert not (tmp_path / "log.gz").exists()
            raise KeyboardInterrupt
    assert list(read_log(tmp_path / "log.gz")) == [[GOOD]]
    assert [path.name for path in tmp_path.iterdir()] == ["log.gz"]


def test_shards_hold_every_episode_once(tmp_path):
    episodes = some_episodes(23)
    written(tmp_path / "log.gz", episodes)
    shards = split_log(tmp_path / "log.gz", 4, tmp_path / "shards")
    dealt = [list(read_log(shard)) for shard in shards]
    assert [len(part) for part in dealt] == [6, 6, 6, 5]
    assert sorted(map(json.dumps, sum(dealt, []))) == sorted(map(json.dumps, episodes))


def test_a_log_that_cannot_be_read_is_not_split(tmp_path, a_log):
    """Is there no shard rather than some that lack episodes?"""
    path = a_log([GOOD], [GOOD], "broken")
    with pytest.raises(LogError, match="line 3: not JSON"):
        split_log(path, 2, tmp_path / "shards")
    assert list((tmp_path / "shards").iterdir()) == []


def test_an_episode_that_was_cut_short_says_so(tmp_path):
    """Can a learner tell an episode that ended from one whose time was up?"""
    path = tmp_path / "log.gz"
    with LogWriter(path) as log:
        log.write([GOOD, GOOD])
        log.write([GOOD, GOOD], truncated=True)
        log.write([GOOD, a_step(truncated=True)])
    cut = [GOOD, a_step(truncated=True)]
    assert list(read_log(path)) == [[GOOD, GOOD], cut, cut]
    shards = split_log(path, 1, tmp_path / "shards")
    assert shards[0].read_bytes() == path.read_bytes()


WRITES_UNTIL_CTRL_C = """
import sys
from serving.logs import LogWriter
steps = [{"obs": [i / 7] * 8, "action": i % 3, "reward": 0.0} for i in range(300)]
for path in sys.argv[1:]:
    try:
        with LogWriter(path) as log:
            print("writing", flush=True)
            while True:
                log.write(steps)
    except KeyboardInterrupt:
        print(log.episodes, flush=True)
"""


def test_ctrl_c_damages_no_log(tmp_path):
    """Can a log be read, and holds it what was counted, whenever its writer was interrupted?"""
    paths = [str(tmp_path / f"{number}.gz") for number in range(20)]
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITES_UNTIL_CTRL_C, *paths], stdout=subprocess.PIPE, text=True
    )
    rng, bound = np.random.default_rng(), threading.Timer(60, writer.kill)
    bound.start()
    try:
        for path in paths:
            assert writer.stdout.readline() == "writing\n"
            time.sleep(rng.uniform(0.02, 0.1))
            writer.send_signal(signal.SIGINT)
            episodes = int(writer.stdout.readline())
            assert sum(1 for _ in read_log(path)) == episodes
    finally:
        bound.cancel()
        writer.kill()
        writer.communicate()


# -- the command line ------------------------------------------------------------------------------


def test_the_command_checks_and_splits(tmp_path, capsys):
    path = tmp_path / "games.gz"
    written(path, some_episodes(12))
    assert logs.main(["check", str(path), "--observation-size=3", "--action-size=3"]) == 0
    assert "games.gz: 12 episodes," in capsys.readouterr().out
    assert logs.main(["split", str(path), "--shards=3", f"--out={tmp_path / 'shards'}"]) == 0
    shards = capsys.readouterr().out.split()
    assert [check_log(shard).episodes for shard in shards] == [4, 4, 4]


def test_the_command_names_what_is_wrong(tmp_path, a_log, capsys):
    path = a_log([GOOD], [a_step(action=1.5)])
    for command in (["check", str(path)], ["split", str(path), f"--out={tmp_path}"]):
        assert logs.main(command) == 1
        said = capsys.readouterr()
        assert said.err.startswith(f"serving.logs: {path}, line 2, step 0: action is 1.5")
    assert logs.main(["split", str(path), "--shards=0"]) == 1
    assert "shards is 0: expected 1 or more" in capsys.readouterr().err


# -- episodes as they end --------------------------------------------------------------------------


def as_arrays(episode: list[dict]) -> tuple:
    return tuple(np.array([step[name] for step in episode]) for name in ("obs", "action", "reward"))


def test_episodes_are_written_as_they_end(tmp_path):
    """Are they all there, in order, in files of bounded size that read like any log?"""
    episodes, log = some_episodes(60), EpisodeLog(tmp_path / "served", largest_file=4_000)
    for i, episode in enumerate(episodes):
        log.write(*as_arrays(episode), truncated=i % 5 == 0)
    log.close()
    assert (log.episodes, log.dropped, log.error) == (60, 0, None)
    files = sorted((tmp_path / "served").iterdir())
    assert len(files) > 3
    assert all(file.stat().st_size < 5_000 for file in files)
    for i, episode in enumerate(episodes):
        if i % 5 == 0:
            episode[-1]["truncated"] = True
    assert [episode for file in files for episode in read_log(file, 3, 3)] == episodes


def test_a_kill_costs_one_episode_at_most(tmp_path):
    """Wherever a file breaks off, is all there that was whole?"""
    log = EpisodeLog(tmp_path)
    episodes = some_episodes(4)
    for episode in episodes:
        log.write(*as_arrays(episode), truncated=False)
    log.close()
    (path,) = tmp_path.iterdir()
    whole, cut = path.read_bytes(), tmp_path / "cut.gz"
    ends = [i for i in range(1, len(whole)) if whole[i : i + 3] == b"\x1f\x8b\x08"] + [len(whole)]
    assert len(ends) == 4
    for size in (*range(2, len(whole), 7), *range(ends[1] + 2, ends[1] + 30), len(whole) - 1):
        if size - 1 in ends:
            continue  # a lone first byte of the next episode: not even gzip's two-byte mark
        cut.write_bytes(whole[:size])
        read = list(read_log(cut, may_be_cut_off=True))
        assert len(read) >= sum(end <= size for end in ends)
        assert read == episodes[: len(read)]
        if size not in ends:
            with pytest.raises(
                LogError, match=rf"cut.gz, line {len(read) + 1}: .* is cut off here"
            ):
                list(read_log(cut))


def test_a_full_disk_spoils_nothing(tmp_path, monkeypatch):
    """If an episode cannot be written, is the file as it was before, and the reason kept?"""
    log = EpisodeLog(tmp_path)
    first, second, third = some_episodes(3)
    log.write(*as_arrays(first), truncated=False)
    log._thread.submit(lambda: None).result()
    real = log._file

    class FullDisk:
        name = real.name
        tell, truncate, seek = real.tell, real.truncate, real.seek

        @staticmethod
        def write(data) -> int:
            return real.write(data[: len(data) // 2])

    log._file = FullDisk()
    log.write(*as_arrays(second), truncated=False)
    log._thread.submit(lambda: None).result()
    assert "No space left on device" in log.error and log.dropped == 1
    log._file = real
    log.write(*as_arrays(third), truncated=False)
    log.close()
    (path,) = tmp_path.iterdir()
    assert list(read_log(path)) == [first, third]


def test_what_the_disk_cannot_take_is_dropped_and_counted(tmp_path, monkeypatch):
    """Does a slow disk cost episodes of the log rather than memory without bounds?"""
    monkeypatch.setattr(logs, "MOST_STEPS_WAITING", 50)
    log, slow = EpisodeLog(tmp_path), threading.Event()
    log._thread.submit(slow.wait, 30)
    for episode in some_episodes(100):
        log.write(*as_arrays(episode), truncated=False)
    assert log._waiting <= 50 and log.dropped > 80
    slow.set()
    log.close()
    assert log.episodes + log.dropped == 100
    assert log._waiting == 0


def test_a_server_writes_down_what_it_serves(policy_servers, tmp_path):
    """Are yesterday's training episodes, and only those, today's data, also after a kill -9?"""
    folder = tmp_path / "logs"
    server = policy_servers(write_logs=folder, folder=tmp_path)
    client = server.client()
    expected = []
    for steps in (30, 1, 700):
        transcript = client.episode(play_steps(client, steps))
        expected.append([
            {"obs": pytest.approx(row, abs=1e-6), "action": action, "reward": reward}
            for row, action, reward in zip(
                transcript.observations, transcript.actions, transcript.rewards
            )
        ])  # fmt: skip
    play_steps(client, 20, training_enabled=False)
    client.end_episode(client.start_episode(), [0.0] * 4)  # without a step
    cut = client.start_episode()
    client.get_action(cut, [0.5] * 4)
    client.end_episode(cut, [0.0] * 4, truncated=True)
    action = client.episode(cut).actions[0]
    expected.append([{"obs": [0.5] * 4, "action": action, "reward": 0.0, "truncated": True}])
    open_episode = client.start_episode()
    client.get_action(open_episode, [0.0] * 4)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        read = [e for file in folder.iterdir() for e in read_log(file, 4, 2, may_be_cut_off=True)]
        if len(read) == len(expected):
            break
        time.sleep(0.05)
    server.kill()
    assert read == expected
    assert [e for file in folder.iterdir() for e in read_log(file, 4, 2)] == expected


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="file: cannot be written to: File exists"):
        EpisodeLog(tmp_path / "file")
