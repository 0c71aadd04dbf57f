"""CartPole to a mean of 195 with the defaults, over many seeds, beside what else learns it."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator

from tools.bench.bench import TARGET, Bench, Item, Row
from tools.bench.parts.learning import learn
from tools.bench.processes import a_free_port, wait_for_port

MEANS = (
    "Lesson 01: how long students wait until the pole stays up, from the command on. The "
    "slowest seed is the one that somebody in a class of thirty meets."
)

MOST_SECONDS = 90.0  # for one seed
MOST_PEER_SECONDS = 400.0
SECONDS_OF_RAY29 = 300.0


def plan(bench: Bench) -> Iterator[Item]:
    options, figures = bench.options, bench.figures

    def play(key: str, seed: int, says_truncated: bool) -> None:
        figures[key].append(
            learn("CartPole-200", TARGET, MOST_SECONDS, 4, 2, seed, says_truncated=says_truncated)
        )

    for seed in range(options.seeds):
        yield Item(f"CartPole, seed {seed}", 12, lambda seed=seed: play("cartpole", seed, True))
    for seed in range(options.seeds):
        yield Item(f"CartPole with the old lesson's loop, seed {seed}", 12,
                   lambda seed=seed: play("cartpole_of_old", seed, False))  # fmt: skip
    if bench.peer("sb3", "sb3_cartpole.py"):
        runs = options.peer_seeds
        yield Item(f"CartPole, SB3, {runs} seeds", 32 * runs, lambda: sb3(bench))
    if bench.peer("ray29", "ray29_cartpole.py"):
        yield Item("CartPole, Ray 2.9.3", 230, lambda: ray29(bench, SECONDS_OF_RAY29))


def sb3(bench: Bench) -> None:
    seeds = bench.options.peer_seeds
    with bench.peer_process("sb3", "sb3_cartpole.py", seeds) as process:
        output, _ = process.communicate(timeout=MOST_PEER_SECONDS * seeds)
    for seed, mean, seconds, episodes, steps in re.findall(
        r"seed (\d+): mean ([\d.]+), ([\d.]+) s, (\d+) episodes, (\d+) steps", output
    ):
        bench.figures["sb3_cartpole"].append(
            {"seed": int(seed), "solved": float(mean) >= TARGET, "seconds": float(seconds),
             "episodes": int(episodes), "steps": int(steps)}
        )  # fmt: skip


def ray29(bench: Bench, seconds: float) -> None:
    """The last policy server of RLlib's own, for `seconds`, or until it gets there."""
    port = a_free_port()
    with bench.peer_process("ray29", "ray29_server.py", 4, 2, port) as server:
        # Its output is not read: a few lines a second fit into the pipe for long enough.
        wait_for_port(port, server)
        with bench.peer_process("ray29", "ray29_cartpole.py", seconds, port) as player:
            output, _ = player.communicate(timeout=seconds + 60)
    lines = re.findall(
        r"([\d.]+) s, (\d+) episodes, (\d+) steps, mean ([\d.]+), (\d+) steps/s, "
        r"get_action p50 ([\d.]+) ms p99 ([\d.]+) ms", output,
    )  # fmt: skip
    solved = re.search(r"solved: ([\d.]+) s, (\d+) episodes, (\d+) steps", output)
    if not lines:
        raise RuntimeError(f"ray29_cartpole.py printed no figures: {output[-500:]}")
    last = [float(number) for number in lines[-1]]
    bench.figures["ray29_cartpole"].append(
        {
            "solved": bool(solved),
            "seconds": float(solved[1]) if solved else last[0],
            "episodes": int(solved[2]) if solved else int(last[1]),
            "steps": int(solved[3]) if solved else int(last[2]),
            "steps_per_second": last[4],
            "p50_ms": last[5],
            "p99_ms": last[6],
        }
    )


def rows(figures: dict[str, list]) -> Iterator[Row]:
    name = f"CartPole to a mean of {TARGET:.0f}"
    runs = figures["cartpole"]
    yield from seconds_rows(name, runs)
    episodes = statistics.median(run["episodes"] for run in runs)
    yield Row(f"{name}, median", f"{episodes:.0f} episodes", "at most 150", episodes <= 150)
    evaluations = [run["evaluation"] for run in runs]
    good = sum(evaluation >= TARGET for evaluation in evaluations)
    yield Row("greedy evaluation, 20 fresh episodes",
              f"{good} of {len(runs)} seeds at least {TARGET:.0f} (lowest {min(evaluations):.0f})",
              "all", good == len(runs))  # fmt: skip
    if of_old := figures.get("cartpole_of_old"):
        yield from seconds_rows(f"{name}, the old lesson's loop", of_old)
    median = statistics.median(run["seconds"] for run in runs)
    for ray29 in figures.get("ray29_cartpole", []):
        ratio = ray29["seconds"] / median
        more = "" if ray29["solved"] else "more than "
        yield Row("... faster than Ray 2.9.3",
                  f"{more}{ratio:.1f} times ({more}{ray29['seconds']:.0f} s)",
                  "at least 10 times", ratio >= 10)  # fmt: skip
    if sb3 := figures.get("sb3_cartpole"):
        theirs = statistics.median(run["seconds"] for run in sb3)
        reached = sum(run["solved"] for run in sb3)
        yield Row("... faster than Stable-Baselines3, in-process",
                  f"{theirs / median:.1f} times ({theirs:.0f} s, {reached} of {len(sb3)} seeds)",
                  "more than 1", theirs > median)  # fmt: skip


def seconds_rows(name: str, runs: list[dict]) -> Iterator[Row]:
    solved, seconds = sum(run["solved"] for run in runs), [run["seconds"] for run in runs]
    median, worst = statistics.median(seconds), max(seconds)
    yield Row(f"{name}, seeds that get there", f"{solved} of {len(runs)}", "all",
              solved == len(runs))  # fmt: skip
    yield Row(f"{name}, median", f"{median:.1f} s", "at most 7 s", median <= 7)
    yield Row(f"{name}, slowest", f"{worst:.1f} s", "at most 15 s", worst <= 15)
