"""Players that tests let loose on a policy server."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from serving import PolicyClient


def cartpole() -> gym.Env:
    return gym.make("CartPole-v1", max_episode_steps=200)


def play_episode(client: PolicyClient, env: gym.Env, seed: int | None = None, **options) -> float:
    """One episode by the policy; returns its return. `options` go to `start_episode`."""
    observation, _ = env.reset(seed=seed)
    episode_id, total, done = client.start_episode(**options), 0.0, False
    while not done:
        action = client.get_action(episode_id, observation)
        observation, reward, terminated, truncated, _ = env.step(action)
        client.log_returns(episode_id, reward)
        total, done = total + float(reward), terminated or truncated
    client.end_episode(episode_id, observation, truncated=truncated)
    return total


def play_steps(client: PolicyClient, steps: int, size: int = 4, **options) -> str:
    """One episode of `steps` steps on random observations; returns its id."""
    rng = np.random.default_rng(steps)
    episode_id = client.start_episode(**options)
    for _ in range(steps):
        client.get_action(episode_id, rng.normal(size=size))
        client.log_returns(episode_id, 1.0)
    client.end_episode(episode_id, rng.normal(size=size))
    return episode_id


def log_steps(client: PolicyClient, steps: int, size: int = 4, actions: int = 2) -> str:
    """One episode of `steps` random steps that were taken elsewhere; returns its id."""
    rng = np.random.default_rng(steps)
    episode_id = client.start_episode()
    for _ in range(steps):
        client.log_action(episode_id, rng.normal(size=size), int(rng.integers(actions)))
        client.log_returns(episode_id, 1.0)
    client.end_episode(episode_id, rng.normal(size=size))
    return episode_id
