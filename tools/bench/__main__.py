"""Measures what is promised: start, learning, throughput and latency, beside peers if there are any.

    make bench
    make bench ARGS="--only=start,beside --seeds=3"
    make bench ARGS="--peers=DIR"

DIR holds the peers' drivers (ray29_server.py, ray29_cartpole.py, ray29_replay.py, sb3_cartpole.py,
http_echo.py) and a virtual environment for each: ray29/, sb3/, echo/. Figures drift from machine to
machine; the ratios, measured in one run, are what holds. Leave the machine alone while it measures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import uuid
from pathlib import Path

import psutil

from tools.bench.bench import Bench, Item, Row
from tools.bench.parts import PARTS
from tools.bench.parts.pong import median_curve
from tools.bench.processes import MARK, end_all
from tools.bench.published import part, publish, versions


def plan(bench: Bench) -> list[Item]:
    return [item for name in bench.options.only for item in part(name).plan(bench)]


def rows_of(figures: dict[str, list]) -> list[Row]:
    """The table: what was promised beside what was measured."""
    return [row for name in PARTS if figures.get(name) for row in part(name).rows(figures)]


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def run(items: list[Item]) -> None:
    """Runs the items in order, and says how long it will take: expected seconds, corrected by how
    long the expected ones have taken so far."""
    started, done = time.monotonic(), 0.0
    for number, item in enumerate(items, 1):
        elapsed = time.monotonic() - started
        pace = elapsed / done if done else 1.0
        left = pace * sum(later.seconds for later in items[number - 1 :])
        print(f"[{number:2}/{len(items)}] {clock(elapsed)} so far, about {clock(left)} left: "
              f"{item.name}", flush=True)  # fmt: skip
        item.run()
        done += item.seconds


def show(rows: list[Row], skipped: list[str], out: Path) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    print()
    for row in rows:
        verdict = {True: "met", False: "NOT MET", None: ""}[row.met]
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths))
        print("  " + "   ".join((*cells, verdict)).rstrip())
    for sentence in dict.fromkeys(skipped):
        print(f"  {sentence}")
    print(f"\nwritten to {out}", flush=True)


def machine() -> dict:
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "cpus": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
        "load_before": os.getloadavg()[0],
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("--only", default=",".join(PARTS), metavar="PART,...", help="of %(default)s")
    add("--starts", type=int, default=10, metavar="N", help="starts (default: %(default)s)")
    add("--seeds", type=int, default=20, metavar="N", help="of CartPole (default: %(default)s)")
    add("--few-seeds", type=int, default=5, metavar="N",
        help="of whatever else is played over seeds (default: %(default)s)")  # fmt: skip
    add("--peer-seeds", type=int, default=3, metavar="N", help="of SB3 (default: %(default)s)")
    add("--seconds", type=float, default=20, metavar="S",
        help="to count steps and waits for (default: %(default)s)")  # fmt: skip
    add("--curve", type=Path, metavar="FILE",
        help="where Pong's learning curve goes, of the median seed: images/learning.json")  # fmt: skip
    add("--peers", type=Path, metavar="DIR", help="the peers' drivers and environments")
    add("--out", type=Path, default=Path("build/bench.json"), metavar="FILE",
        help="where the figures go, as JSON (default: %(default)s)")  # fmt: skip
    add("--publish", action="store_true", help="write BENCHMARKS.md and its pictures")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"--only: no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if options.peers:
        options.peers = options.peers.absolute()
    return options


def main() -> int:
    options = parse()
    about = machine()
    if about["load_before"] > 0.5 * about["cpus"]:
        print(f"this machine is busy (load {about['load_before']:.1f}): expect worse figures")
    mark = os.environ[MARK] = uuid.uuid4().hex
    bench = Bench(options, mark)
    try:
        run(plan(bench))
    except KeyboardInterrupt:
        print("\nstopped", flush=True)
        return 130
    finally:
        end_all(mark)
        rows = rows_of(bench.figures)
        if rows:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            written = {"machine": about, "figures": bench.figures,
                       "rows": [row._asdict() for row in rows]}  # fmt: skip
            options.out.write_text(json.dumps(written, indent=1) + "\n")
            show(rows, bench.skipped, options.out)
            if options.publish:
                publish(written)
        if options.curve and bench.figures["pong"]:
            options.curve.write_text(json.dumps(median_curve(bench.figures["pong"])) + "\n")
    return 0 if all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
