"""What a sitting takes of a small machine: memory, and CPU while nobody plays."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil

from serving.running_server import RunningServer
from tools.bench.bench import Bench, Item, Row, wait_for_learning
from tools.bench.processes import Player, memory

MEANS = (
    "Whether a sitting fits on a small machine, such as the ones that open notebooks on the "
    "web: what the policy server and its learner hold together, and what they take while "
    "nobody plays."
)

MOST_MB = 450
SECONDS_AT_REST = 10.0
MOST_IDLE_CPU = 0.02  # of one core


def plan(bench: Bench) -> Iterator[Item]:
    yield Item("memory and rest", 30, lambda: bench.figures["memory"].append(of_a_server(bench)))


def of_a_server(bench: Bench) -> dict[str, float]:
    """Memory of server and learner after --seconds of CartPole, then their CPU when all is
    learned."""
    with RunningServer(4, 2) as server:
        family = psutil.Process(server.process.pid)
        with Player("train") as player:
            player.play(server.address)
            wait_for_learning(server)
            started, over_time = time.monotonic(), []
            while not over_time or over_time[-1][0] < bench.options.seconds:
                over_time.append((time.monotonic() - started, memory(family)))
                time.sleep(1.0)
            held = over_time[-1][1]
        server.wait_until(lambda status: status.state == "idle", 60, "the learner to be done")
        return {"mb": held, "over_time": over_time, "idle_cpu": cpu_at_rest(family)}


def cpu_at_rest(*processes: psutil.Process) -> float:
    """CPU seconds a second that these and their descendants take, over SECONDS_AT_REST."""
    before = sum(map(cpu_seconds, processes))
    time.sleep(SECONDS_AT_REST)
    return (sum(map(cpu_seconds, processes)) - before) / SECONDS_AT_REST


def cpu_seconds(process: psutil.Process) -> float:
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(time.user + time.system for time in times)


def rows(figures: dict[str, list]) -> Iterator[Row]:
    (found,) = figures["memory"]
    yield Row("memory of policy server and learner, CartPole (PSS)", f"{found['mb']:.0f} MB",
              f"at most {MOST_MB} MB", found["mb"] <= MOST_MB)  # fmt: skip
    yield Row("... their CPU while nobody plays", f"{found['idle_cpu']:.1%} of a core",
              f"at most {MOST_IDLE_CPU:.0%}", found["idle_cpu"] <= MOST_IDLE_CPU)  # fmt: skip
