"""Which module is behind which `--run`."""

from __future__ import annotations

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig


def config_for(run: str, settings, observation_size: int, action_size: int) -> AlgorithmConfig:
    """RLlib's configuration; its `build_algo()` makes an `OnlineAlgorithm`."""
    # Imported when it is chosen: nobody waits for the modules of the others.
    if run == "DQN":
        from serving.learner.dqn import dqn_config as make
    elif run == "PG":
        from serving.learner.pg import pg_config as make
    elif run == "PPO":
        from serving.learner.ppo import ppo_config as make
    else:
        raise ValueError(f"--run={run}: there is no such algorithm")
    return make(settings, observation_size, action_size)
