"""What the bench has measured, beside what was promised: the table that `make bench` ends with."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tools.bench_players import GAMES

SMALL, LARGE = (
    Path(__file__).parents[1] / "serving" / name for name in ("data_small.gz", "data_large.gz")
)
TARGET = 195.0  # of CartPole
PONG_STEPS = 60_000
ON_POLICY = {"PPO": 90.0, "PG": 240.0}  # seconds that the median seed of CartPole may take
# Environments that nothing here was tuned for, the return at which gymnasium calls them solved, and
# the sizes of observation and action: all that the server is told.
ENVIRONMENTS = {"Acrobot-v1": (-100.0, 6, 3), "CartPole-v1": (475.0, 4, 2)}


class Row(NamedTuple):
    """One line of the table. `met` is None where there is nothing to compare with."""

    what: str
    measured: str
    wanted: str
    met: bool | None


@dataclass
class Figures:
    """Everything that was measured; build/bench.json holds the same."""

    first_actions: list[float] = field(default_factory=list)  # seconds
    cartpole: list[dict] = field(default_factory=list)  # a seed each
    pong: list[dict] = field(default_factory=list)  # a seed each
    rollouts: dict | None = None  # steps/s by number of workers
    page: dict | None = None
    on_policy: list[dict] = field(default_factory=list)  # a run and a seed each
    environments: list[dict] = field(default_factory=list)  # an environment, a run and a seed each
    ray29_cartpole: dict | None = None
    sb3_cartpole: list[dict] = field(default_factory=list)
    busy: dict | None = None
    beside: dict | None = None
    echo: dict | None = None
    replay: dict | None = None
    ray29_replay: float | None = None  # steps/s
    logs: list[dict] = field(default_factory=list)  # a log and a seed each
    shards: list[dict] = field(default_factory=list)  # a seed each


def rows_of(figures: Figures) -> Iterator[Row]:
    """The table: what was promised beside what was measured."""
    if figures.first_actions:
        seconds = statistics.median(figures.first_actions)
        worst = max(figures.first_actions)
        yield Row("first action after the command, median", f"{seconds:.2f} s (worst {worst:.2f} s)",
                  "at most 1.0 s", seconds <= 1.0)  # fmt: skip
    if figures.cartpole:
        yield from cartpole_rows(figures)
    if figures.pong:
        yield from pong_rows(figures)
    if figures.rollouts:
        one, two = figures.rollouts[1], figures.rollouts[2]
        yield Row("rollouts from two Ray workers beside one",
                  f"{two / one:.2f} times ({two:,.0f} and {one:,.0f} steps/s)",
                  "more than 1", two > one)  # fmt: skip
    for what, page in (figures.page or {}).items():
        yield Row(f"browser decision, there and back, learning, {what}: p99",
                  f"{page['p99']:.1f} ms (p50 {page['p50']:.1f} ms, {page['fps']:.0f} frames/s)",
                  "at most 20 ms", page["p99"] <= 20)  # fmt: skip
    for run in dict.fromkeys(run["run"] for run in figures.on_policy):
        yield from on_policy_rows(figures, run)
    if figures.environments:
        yield from environment_rows(figures)
    if figures.busy:
        yield from busy_rows(figures)
    if figures.beside:
        yield from beside_rows(figures)
    if figures.replay:
        yield from replay_rows(figures)
    yield from log_rows(figures)
    if figures.shards:
        yield from shard_rows(figures)


def cartpole_rows(figures: Figures) -> Iterator[Row]:
    runs, ray29, sb3 = (
        figures.cartpole, figures.ray29_cartpole, figures.sb3_cartpole
    )  # fmt: skip
    solved = [run for run in runs if run["solved"]]
    seconds = [run["seconds"] for run in runs]
    median, worst = statistics.median(seconds), max(seconds)
    episodes = statistics.median(run["episodes"] for run in runs)
    evaluations = [run["evaluation"] for run in runs]
    good = sum(evaluation >= TARGET for evaluation in evaluations)
    name = f"CartPole to a mean of {TARGET:.0f}"
    yield Row(f"{name}, seeds that get there", f"{len(solved)} of {len(runs)}", "all",
              len(solved) == len(runs))  # fmt: skip
    yield Row(f"{name}, median", f"{median:.1f} s", "at most 20 s", median <= 20)
    yield Row(f"{name}, slowest", f"{worst:.1f} s", "at most 45 s", worst <= 45)
    yield Row(f"{name}, median", f"{episodes:.0f} episodes", "at most 150", episodes <= 150)
    yield Row("greedy evaluation, 20 fresh episodes",
              f"{good} of {len(runs)} seeds at least {TARGET:.0f} (lowest {min(evaluations):.0f})",
              "all", good == len(runs))  # fmt: skip
    if ray29:
        ratio = ray29["seconds"] / median
        more = "" if ray29["solved"] else "more than "
        yield Row("... faster than Ray 2.9.3",
                  f"{more}{ratio:.1f} times ({more}{ray29['seconds']:.0f} s)",
                  "at least 10 times", ratio >= 10)  # fmt: skip
    if sb3:
        theirs = statistics.median(run["seconds"] for run in sb3)
        reached = sum(run["solved"] for run in sb3)
        yield Row("... faster than Stable-Baselines3, in-process",
                  f"{theirs / median:.1f} times ({theirs:.0f} s, {reached} of {len(sb3)} seeds)",
                  "more than 1", theirs > median)  # fmt: skip


def pong_rows(figures: Figures) -> Iterator[Row]:
    curves = [{steps: share for steps, _, share in run["curve"]} for run in figures.pong]
    for steps, wanted, which in (
        (15_000, 0.50, "median"), (30_000, 0.50, "lowest"), (60_000, 0.65, "lowest")
    ):  # fmt: skip
        shares = [curve[steps] for curve in curves]
        counts = statistics.median(shares) if which == "median" else min(shares)
        each = " ".join(f"{share:.0%}" for share in shares)
        yield Row(f"Pong, points won greedily after {steps:,} steps, {which}",
                  f"{counts:.0%} (seeds: {each})", f"at least {wanted:.0%}",
                  counts >= wanted)  # fmt: skip
    seconds = [run["curve"][-1][1] for run in figures.pong]
    yield Row(f"Pong, {PONG_STEPS:,} steps, slowest",
              f"{max(seconds):.0f} s (median {statistics.median(seconds):.0f} s)",
              "at most 120 s", max(seconds) <= 120)  # fmt: skip


def pong_curve(pong: list[dict]) -> dict:
    """The seed that is the median after all steps, as tools/make_images.py draws it."""
    runs = sorted(pong, key=lambda run: run["curve"][-1][2])
    median = runs[len(runs) // 2]
    return {
        "run": "python serving/simple_policy_server.py --action-size=3 --observation-size=8 "
        f"--run=DQN --seed={median['seed']}",
        "measured": f"share of points in {GAMES} games, the policy frozen and greedy, the "
        "opponent at its default level",
        "seeds": len(runs),
        "random": 0.07,  # of 2,150 points
        "points": [[steps, round(share, 3)] for steps, _, share in median["curve"]],
    }


def on_policy_rows(figures: Figures, run: str) -> Iterator[Row]:
    runs, most = [r for r in figures.on_policy if r["run"] == run], ON_POLICY[run]
    seconds = [r["seconds"] for r in runs]
    solved = sum(r["solved"] for r in runs)
    steps = statistics.median(r["steps"] for r in runs)
    episodes = statistics.median(r["episodes"] for r in runs)
    name = f"CartPole to a mean of {TARGET:.0f}, --run={run}"
    yield Row(f"{name}, seeds within {2 * most:.0f} s", f"{solved} of {len(runs)}", "all",
              solved == len(runs))  # fmt: skip
    yield Row(f"{name}, median", f"{statistics.median(seconds):.1f} s (slowest {max(seconds):.1f} s), "
              f"{steps:,.0f} steps, {episodes:.0f} episodes",
              f"at most {most:.0f} s", statistics.median(seconds) <= most)  # fmt: skip


def environment_rows(figures: Figures) -> Iterator[Row]:
    """A row for each algorithm; an environment is learned if one of them always gets there."""
    every = figures.environments
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


def busy_rows(figures: Figures) -> Iterator[Row]:
    busy, ray29 = figures.busy, figures.ray29_cartpole
    measured = f"{busy['steps_per_second']:.0f} steps/s"
    name = "served to one client, one update per four steps"
    if ray29 is None:
        yield Row(name, measured, "", None)
        return
    ratio = busy["steps_per_second"] / ray29["steps_per_second"]
    yield Row(name, f"{measured}: {ratio:.0f} times Ray 2.9.3 ({ray29['steps_per_second']:.0f})",
              "at least 40 times", ratio >= 40)  # fmt: skip


def beside_rows(figures: Figures) -> Iterator[Row]:
    beside, echo = figures.beside, figures.echo
    measured = f"{beside['per_second']:.0f} steps/s"
    name = "evaluation client beside a training client"
    if echo is None:
        yield Row(name, measured, "", None)
    else:
        ratio = beside["per_second"] / echo["per_second"]
        yield Row(name, f"{measured}: {ratio:.2f} of the bare echo ({echo['per_second']:.0f}/s)",
                  "at least 0.50", ratio >= 0.5)  # fmt: skip
    yield Row("... and the training client beside it", f"{beside['steps_per_second']:.0f} steps/s",
              "", None)  # fmt: skip
    yield Row("... get_action while the learner is busy, p99",
              f"{beside['p99_ms']:.2f} ms (p50 {beside['p50_ms']:.2f} ms)",
              "at most 3 ms", beside["p99_ms"] <= 3)  # fmt: skip


def replay_rows(figures: Figures) -> Iterator[Row]:
    replay, ray29 = figures.replay, figures.ray29_replay
    rate = replay["steps_per_second"]
    yield Row("replay of a log by the plain loop", f"{rate:,.0f} steps/s", "at least 20,000 steps/s",
              rate >= 20_000)  # fmt: skip
    if ray29:
        yield Row("... beside Ray 2.9.3", f"{rate / ray29:,.0f} times ({ray29:.0f} steps/s)", "",
                  None)  # fmt: skip
    lost = replay["steps"] - replay["accepted"]
    yield Row("... steps lost", f"{lost} of {replay['steps']:,}", "none", lost == 0)
    yield Row("... CPU of client and server",
              f"{replay['cpu_us_per_step'] + replay['server_cpu_us_per_step']:.1f} us a step",
              "", None)  # fmt: skip
    yield Row("... get_action of another client meanwhile, p99",
              f"{replay['p99_ms']:.2f} ms (p50 {replay['p50_ms']:.2f} ms)",
              "under 10 ms", replay["p99_ms"] < 10)  # fmt: skip


def log_rows(figures: Figures) -> Iterator[Row]:
    large = [run for run in figures.logs if run["log"] == LARGE.name]
    small = [run for run in figures.logs if run["log"] == SMALL.name]
    if large:
        yield points_row(f"points won after {LARGE.name}, greedily, {len(large)} seeds", large)
        seconds = statistics.median(run["seconds"] for run in large)
        yield Row("... replayed and learned from, median", f"{seconds:.0f} s", "", None)
    if small:
        times = [run["returned"] / max(run["untrained"]["returned"], 1e-3) for run in small]
        yield Row(f"balls returned after {SMALL.name}, beside an untrained policy",
                  f"{min(times):.1f} to {max(times):.1f} times", "at least 2 times",
                  min(times) >= 2)  # fmt: skip


def shard_rows(figures: Figures) -> Iterator[Row]:
    shards, replay = figures.shards, figures.replay
    yield points_row(f"points won after 8 shards, 2 env runners, {len(shards)} seeds", shards)
    rate = statistics.median(run["steps_per_second"] for run in shards)
    faster = None if replay is None else rate > replay["steps_per_second"]
    yield Row("... read, median", f"{rate:,.0f} steps/s", "more than over HTTP", faster)
    once = all(run["each_once"] for run in shards)
    yield Row("... every episode counted once", "yes" if once else "no", "yes", once)


def points_row(what: str, runs: list[dict]) -> Row:
    won, behaviour = [run["won"] for run in runs], runs[0]["behaviour"]
    return Row(what, f"{min(won):.0%} to {max(won):.0%} (the log: {behaviour:.0%})",
               "at least 30%, and more than the log's", min(won) >= max(0.3, behaviour + 0.1))  # fmt: skip


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
