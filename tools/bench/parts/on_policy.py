"""CartPole to a mean of 195 with the policy gradients."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from tools.bench.bench import TARGET, Bench, Item, Row
from tools.bench.parts.learning import learn

MEANS = "Lesson 04: the same task by policy gradients."

SECONDS = {"PPO": 90.0, "PG": 240.0}  # that the median seed may take


def plan(bench: Bench) -> Iterator[Item]:
    def play(run: str, seed: int) -> None:
        found = learn("CartPole-200", TARGET, 2 * SECONDS[run], 4, 2, seed, run=run)
        bench.figures["on-policy"].append({"run": run, **found})

    for run in SECONDS:
        for seed in range(bench.options.few_seeds):
            yield Item(f"CartPole, --run={run}, seed {seed}", 20,
                       lambda run=run, seed=seed: play(run, seed))  # fmt: skip


def rows(figures: dict[str, list]) -> Iterator[Row]:
    for run in dict.fromkeys(found["run"] for found in figures["on-policy"]):
        runs, most = [r for r in figures["on-policy"] if r["run"] == run], SECONDS[run]
        seconds = [r["seconds"] for r in runs]
        solved = sum(r["solved"] for r in runs)
        steps = statistics.median(r["steps"] for r in runs)
        episodes = statistics.median(r["episodes"] for r in runs)
        median = statistics.median(seconds)
        name = f"CartPole to a mean of {TARGET:.0f}, --run={run}"
        yield Row(f"{name}, seeds within {2 * most:.0f} s", f"{solved} of {len(runs)}", "all",
                  solved == len(runs))  # fmt: skip
        yield Row(f"{name}, median", f"{median:.1f} s (slowest {max(seconds):.1f} s), "
                  f"{steps:,.0f} steps, {episodes:.0f} episodes",
                  f"at most {most:.0f} s", median <= most)  # fmt: skip
