"""Logs of played episodes: gzip, one episode a line, each a JSON list of its steps.

    [{"obs": [0.1, ...], "action": 2, "reward": 0.0}, {"obs": [0.12, ...], "action": 0, ...}, ...]

`obs` is what was seen, `action` what was then done, `reward` what that earned. An episode that was
only cut short has `"truncated": true` in its last step. Older logs write actions as floats; a whole
number such as 1.0 is taken for 1. Everything here works line by line: a log may be larger than
memory.

    python -m serving.logs check games.gz ...                    sums up, or names what is wrong
    python -m serving.logs split games.gz --shards=8 --out=DIR   for several readers at a time
"""

from __future__ import annotations

import errno
import gzip
import itertools
import json
import math
import os
import re
import sys
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict

import msgspec
import numpy as np

from serving.command_line import parser_of, uninterrupted

LARGEST_LINE = 64 * 2**20  # bytes
LARGEST_FILE = 16 * 2**20  # bytes, of an EpisodeLog; a file ends with the episode that reaches it
MOST_STEPS_WAITING = 200_000  # for the disk
DIGITS = 6  # after the point, of observations


class Step(TypedDict):
    obs: list[float]
    action: float
    reward: float
    truncated: NotRequired[bool]


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
    path: str | Path,
    observation_size: int | None = None,
    action_size: int | None = None,
    may_be_cut_off: bool = False,
) -> Iterator[Episode]:
    """Yields the episodes of a log, actions as ints.

    Without `observation_size` all observations must be as long as the first one. Raises LogError
    at the first thing that is not as it should be; what came before has been yielded by then.
    `may_be_cut_off`: a file that breaks off, as a kill of its writer leaves it, just ends there.
    """
    for number, line in enumerate(_lines(path, may_be_cut_off), 1):
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
            if step.get("truncated") and i < len(episode) - 1:
                raise LogError(f"{where}, step {i}: truncated, and there are steps after it")
        yield episode


def check_log(
    path: str | Path,
    observation_size: int | None = None,
    action_size: int | None = None,
    may_be_cut_off: bool = False,
) -> LogSummary:
    """Reads the whole log; raises LogError if there is anything wrong with it, or nothing in it."""
    episodes, steps, total, size, actions = 0, 0, 0.0, 0, {}
    for episode in read_log(path, observation_size, action_size, may_be_cut_off):
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

    def write(self, episode: Iterable[Step], truncated: bool = False) -> None:
        """Adds one episode; observations may be arrays. `truncated`: it was only cut short. Raises
        LogError for numbers that a log cannot hold."""
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
        if truncated or step.get("truncated"):
            steps[-1]["truncated"] = True
        line = msgspec.json.encode(steps) + b"\n"
        with uninterrupted():
            self._file.write(line)
            self.episodes, self.steps = self.episodes + 1, self.steps + len(steps)

    def close(self) -> None:
        if self._raw.closed:
            return
        with uninterrupted():
            self._file.close()
            self._raw.close()
            os.replace(self._part, self.path)

    def discard(self) -> None:
        """Forgets what was written; a file that was there before stays."""
        self._raw.close()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, *exception) -> None:
        self.close()


class EpisodeLog:
    """Writes episodes as they end, for as long as a server runs: `episodes-*.gz` in a folder.

    Each episode is compressed for itself and handed to the system in one piece, so a kill at any
    instant costs the episode that was being written, and no other. Files are bounded in size, and
    never written to again by a later run. Compressing and writing happen in a thread: the caller,
    who answers players, never waits for the disk.
    """

    def __init__(self, folder: str | Path, largest_file: int = LARGEST_FILE):
        self.folder, self.largest_file = Path(folder), largest_file
        self.episodes = self.dropped = 0
        self.error: str | None = None  # why nothing can be written, if so
        self._waiting = 0  # steps
        self._lock = threading.Lock()
        self._file = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._new_file()
        except OSError as error:
            raise LogError(f"{folder}: cannot be written to: {error.strerror}") from None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="episode-log")

    def write(self, observations, actions, rewards, truncated: bool) -> None:
        """Adds one episode: observations (steps, size), actions (steps,), rewards (steps,); the
        arrays must not change any more. Where the disk cannot keep up, the episode is dropped and
        counted."""
        with self._lock:
            if self._waiting + len(actions) > MOST_STEPS_WAITING and self._waiting:
                self.dropped += 1
                return
            self._waiting += len(actions)
        self._thread.submit(self._write, observations, actions, rewards, truncated)

    def close(self) -> None:
        """Writes what still waits; returns when it is in the file."""
        self._thread.shutdown(wait=True)
        if self._file is not None:
            name = self._file.name
            self._file.close()
            if not os.path.getsize(name):
                os.remove(name)
            self._file = None

    def _write(self, observations, actions, rewards, truncated: bool) -> None:
        try:
            rows = np.round(np.asarray(observations, np.float64), DIGITS).tolist()
            steps = [
                {"obs": row, "action": int(action), "reward": float(reward)}
                for row, action, reward in zip(rows, actions, rewards)
            ]
            if truncated:
                steps[-1]["truncated"] = True
            # Several gzip files, one after the other, are a gzip file.
            member = gzip.compress(msgspec.json.encode(steps) + b"\n", 6, mtime=0)
            if self._file.tell() >= self.largest_file:
                self._new_file()
            end = self._file.tell()
            try:
                if self._file.write(member) < len(member):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:  # what was written of it would spoil what comes after
                self._file.truncate(end)
                self._file.seek(end)
                raise
            self.episodes += 1
        except OSError as error:  # the disk is full, for example: players are answered all the same
            self.error = f"{self._file.name}: cannot be written: {error.strerror}"
            self.dropped += 1
        finally:
            with self._lock:
                self._waiting -= len(actions)

    def _new_file(self) -> None:
        begun = time.strftime("%Y%m%d-%H%M%S")
        for number in itertools.count(1):
            path = self.folder / f"episodes-{begun}-{number:03d}.gz"
            try:
                new = open(path, "xb", buffering=0)
                break
            except FileExistsError:
                continue
        if self._file is not None:
            self._file.close()
        self._file = new


