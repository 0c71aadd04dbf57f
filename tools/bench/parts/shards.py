"""The same log from 8 shards, read by two env runners on Ray: `train_from_logs.py`."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from serving import ROOT, checkpoints
from serving.logs import check_log, split_log
from tools.bench.bench import LARGE, Bench, Item, Row, points_row, share_of_points
from tools.bench.parts.logs import GAMES, MOST_SECONDS
from tools.bench.players import play_pong

MEANS = "The same from files, without HTTP in between."

COMMAND = ROOT / "serving" / "train_from_logs.py"


def plan(bench: Bench) -> Iterator[Item]:
    for seed in range(bench.options.few_seeds):
        yield Item(f"learn from 8 shards, seed {seed}", 80,
                   lambda seed=seed: bench.figures["shards"].append(learn(seed)))  # fmt: skip


def learn(seed: int) -> dict:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        split_log(LARGE, 8, folder)
        command = [
            sys.executable, COMMAND, f"{folder}/*.gz", "--observation-size=8", "--action-size=3",
            f"--seed={seed}", "--num-env-runners=2", f"--checkpoint-file={folder}/pong", "--quiet",
        ]  # fmt: skip
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS)
        seconds = time.monotonic() - started
        said = re.search(
            r"read ([\d,]+) episodes, ([\d,]+) steps, in [\d.]+ s \(([\d,]+) steps/s\)", done.stdout
        )
        if done.returncode or not said:
            raise RuntimeError(f"train_from_logs.py failed: {done.stderr[-500:]}")
        _, policy = checkpoints.read(checkpoints.newest(f"{folder}/pong"))
    episodes, steps, per_second = (int(number.replace(",", "")) for number in said.groups())
    log = check_log(LARGE)
    return {
        "seed": seed, "seconds": seconds, "steps_per_second": per_second,
        **play_pong(policy, GAMES, 10_000),
        "each_once": (episodes, steps) == (log.episodes, log.steps),
        "behaviour": share_of_points(LARGE),
    }  # fmt: skip


def rows(figures: dict[str, list]) -> Iterator[Row]:
    shards, replay = figures["shards"], figures.get("replay")
    yield points_row(f"points won after 8 shards, 2 env runners, {len(shards)} seeds", shards)
    rate = statistics.median(run["steps_per_second"] for run in shards)
    faster = rate > replay[0]["steps_per_second"] if replay else None
    yield Row("... read, median", f"{rate:,.0f} steps/s", "more than over HTTP", faster)
    once = all(run["each_once"] for run in shards)
    yield Row("... every episode counted once", "yes" if once else "no", "yes", once)
