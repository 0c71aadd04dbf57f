"""Logs of played episodes: gzip, one episode a line, each a JSON list of its steps.

    [{"obs": [0.1, ...], "action": 2, "reward": 0.0}, {"obs": [0.12, ...], "action": 0, ...}, ...]

`obs` is what was seen, `action` what was then done, `reward` what that earned. Older logs write
actions as floats; a whole number such as 1.0 is taken for 1. Everything here works line by line:
a log may be larger than memory.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypedDict

import msgspec

LARGEST_LINE = 64 * 2**20  # bytes
DIGITS = 6  # after the point, of observations


class Step(TypedDict):
    obs: list[float]
    action: float
    reward: float


Episode = list[Step]

_decoder = msgspec.json.Decoder(Episode)


class LogError(ValueError):
    """A log cannot be read: the sentence names the file, the line (from 1) and the step (from 0)."""


class LogSummary(NamedTuple):
    episodes: int
    steps: int
    mean_return: float
    observation_size: int
    actions: dict[int, int]  # how often each was taken


def read_log(
    path: str | Path, observation_size: int | None = None, action_size: int | None = None
) -> Iterator[Episode]:
    """Yields the episodes of a log, actions as ints.

    Without `observation_size` all observations must be as long as the first one. Raises LogError
    at the first thing that is not as it should be; what came before has been yielded by then.
    """
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        episode = _decoded(line, where)
        if not episode:
            raise LogError(f"{where}: expected a list of steps, and came an empty one")
        observation_size = observation_size or len(episode[0]["obs"])
        for i, step in enumerate(episode):
            _check(step, f"{where}, step {i}", observation_size, action_size)
            step["action"] = int(step["action"])
        yield episode


def check_log(
    path: str | Path, observation_size: int | None = None, action_size: int | None = None
) -> LogSummary:
    """Reads the whole log; raises LogError if there is anything wrong with it, or nothing in it."""
    episodes, steps, total, size, actions = 0, 0, 0.0, 0, {}
    for episode in read_log(path, observation_size, action_size):
        episodes, steps, size = episodes + 1, steps + len(episode), len(episode[0]["obs"])
        for step in episode:
            total += step["reward"]
            actions[step["action"]] = actions.get(step["action"], 0) + 1
    if not episodes:
        raise LogError(f"{path}: expected episodes, and there are none")
    return LogSummary(episodes, steps, total / episodes, size, dict(sorted(actions.items())))


class LogWriter:
    """Writes a log, episode by episode:

        with LogWriter("games.gz") as log:
            log.write(episode)

    The same episodes give the same bytes. A file that exists is replaced when the log is closed;
    until then the new one has `.part` after its name. If the `with` block ends with an exception,
    Ctrl-C among them, what was written so far is kept.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.episodes = self.steps = 0
        self._part = self.path.with_name(self.path.name + ".part")
        try:
            self._raw = open(self._part, "wb")
        except OSError as error:
            raise LogError(f"{path}: cannot be written: {error.strerror}") from None
        # No name and no time in its header: they would make equal logs differ.
        self._file = gzip.GzipFile(filename="", mode="wb", fileobj=self._raw, mtime=0)

    def write(self, episode: Iterable[Step]) -> None:
        """Adds one episode; observations may be arrays. Raises LogError for numbers that a log
        cannot hold."""
        steps = []
        for i, step in enumerate(episode):
            where = f"{self.path}, line {self.episodes + 1}, step {i}"
            row = {
                "obs": [round(float(number), DIGITS) for number in step["obs"]],
                "action": step["action"],
                "reward": float(step["reward"]),
            }
            _check(row, where, len(row["obs"]), None)
            steps.append({**row, "action": int(row["action"])})
        if not steps:
            raise LogError(f"{self.path}, line {self.episodes + 1}: an episode needs a step")
        self._file.write(msgspec.json.encode(steps) + b"\n")
        self.episodes, self.steps = self.episodes + 1, self.steps + len(steps)

    def close(self) -> None:
        if self._raw.closed:
            return
        self._file.close()
        self._raw.close()
        os.replace(self._part, self.path)

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def split_log(path: str | Path, shards: int, folder: str | Path) -> list[Path]:
    """Deals the episodes of a log out to `shards` logs of about equal length in `folder`, in turn;
    returns their paths. Every episode lands in exactly one of them."""
    if shards < 1:
        raise ValueError(f"shards is {shards}: expected 1 or more")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stem = Path(path).name.removesuffix(".gz")
    paths = [folder / f"{stem}-{i:03d}-of-{shards:03d}.gz" for i in range(shards)]
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(LogWriter(shard)) for shard in paths]
        for i, episode in enumerate(read_log(path)):
            writers[i % shards].write(episode)
    return paths


def _lines(path: str | Path) -> Iterator[bytes]:
    number = 0
    try:
        with gzip.open(path) as file:
            while line := file.readline(LARGEST_LINE + 1):
                number += 1
                if len(line) > LARGEST_LINE:
                    raise LogError(f"{path}, line {number}: longer than {LARGEST_LINE} bytes")
                yield line
    except (EOFError, zlib.error):
        raise LogError(f"{path}, line {number + 1}: the file is cut off or damaged here") from None
    except gzip.BadGzipFile as error:
        where = f"{path}, after line {number}" if number else f"{path}"
        raise LogError(f"{where}: not gzip, or damaged: {error}") from None
    except OSError as error:
        raise LogError(f"{path}: cannot be read: {error.strerror}") from None


def _decoded(line: bytes, where: str) -> Episode:
    try:
        return _decoder.decode(line)
    except msgspec.ValidationError as error:
        # "Expected `float`, got `str` - at `$[3].obs[0]`"
        what, _, at = str(error).partition(" - at ")
        found = re.match(r"`\$\[(\d+)\]\.?(.*)`", at)
        if not found:
            raise LogError(f"{where}: a list of steps is needed: {what}") from None
        place = f" in {found[2]}" if found[2] else ""
        raise LogError(f"{where}, step {found[1]}: {what}{place}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        for i, step in enumerate(_pythons_json(line)):
            if not _finite(step):
                raise LogError(
                    f"{where}, step {i}: expected finite numbers, and came NaN or Infinity"
                ) from None
        raise LogError(f"{where}: not JSON: {error}") from None


def _pythons_json(line: bytes) -> list:
    """Python's own json writes and reads NaN, which JSON does not have."""
    try:
        steps = json.loads(line)
    except ValueError:
        return []
    return steps if isinstance(steps, list) else []


def _finite(value) -> bool:
    if isinstance(value, dict):
        return all(_finite(part) for part in value.values())
    if isinstance(value, list):
        return all(_finite(part) for part in value)
    return not isinstance(value, float) or math.isfinite(value)


def _check(step: Step, where: str, observation_size: int, action_size: int | None) -> None:
    observation, action, reward = step["obs"], step["action"], step["reward"]
    if len(observation) != observation_size:
        raise LogError(f"{where}: obs has {len(observation)} numbers: expected {observation_size}")
    for i, number in enumerate(observation):
        if not math.isfinite(number):
            raise LogError(f"{where}: obs[{i}] is {number}: expected a finite number")
    if not math.isfinite(reward):
        raise LogError(f"{where}: reward is {reward}: expected a finite number")
    if not (math.isfinite(action) and action == int(action) and action >= 0):
        raise LogError(f"{where}: action is {action}: expected a whole number from 0 on")
    if action_size is not None and action >= action_size:
        raise LogError(
            f"{where}: action is {action}: expected a whole number from 0 to {action_size - 1}"
        )
