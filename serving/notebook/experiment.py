"""Lesson 04: comparing algorithms. What the student need not write again, and figures that last.

A curve is one row per episode, `[return, env steps so far, seconds so far]`.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import gymnasium as gym

from serving.client import PolicyClient
from serving.connection import GRADING
from serving.logs import Episode
from serving.notebook.progress import progress
from serving.running_server import wait_until

Curve = list[list[float]]
FIGURES = Path("figures.json")  # beside the notebook, and handed in with it
WINDOW = 20  # episodes of a running mean
SECONDS_FOR_A_LOG = 200.0


def play_episode(env: gym.Env, client: PolicyClient) -> tuple[float, int]:
    """Plays an episode that the server learns from; returns its return and its steps."""
    observation, _ = env.reset()
    episode_id = client.start_episode()
    total, steps, terminated, truncated = 0.0, 0, False, False
    while not (terminated or truncated):
        action = client.get_action(episode_id, observation)
        observation, reward, terminated, truncated, _ = env.step(action)
        client.log_returns(episode_id, reward)
        total, steps = total + float(reward), steps + 1
    client.end_episode(episode_id, observation, truncated=truncated and not terminated)
    return total, steps


def replay(client: PolicyClient, episodes: Iterable[Episode]) -> None:
    """Tells the server about every step of a log."""
    for episode in episodes:
        episode_id = client.start_episode()
        for step in episode:
            client.log_action(episode_id, step["obs"], step["action"])
            client.log_returns(episode_id, step["reward"])
        last = episode[-1]
        client.end_episode(episode_id, last["obs"], truncated=last.get("truncated", False))


def what_a_log_adds(client: PolicyClient, episodes: Iterable[Episode]) -> dict[str, int]:
    """Replays a log, waits until the server has dealt with it, and returns what that has added to
    three numbers of its status; nobody else may play meanwhile."""
    before = client.status()
    replay(client, episodes)
    after = wait_until(client, lambda s: s.state == "idle", SECONDS_FOR_A_LOG, "the learner")
    names = ("logged_steps", "unlearnable_steps", "updates")
    return {name: getattr(after, name) - getattr(before, name) for name in names}


def solved_at(curve: Curve, target: float = 195.0) -> tuple[float, float]:
    """How many episodes, and seconds, until the mean of the latest 20 returns was `target`;
    infinite for a curve that never got there."""
    returns = [row[0] for row in curve]
    for episodes in range(WINDOW, len(returns) + 1):
        if sum(returns[episodes - WINDOW : episodes]) / WINDOW >= target:
            return float(episodes), float(curve[episodes - 1][2])
    return math.inf, math.inf


def measured(name: str, measure: Callable, file: str | Path = FIGURES):
    """The figures of this name: those in the file, else what `measure()` returns, which is written
    there. An experiment that was interrupted goes on where it was; delete the file to repeat it.

    While grading nothing is measured: raises FileNotFoundError if the file was not handed in.
    """
    file = Path(file)
    try:
        figures = json.loads(file.read_text()) if file.exists() else {}
    except ValueError:
        raise ValueError(f"{file} is damaged; delete it, and run the experiment again") from None
    if name not in figures:
        if os.environ.get(GRADING):
            raise FileNotFoundError(
                f"no figures of {name}: {file} was not handed in with the notebook"
            )
        figures[name] = measure()
        scratch = file.with_name(f"{file.name}.new")
        scratch.write_text(json.dumps(figures))
        scratch.replace(file)
    return figures[name]


def experiment(
    learning_curve: Callable,
    runs: Iterable[str] = ("DQN", "PG", "PPO"),
    seeds: Iterable[int] = (1, 2, 3),
    steps: int = 20_000,
    minutes: float = 9.0,
    file: str | Path = FIGURES,
) -> dict[str, list[Curve]]:
    """Curves by run, one for each seed, with a bar that says how much time is left. A run of which
    there is no curve yet is left out.

    learning_curve
        `learning_curve(run, seed, steps, report)`
    minutes
        after which no further curve is begun; all runs have as many curves then, or one more

    Whoever interrupts it gets the curves that are there.
    """
    runs, seeds = list(runs), list(seeds)
    plan = [(run, seed) for seed in seeds for run in runs]  # so that all runs get their turn
    curves: dict[str, list[Curve]] = {run: [] for run in runs}
    ends = time.monotonic() + 60 * minutes
    kept = "the curves that are there are kept; run the cell again to go on"
    with progress(len(plan) * steps, "steps", stopped=kept) as bar:
        for number, (run, seed) in enumerate(plan):
            if time.monotonic() > ends:
                print(f"The time is up: {number} of {len(plan)} curves are there.")
                break
            bar.set_description(f"{run}, seed {seed}")
            name = f"{run}, seed {seed}, {steps} steps"
            measure = lambda: learning_curve(run, seed, steps, bar.update)  # noqa: B023, E731
            curves[run].append(measured(name, measure, file))
            bar.update((number + 1) * steps - bar.n)
    return {run: of_seeds for run, of_seeds in curves.items() if of_seeds}
