"""An environment that remembers what happened in it, and the return of a policy that is frozen.

Everything here reports what was recorded. Nothing here knows an expected answer.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import gymnasium as gym
import numpy as np

from serving.client import PolicyClient
from serving.policy import Policy


@dataclass
class RecordedEpisode:
    """What an environment saw: one row more in `observations` than there are `actions`."""

    observations: list[np.ndarray]
    actions: list[int] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminated: bool = False
    truncated: bool = False

    @property
    def done(self) -> bool:
        return self.terminated or self.truncated


class RecordingEnv(gym.Wrapper):
    """Remembers every episode that is played in it, and refuses a step after the end."""

    def __init__(self, env: gym.Env):
        super().__init__(env)
        self.episodes: list[RecordedEpisode] = []

    def reset(self, **kwargs):
        observation, info = self.env.reset(**kwargs)
        self.episodes.append(RecordedEpisode([np.array(observation)]))
        return observation, info

    def step(self, action):
        if not self.episodes:
            raise RuntimeError("env.step() was called before env.reset()")
        episode = self.episodes[-1]
        if episode.done:
            how = "terminated" if episode.terminated else "truncated"
            raise RuntimeError(
                f"env.step() was called after the episode had ended: it was {how}, and it is over "
                "when it is `terminated or truncated`"
            )
        observation, reward, terminated, truncated, info = self.env.step(action)
        episode.actions.append(int(action))
        episode.observations.append(np.array(observation))
        episode.rewards.append(float(reward))
        episode.terminated, episode.truncated = bool(terminated), bool(truncated)
        return observation, reward, terminated, truncated, info


def frozen_policy(client: PolicyClient) -> Policy:
    """The server's newest policy, as a copy that learns no more."""
    snapshot = client.policy()
    layers = [(layer.weights, layer.bias) for layer in snapshot.layers]
    return Policy(
        snapshot.version, snapshot.kind, snapshot.activation, layers, snapshot.exploration
    )


def evaluate(
    policy: Policy, make_env: Callable[[], gym.Env], episodes: int, seed: int, most_steps=10_000
) -> list[float]:
    """Returns of `episodes` greedy episodes, reset with seeds `seed`, `seed + 1`, ..."""
    env, returns = make_env(), []
    try:
        for episode in range(episodes):
            observation, _ = env.reset(seed=seed + episode)
            total, done, steps = 0.0, False, 0
            while not done and steps < most_steps:
                action = policy.act(np.ravel(observation), 0, None).action
                observation, reward, terminated, truncated, _ = env.step(action)
                total, done, steps = total + reward, terminated or truncated, steps + 1
            returns.append(float(total))
    finally:
        env.close()
    return returns


# What takes seconds on a student's machine may take a minute on one that grades a class: an examiner
# is more patient, where it is about so many seconds at most.
patience, LONGEST_STRETCHED = 1.0, 60.0


class TookTooLong(TimeoutError):
    """Something had not ended by its time limit; one sentence says what."""


@contextlib.contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """Raises TookTooLong in the middle of the block after `seconds`. Main thread only."""
    if seconds <= LONGEST_STRETCHED:
        seconds *= patience

    def ring(signum, frame):
        raise TookTooLong(f"{what} took longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