def split_log(
    path: str | Path, shards: int, folder: str | Path, may_be_cut_off: bool = False
) -> list[Path]:
    """Deals the episodes of a log out to `shards` logs of about equal length in `folder`, in turn;
    returns their paths. Every episode lands in exactly one of them. If the log cannot be read to
    its end, there are no shards."""
    if shards < 1:
        raise ValueError(f"shards is {shards}: expected 1 or more")
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LogError(f"{folder}: cannot be written to: {error.strerror}") from None
    stem = Path(path).name.removesuffix(".gz")
    paths = [folder / f"{stem}-{i:03d}-of-{shards:03d}.gz" for i in range(shards)]
    writers = [LogWriter(shard) for shard in paths]
    try:
        for i, episode in enumerate(read_log(path, may_be_cut_off=may_be_cut_off)):
            writers[i % shards].write(episode)
    except BaseException:
        for writer in writers:
            writer.discard()
        raise
    for writer in writers:
        writer.close()
    return paths


def _lines(path: str | Path, may_be_cut_off: bool = False) -> Iterator[bytes]:
    number = 0
    try:
        with gzip.open(path) as file:
            while line := file.readline(LARGEST_LINE + 1):
                number += 1
                if len(line) > LARGEST_LINE:
                    raise LogError(f"{path}, line {number}: longer than {LARGEST_LINE} bytes")
                yield line
    except EOFError:
        if not may_be_cut_off:
            raise LogError(f"{path}, line {number + 1}: the file is cut off here") from None
    except zlib.error:
        raise LogError(f"{path}, line {number + 1}: the file is damaged here") from None
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


def main(arguments: list[str] | None = None) -> int:
    parser = parser_of(__doc__)
    parser.prog = "python -m serving.logs"
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="sum up logs, or name what is wrong with them")
    check.add_argument("files", nargs="+", metavar="FILE.gz")
    check.add_argument("--observation-size", type=int, metavar="N")
    check.add_argument("--action-size", type=int, metavar="N")
    split = commands.add_parser("split", help="deal the episodes of a log out to several")
    split.add_argument("file", metavar="FILE.gz")
    split.add_argument("--shards", type=int, default=8, metavar="N", help="default: %(default)s")
    split.add_argument("--out", default=".", metavar="DIR", help="where to (default: here)")
    for command in (check, split):
        command.add_argument("--may-be-cut-off", action="store_true",
            help="a file that breaks off, as a kill of its writer leaves it, just ends there")  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        if options.command == "check":
            for file in options.files:
                _say(file, check_log(file, options.observation_size, options.action_size,
                                     options.may_be_cut_off))  # fmt: skip
        else:
            for path in split_log(
                options.file, options.shards, options.out, options.may_be_cut_off
            ):
                print(path)
    except ValueError as error:
        print(f"serving.logs: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _say(file: str, summary: LogSummary) -> None:
    actions = ", ".join(f"{action}: {many:,}" for action, many in summary.actions.items())
    print(
        f"{file}: {summary.episodes:,} episodes, {summary.steps:,} steps, mean return "
        f"{summary.mean_return:.2f}, {summary.observation_size} numbers an observation, "
        f"actions {actions}"
    )


if __name__ == "__main__":
    sys.exit(main())
