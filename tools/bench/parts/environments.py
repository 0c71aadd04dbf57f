"""Environments that nothing here was tuned for, with nothing but their two sizes given."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from tools.bench.bench import Bench, Item, Row
from tools.bench.parts.learning import learn

MEANS = (
    "Lesson 05: whether an environment of one's own is learned with nothing given but its two "
    "sizes."
)

# The return at which gymnasium calls them solved, and the sizes of observation and action.
ENVIRONMENTS = {"Acrobot-v1": (-100.0, 6, 3), "CartPole-v1": (475.0, 4, 2)}
RUNS = ("DQN", "PPO")
MOST_SECONDS = 300.0


def plan(bench: Bench) -> Iterator[Item]:
    def play(name: str, run: str, seed: int) -> None:
        target, *sizes = ENVIRONMENTS[name]
        found = learn(name, target, MOST_SECONDS, *sizes, seed, run=run)
        bench.figures["environments"].append({"environment": name, "run": run, **found})

    for name in ENVIRONMENTS:
        for run in RUNS:
            for seed in range(bench.options.few_seeds):
                yield Item(f"{name}, --run={run}, seed {seed}", 30,
                           lambda name=name, run=run, seed=seed: play(name, run, seed))  # fmt: skip


def rows(figures: dict[str, list]) -> Iterator[Row]:
    """A row for each algorithm; an environment is learned if one of them always gets there."""
    every = figures["environments"]
    for name in dict.fromkeys(run["environment"] for run in every):
        of_name = [run for run in every if run["environment"] == name]
        of_run = {
            run: [found for found in of_name if found["run"] == run]
            for run in dict.fromkeys(found["run"] for found in of_name)
        }
        learned = any(all(run["solved"] for run in runs) for runs in of_run.values())
        for run, runs in of_run.items():
            solved = sum(found["solved"] for found in runs)
            seconds = statistics.median(found["seconds"] for found in runs)
            steps = statistics.median(found["steps"] for found in runs)
            evaluation = statistics.median(found["evaluation"] for found in runs)
            yield Row(f"{name} to a mean of {ENVIRONMENTS[name][0]:.0f}, --run={run}",
                      f"{solved} of {len(runs)} seeds, median {seconds:.0f} s, {steps:,.0f} steps; "
                      f"greedy {evaluation:.0f}",
                      "all seeds of one algorithm", learned)  # fmt: skip
