"""What all algorithms behind `--run` share: RLlib's learner on one side, served episodes on the
other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from unittest import mock

import gymnasium as gym
import msgspec
import numpy as np
import ray
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import (
    COMPONENT_LEARNER,
    COMPONENT_LEARNER_GROUP,
    COMPONENT_METRICS_LOGGER,
    COMPONENT_RL_MODULE,
)
from ray.rllib.utils.annotations import override
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO

from serving import state_file
from serving.learner.env_runner import ServedEpisodesEnvRunner
from serving.link import Counters
from serving.policy import Policy


class OnlineAlgorithm(Algorithm):
    """An RLlib algorithm that takes its episodes over from a policy server.

    Subclasses say how to learn (`training_step`), how far acting may go (`allowed`), and how the
    module's weights become a policy (`policy`).
    """

    counters: Counters

    def _setup_logdir(self) -> None:
        """RLlib would leave an empty folder in the user's home at each start."""

    @override(Algorithm)
    def setup(self, config):
        # Not the setup of RLlib's own algorithms, which ask the env runner for its module: that
        # lives in the policy server here.
        with without_cluster():
            Algorithm.setup(self, config)
        self.settings = self.config.env_config["settings"]
        self.counters = Counters()
        self.loss: float | None = None
        self.updates_per_second = 0.0
        self.on_round: Callable[[], None] = lambda: None  # called after each round of updates
        self.is_stopping: Callable[[], bool] = lambda: False  # takes over all there is, to save it
        self._rng = np.random.default_rng(self.settings.seed)

    @property
    def allowed(self) -> int:
        """Env steps the policy may have acted in this session; see `LearnerSupervisor.allowed`."""
        raise NotImplementedError

    @property
    def owed(self) -> int:
        """Env steps not learned from yet."""
        raise NotImplementedError

    def policy(self, module_state: dict, version: int) -> Policy:
        """The module's weights as a policy snapshot; raises FloatingPointError if there are NaNs."""
        raise NotImplementedError

    def adopt(self, policy: Policy) -> None:
        """`policy` is what the server has acted with before there was a learner."""

    def figures(self) -> dict[str, float | None]:
        """What TensorBoard shows beside the loss, by name."""
        return {}

    def take_batches(self) -> list[dict[str, float]]:
        """Records of the batches learned since the last call, where an algorithm keeps any."""
        return []

    def publish(self) -> None:
        """Hands the newest weights to the policy server."""
        # Not env_runner_group.sync_weights(): it would put each set of weights into the object
        # store of a Ray that learning does not need otherwise.
        component = f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}"
        state = self.learner_group.get_state(components=[component], inference_only=True)
        weights = state[COMPONENT_LEARNER][COMPONENT_RL_MODULE]
        self.env_runner.set_state(
            {COMPONENT_RL_MODULE: weights, WEIGHTS_SEQ_NO: self.env_runner.weights_seq_no + 1}
        )

    def online_state(self) -> dict:
        """What to save beside RLlib's own state."""
        return {
            "counters": msgspec.to_builtins(self.counters),
            "rng": self._rng.bit_generator.state,
        }

    def set_online_state(self, state: dict) -> None:
        self.counters = msgspec.convert(state["counters"], Counters)
        self._rng.bit_generator.state = state["rng"]

    @override(Algorithm)
    def get_state(self, *args, **kwargs) -> dict:
        return {**super().get_state(*args, **kwargs), "online": self.online_state()}

    @override(Algorithm)
    def set_state(self, state: dict) -> None:
        """Continues from `get_state()`; the policy is published again by `publish()`."""
        if "learner_group" in state:  # RLlib's restore_from_path() restores these by itself
            self.learner_group.set_state(state["learner_group"])
            self.env_runner.set_state(state["env_runner"])
        self._iteration = state["training_iteration"]
        self.set_online_state(state["online"])

    @override(Algorithm)
    def restore_from_path(self, *args, **kwargs) -> None:
        with without_cluster():
            super().restore_from_path(*args, **kwargs)

    def save(self, path) -> None:
        """Writes all that learning goes on from; RLlib's metrics begin anew."""
        state = self.get_state()
        del state[COMPONENT_METRICS_LOGGER]
        del state[COMPONENT_LEARNER_GROUP][COMPONENT_LEARNER][COMPONENT_METRICS_LOGGER]
        state_file.write(path, state)

    def load(self, path) -> None:
        """Goes on from what `save` wrote; raises StateError if that is no such file."""
        state = state_file.read(path)
        try:
            self.set_state(state)
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise state_file.StateError(f"{path} is of another learner: {error}") from None

    def begin_session(self) -> None:
        """What comes next follows on nothing that came before: sequence numbers and env steps count
        from the beginning, and an episode that was open was cut short, whoever goes by its id now."""
        self.counters.consumed = self.counters.acted = 0
        self.end_open_episodes()

    def end_open_episodes(self) -> None:
        raise NotImplementedError

    def _note_rate(self, updates: int, seconds: float) -> None:
        self.updates_per_second += 0.1 * (updates / seconds - self.updates_per_second)


@contextlib.contextmanager
def without_cluster() -> Iterator[None]:
    """Lets RLlib build and restore an algorithm in a process that is attached to no Ray cluster.

    `EnvRunnerGroup` puts its configuration, and a restored state, into a cluster's object store, for
    remote env runners to read. Where there is no cluster there are none, and nobody reads it.
    """
    if ray.is_initialized():
        yield
        return
    with mock.patch.object(ray, "put", lambda value: value):
        yield


def check_numbers(layers, updates: int) -> None:
    """Raises FloatingPointError if weights are NaN or infinite."""
    if not all(np.isfinite(part).all() for layer in layers for part in layer):
        raise FloatingPointError(
            f"the network's weights are no numbers any more after {updates} "
            "updates; a smaller --learning-rate may help"
        )


def to_array(weights) -> np.ndarray:
    return weights.numpy(force=True) if isinstance(weights, torch.Tensor) else np.asarray(weights)


def served(config: AlgorithmConfig, settings, observation_size: int, action_size: int):
    """`config` with what all algorithms have in common here: spaces, served episodes, one learner
    in this process."""
    return (
        config.environment(
            observation_space=gym.spaces.Box(-np.inf, np.inf, (observation_size,), np.float32),
            action_space=gym.spaces.Discrete(action_size),
            env_config={"settings": settings},
        )
        .framework("torch")
        .env_runners(
            env_runner_cls=ServedEpisodesEnvRunner,
            num_env_runners=0,
            create_env_on_local_worker=False,
        )
        .learners(num_learners=0)
        .reporting(
            # An iteration lasts as long as training_step says. DQN's own default waits for 1,000
            # steps, which never come once nobody plays.
            min_time_s_per_iteration=0,
            min_sample_timesteps_per_iteration=0,
            metrics_num_episodes_for_smoothing=20,
        )
        .debugging(log_level="ERROR", seed=settings.seed)
    )


class NoMetrics:
    """Takes the place of RLlib's metrics between two minibatches: logging costs more than a small
    network's gradient."""

    def log_value(self, *args, **kwargs):
        pass

    def log_dict(self, *args, **kwargs):
        pass
