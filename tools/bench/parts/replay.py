"""The plain loop that replays a log over HTTP, while another client asks for actions."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psutil

from serving.running_server import RunningServer
from tools.bench.bench import LARGE, Bench, Item, Row, wait_for_learner
from tools.bench.processes import Player, a_free_port, wait_for_port

MEANS = (
    "Lesson 03: a quarter of a million logged steps are replayed before anybody has fetched a "
    "coffee, and whoever plays meanwhile does not notice."
)

TIMES = 3  # that the log is replayed, to measure how fast


def plan(bench: Bench) -> Iterator[Item]:
    yield Item("replay of a log over HTTP", 30, lambda: measure(bench))
    if bench.peer("ray29", "ray29_replay.py"):
        yield Item("replay of a log, Ray 2.9.3", 80, lambda: ray29(bench))


def measure(bench: Bench) -> None:
    with (
        RunningServer(8, 3) as server,
        Player("ask", size=8) as asker,
        Player("replay", log=LARGE, times=TIMES) as replayer,
    ):
        wait_for_learner(server)
        used = psutil.Process(server.process.pid).cpu_times()
        asker.play(server.address)
        replayer.play(server.address)
        found = replayer.result(600)
        asked = asker.result(30)
        status = server.client().status()
        now = psutil.Process(server.process.pid).cpu_times()
    found["accepted"] = status.logged_steps
    found["waiting"] = status.steps_waiting
    found["server_cpu_us_per_step"] = (
        1e6 * (now.user + now.system - used.user - used.system) / found["steps"]
    )
    bench.figures["replay"].append({**found, **asked})


def ray29(bench: Bench) -> None:
    port = a_free_port()
    with bench.peer_process("ray29", "ray29_server.py", 8, 3, port) as server:
        wait_for_port(port, server)
        with bench.peer_process("ray29", "ray29_replay.py", LARGE, 45, port) as player:
            output, _ = player.communicate(timeout=200)
    said = re.search(r"(\d+) steps/s", output)
    if not said:
        raise RuntimeError(f"ray29_replay.py printed no figures: {output[-500:]}")
    bench.figures["ray29_replay"].append(float(said[1]))


def rows(figures: dict[str, list]) -> Iterator[Row]:
    (replay,) = figures["replay"]
    rate = replay["steps_per_second"]
    yield Row("replay of a log by the plain loop", f"{rate:,.0f} steps/s", "at least 20,000 steps/s",
              rate >= 20_000)  # fmt: skip
    for theirs in figures.get("ray29_replay", []):
        yield Row("... beside Ray 2.9.3", f"{rate / theirs:,.0f} times ({theirs:.0f} steps/s)", "",
                  None)  # fmt: skip
    lost = replay["steps"] - replay["accepted"]
    yield Row("... steps lost", f"{lost} of {replay['steps']:,}", "none", lost == 0)
    yield Row("... CPU of client and server",
              f"{replay['cpu_us_per_step'] + replay['server_cpu_us_per_step']:.1f} us a step",
              "", None)  # fmt: skip
    yield Row("... get_action of another client meanwhile, p99",
              f"{replay['p99_ms']:.2f} ms (p50 {replay['p50_ms']:.2f} ms)",
              "under 10 ms", replay["p99_ms"] < 10)  # fmt: skip
