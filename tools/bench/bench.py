"""What the parts of the bench share: options, figures, rows of the table, and the peers."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from serving import ROOT
from serving.logs import read_log
from serving.protocol import Status
from serving.running_server import RunningServer
from tools.bench.processes import end_all

SMALL, LARGE = (ROOT / "serving" / name for name in ("data_small.gz", "data_large.gz"))
LEARNER_PATIENCE = 60.0  # seconds
TARGET = 195.0  # of CartPole


class Item(NamedTuple):
    """One thing to measure: `run` writes what it finds into the figures."""

    name: str
    seconds: float  # expected
    run: Callable[[], None]


class Row(NamedTuple):
    """One line of the table. `met` is None where there is nothing to compare with."""

    what: str
    measured: str
    wanted: str
    met: bool | None


class Bench:
    """What is asked for, and what was found so far: `figures` by part, build/bench.json holds the
    same. Most parts keep a list, with a seed or a run each."""

    def __init__(self, options: argparse.Namespace, mark: str):
        self.options = options
        self.mark = mark
        self.figures: dict[str, list] = defaultdict(list)
        self.skipped: list[str] = []

    def peer(self, environment: str, driver: str) -> bool:
        """Whether this peer can be measured; says so if not."""
        folder = self.options.peers
        if folder is None:
            reason = "no --peers was given"
        elif not (folder / environment / "bin" / "python").exists():
            reason = f"there is no {environment}/bin/python in {folder}"
        elif not (folder / driver).exists():
            reason = f"there is no {driver} in {folder}"
        else:
            return True
        self.skipped.append(f"not compared with {environment}: {reason}")
        return False

    @contextlib.contextmanager
    def peer_process(self, environment: str, driver: str, *arguments) -> Iterator[subprocess.Popen]:
        """A peer's driver in its own environment, with a temporary folder of its own: its Ray must
        not find the one of this kit."""
        folder = self.options.peers
        with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as scratch:
            process = subprocess.Popen(
                [folder / environment / "bin" / "python", folder / driver, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=open(Path(scratch) / "stderr", "w"),
                text=True,
                cwd=scratch,
                env={**os.environ, "RAY_TMPDIR": scratch, "PYTHONWARNINGS": "ignore"},
            )
            try:
                yield process
            finally:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                process.kill()
                process.stdout.close()
                end_all(self.mark)

    def window(self, server: RunningServer) -> dict[str, float]:
        """What the server did within --seconds of learning, by its own counters."""
        wait_for_learning(server)
        client = server.client()
        before, began = client.status(), time.perf_counter()
        time.sleep(self.options.seconds)
        after, seconds = client.status(), time.perf_counter() - began
        counted = {
            "steps_per_second": after.env_steps - before.env_steps,
            "evaluation_steps_per_second": after.evaluation_steps - before.evaluation_steps,
            "updates_per_second": after.updates - before.updates,
        }
        return {name: count / seconds for name, count in counted.items()}


def is_up(status: Status) -> bool:
    """Whether a server's learner is there."""
    return status.state in ("idle", "learning")


def wait_for_learner(server: RunningServer) -> None:
    server.wait_until(is_up, LEARNER_PATIENCE, "the learner")


def wait_for_learning(server: RunningServer) -> None:
    server.wait_until(lambda status: status.updates > 100, LEARNER_PATIENCE, "the learner")


def share_of_points(log: Path) -> float:
    """That the players of a log won: a point is a reward of 1 or -1."""
    rewards = [step["reward"] for episode in read_log(log) for step in episode]
    won, lost = (sum(round(reward) == point for reward in rewards) for point in (1, -1))
    return won / (won + lost)


def points_row(what: str, runs: list[dict]) -> Row:
    won, behaviour = [run["won"] for run in runs], runs[0]["behaviour"]
    return Row(what, f"{min(won):.0%} to {max(won):.0%} (the log: {behaviour:.0%})",
               "at least 30%, and more than the log's", min(won) >= max(0.3, behaviour + 0.1))  # fmt: skip
