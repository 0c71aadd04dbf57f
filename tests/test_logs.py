"""Logs: what is written is read again, and whatever is wrong is named by file, line and step."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from serving.logs import LogError, LogWriter, check_log, read_log, split_log

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
