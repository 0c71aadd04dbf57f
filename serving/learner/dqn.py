"""`--run=DQN`: deep Q-learning on served episodes.

`OnlineDQN` is RLlib's DQN: its module, its loss, its learner, its target networks. What is ours is
the plumbing in between, which costs stock DQN nine tenths of its time: transitions live in arrays
(`serving.learner.transitions`), and a round of minibatches is one call of the learner.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from ray.rllib.algorithms.dqn import DQN, DQNConfig
from ray.rllib.algorithms.dqn.dqn_learner import QF_LOSS_KEY, QF_MEAN_KEY
from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.annotations import override
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)

from serving.learner.algorithm import OnlineAlgorithm, check_numbers, served, to_array
from serving.learner.env_runner import LOGGED
from serving.learner.recording import Playback, Recording
from serving.learner.transitions import Replay
from serving.policy import Policy
from serving.settings import DQNSettings

ROUND = 16  # updates between two policies: short enough to act on what was just learned
GRADIENT_NORM = 40.0
# Of Adam: its usual 1e-8 makes large steps of tiny gradients, and a policy that has nearly solved
# its task forgets it again. Rainbow uses 1.5e-4 (table 1 of https://arxiv.org/abs/1710.02298).
ADAM_EPSILON = 1e-4
AVERAGED_UPDATES = 320  # over about so many the policy is averaged that acts in evaluations
COLUMNS = ("obs", "new_obs", "actions", "rewards", "terminateds", "n_step", "weights")
FIGURES = (QF_LOSS_KEY, QF_MEAN_KEY)


class OnlineDQNLearner(DQNTorchLearner):
    """RLlib's DQN learner, which takes a whole round of minibatches in one go.

    The loss, the module and the target update are RLlib's own. For a network so small Python costs
    more than the arithmetic, though: so RLlib's loss and its gradient are recorded once, while they
    run, and played back without Python from then on. Adam is torch's fused one, and statistics are
    logged for the last minibatch of a round.
    """

    _gradient: Callable | None = None

    @override(DQNTorchLearner)
    def configure_optimizers_for_module(self, module_id, config=None):
        parameters = self.get_parameters(self._module[module_id])
        self.register_optimizer(
            module_id=module_id,
            optimizer=torch.optim.Adam(parameters, eps=ADAM_EPSILON, fused=True),
            params=parameters,
            lr_or_lr_schedule=config.lr,
        )

    @override(DQNTorchLearner)
    def update(self, *, training_data, timesteps, minibatch_size, **kwargs):
        """One gradient step for each `minibatch_size` rows of the batch, in order.

        timesteps: counts updates, as `target_network_update_freq` does here.
        """
        self._check_is_built()
        self._weights_seq_no += 1
        batch = training_data.batch.policy_batches[DEFAULT_MODULE_ID]
        minibatches = list(zip(*(batch[name].split(minibatch_size) for name in COLUMNS)))
        if self._gradient is None:
            self._gradient = self._record(minibatches[0])
        optimizer = self.get_optimizer(DEFAULT_MODULE_ID)
        parameters = optimizer.param_groups[0]["params"]
        updates = timesteps[NUM_ENV_STEPS_SAMPLED_LIFETIME] - len(minibatches)
        for minibatch in minibatches:
            with torch.no_grad():
                figures, gradient = self._gradient(*minibatch)
            for parameter, its_gradient in zip(parameters, gradient):
                parameter.grad = its_gradient
            optimizer.step()
            updates += 1
            self.after_gradient_based_update(timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: updates})
        self.metrics.log_dict(dict(zip(FIGURES, figures)), key=DEFAULT_MODULE_ID, window=1)
        return self.metrics.reduce()

    def _record(self, minibatch: tuple[torch.Tensor, ...]) -> Callable:
        """A function of the columns of such a minibatch, which returns figures of RLlib's loss and
        its clipped gradient at what the parameters are when it is called."""
        module = self.module[DEFAULT_MODULE_ID].unwrapped()
        parameters = self.get_optimizer(DEFAULT_MODULE_ID).param_groups[0]["params"]

        def gradient(columns: tuple[torch.Tensor, ...]):
            batch = dict(zip(COLUMNS, columns))
            loss = self.compute_loss_for_module(
                module_id=DEFAULT_MODULE_ID,
                config=self.config,
                batch=batch,
                fwd_out=module._forward_train(batch),
            )
            parts = torch.autograd.grad(loss, parameters)
            norm = torch.nn.utils.get_total_norm(parts, foreach=True)
            scale = torch.clamp(GRADIENT_NORM / (norm + 1e-6), max=1.0)
            figures = tuple(self.metrics.figures[name] for name in FIGURES)
            return figures, tuple(part * scale for part in parts)

        metrics, self.metrics = self.metrics, LatestMetrics()
        try:
            with Recording() as recording:
                result = gradient(minibatch)
        finally:
            self.metrics = metrics
        with warnings.catch_warnings(), torch.no_grad():
            # What it is deprecated for, torch.compile, wants a C++ compiler and half a minute.
            warnings.simplefilter("ignore", DeprecationWarning)
            playback = Playback(recording, minibatch, result)
            return torch.jit.trace(playback, minibatch, check_trace=False)

    @override(DQNTorchLearner)
    def after_gradient_based_update(self, *, timesteps):
        # RLlib asks how long ago the last one was, which a restart would forget.
        period = self.config.target_network_update_freq
        if timesteps[NUM_ENV_STEPS_SAMPLED_LIFETIME] % period == 0:
            super().after_gradient_based_update(timesteps=timesteps)


class LatestMetrics:
    """Takes the place of RLlib's metrics, and keeps the latest of what a loss logs."""

    def __init__(self):
        self.figures: dict[str, torch.Tensor] = {}

    def log_value(self, key, value, **kwargs):
        pass

    def log_dict(self, figures, **kwargs):
        self.figures.update(figures)


class OnlineDQN(OnlineAlgorithm, DQN):
    """DQN on served episodes.

    Each env step owes `updates_per_step` updates. The policy's own steps are paid first, and acting
    may run ahead of what is paid by `slack` steps (`allowed`); logged steps never make anybody
    wait. When all is paid there is nothing new to learn from, and learning stops.
    """

    settings: DQNSettings

    @override(DQN)
    def setup(self, config):
        super().setup(config)
        settings = self.settings
        size = self.config.observation_space.shape[0]
        self.replay = Replay(settings.replay_capacity, size, settings.n_step, settings.gamma)
        self.owed_acted = 0.0  # updates
        self.owed_logged = 0.0  # updates
        self.mean_value: float | None = None
        self.averaged: list[tuple[np.ndarray, np.ndarray]] | None = None  # as `Policy` has it

    @override(DQN)
    def training_step(self, seconds: float = 1.0) -> None:
        """Takes over experience and learns from it for about `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.env_runner.ended:
            took = self._take_over(wait=0.0 if self._payable >= ROUND else 0.05)
            owed = self._payable
            # A whole round if there is one; what is left over only once nobody is playing.
            updates = ROUND if owed >= ROUND else 0 if took else int(owed)
            if updates and len(self.replay):
                self._learn(updates)
                self._average(updates)
                self.publish()
            if updates or took:
                self.on_round()
        self.metrics.aggregate([self.env_runner.get_metrics()], key=ENV_RUNNER_RESULTS)

    @property
    def allowed(self) -> int:
        """Env steps the policy may have acted in this session; see `LearnerSupervisor.allowed`."""
        missing = max(0, self.settings.learning_starts - self.counters.env_steps)
        unpaid = int(min(self.owed_acted, self._payable) / self.settings.updates_per_step)
        return self.counters.acted + missing + self.settings.slack - unpaid

    @property
    def owed(self) -> int:
        """Env steps not learned from yet; a part of an update waits for its rest."""
        return int(int(self.owed_acted + self.owed_logged) / self.settings.updates_per_step)

    @property
    def _payable(self) -> float:
        """Updates owed that can be made: none while all steps wait for their n-th successor."""
        return self.owed_acted + self.owed_logged if len(self.replay) else 0.0

    def policy(self, module_state: dict, version: int) -> Policy:
        """The module's weights as a policy snapshot; raises FloatingPointError if there are NaNs."""
        points = [(0, 1.0), (self.settings.exploration_steps, self.settings.exploration_final)]
        layers = q_layers(module_state)
        # RLlib's loss takes NaN for 0, and so never becomes NaN itself.
        check_numbers(layers, self.counters.updates)
        return Policy(version, "action_values", "relu", layers, points, self.averaged)

    def figures(self) -> dict[str, float | None]:
        return {"learning/mean_action_value": self.mean_value}

    def online_state(self) -> dict:
        return {
            **super().online_state(),
            "replay": self.replay.get_state(),
            "owed": (self.owed_acted, self.owed_logged),
            "averaged": self.averaged,
        }

    def set_online_state(self, state: dict) -> None:
        super().set_online_state(state)
        self.replay.set_state(state["replay"])
        self.owed_acted, self.owed_logged = state["owed"]
        averaged = state["averaged"]
        self.averaged = averaged and [tuple(layer) for layer in averaged]

    @override(OnlineAlgorithm)
    def end_open_episodes(self) -> None:
        self.replay.end_open_episodes()

    def _take_over(self, wait: float) -> bool:
        """Moves experience from the env runner into the replay; False if there was none. What is
        still owed to logged steps must not be forgotten before: there the env runner waits."""
        owed = self.owed_logged / self.settings.updates_per_step
        if owed > self.settings.replay_capacity and not self.is_stopping():
            return False
        episodes = self.env_runner.sample(wait=wait)
        self.take_over(episodes)
        self.counters.consumed = self.env_runner.consumed
        return bool(episodes)

    def take_over(self, episodes: list[SingleAgentEpisode]) -> None:
        """Moves (chunks of) episodes into the replay, and counts what is owed to them."""
        counters = self.counters
        for episode in episodes:
            logged = episode.extra_model_outputs[LOGGED].data
            steps = len(logged)
            self.replay.add(
                episode.id_,
                episode.observations.data,
                episode.actions.data,
                episode.rewards.data,
                episode.is_terminated,
                episode.is_truncated,
            )
            owed = self.settings.updates_per_step * max(
                0, min(steps, counters.env_steps + steps - self.settings.learning_starts)
            )
            counters.env_steps += steps
            counters.episodes += episode.is_done
            if steps and logged[0]:
                counters.logged_steps += steps
                self.owed_logged += owed
            else:
                counters.acted += steps
                self.owed_acted += owed

    @property
    def _memory(self) -> int:
        """How many of the latest steps are learned from.

        At first few: with returns over several steps, games of a policy that could do nothing yet
        teach what those were worth, not this one. Later the memory grows two steps a step, until
        it holds everything: the games become worth remembering, and a policy that remembers
        little forgets what it has not met for a while. (With a short memory all along Pong is
        lost again after 25,000 steps; with a long one from the start 2 to 5 of 12 seeds of
        CartPole stay below 195.)
        """
        recent = self.settings.recent_steps
        return max(recent, 2 * (self.counters.env_steps - 2 * recent))

    def _learn(self, updates: int) -> None:
        started = time.monotonic()
        newest = self._memory if self.owed_acted >= 1 else None
        columns = self.replay.sample(updates * self.settings.batch_size, self._rng, newest)
        tensors = {name: torch.from_numpy(column) for name, column in columns.items()}
        tensors["weights"] = torch.ones(len(columns["actions"]))
        self.counters.updates += updates
        results = self.learner_group.update(
            batch=MultiAgentBatch(
                {DEFAULT_MODULE_ID: SampleBatch(tensors)}, env_steps=len(columns["actions"])
            ),
            minibatch_size=self.settings.batch_size,
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self.counters.updates},
        )
        self.loss = float(results[0][DEFAULT_MODULE_ID][QF_LOSS_KEY].peek())
        self.mean_value = float(results[0][DEFAULT_MODULE_ID][QF_MEAN_KEY].peek())
        if not np.isfinite(self.loss):
            raise FloatingPointError(
                f"the loss became {self.loss} after {self.counters.updates} updates"
            )
        self.metrics.aggregate(results, key=LEARNER_RESULTS)
        paid = min(updates, self.owed_acted)
        self.owed_acted -= paid
        self.owed_logged = max(0.0, self.owed_logged - (updates - paid))
        self._note_rate(updates, time.monotonic() - started)

    def _average(self, updates: int) -> None:
        """Moves the averaged weights towards the newest, as far as so many updates count."""
        newest = q_layers(self.learner_group.get_weights()[DEFAULT_MODULE_ID])
        share = 1 - np.exp(np.float32(-updates / AVERAGED_UPDATES))
        self.averaged = [
            tuple(old + share * (new - old) for old, new in zip(*layers))
            for layers in zip(self.averaged or newest, newest)
        ]


def q_layers(module_state: dict) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights of RLlib's dueling Q-network as the layers of a plain network.

    Both heads are linear, and so is their combination Q = V + A - mean(A) (equation 9 of
    https://arxiv.org/abs/1511.06581): one layer says the same.
    """
    layers = []
    while f"encoder.net.mlp.{2 * len(layers)}.weight" in module_state:
        name = f"encoder.net.mlp.{2 * len(layers)}"
        layers.append(
            (to_array(module_state[f"{name}.weight"]).T, to_array(module_state[f"{name}.bias"]))
        )
    advantage = [to_array(module_state[f"af.net.mlp.0.{part}"]).T for part in ("weight", "bias")]
    value = [to_array(module_state[f"vf.net.mlp.0.{part}"]).T for part in ("weight", "bias")]
    layers.append(tuple(a - a.mean(-1, keepdims=True) + v for a, v in zip(advantage, value)))
    return layers


def dqn_config(settings: DQNSettings, observation_size: int, action_size: int) -> DQNConfig:
    """RLlib's configuration for `OnlineDQN`; `build_algo()` makes the algorithm of it."""
    return (
        served(DQNConfig(algo_class=OnlineDQN), settings, observation_size, action_size)
        .rl_module(
            model_config=DefaultModelConfig(
                fcnet_hiddens=list(settings.hidden),
                fcnet_activation="relu",
                head_fcnet_hiddens=[],
            )
        )
        .training(
            learner_class=OnlineDQNLearner,
            lr=settings.learning_rate,
            gamma=settings.gamma,
            n_step=settings.n_step,
            train_batch_size_per_learner=settings.batch_size,
            # Returns of dozens of points make differences of dozens: Huber's loss would let them
            # shrink at a constant, slow rate.
            td_error_loss_fn="mse",
            double_q=True,
            dueling=True,
            tau=settings.target_rate,
            target_network_update_freq=settings.target_period,
            # RLlib's own buffer is not used, and the smallest one costs nothing.
            replay_buffer_config={"type": "EpisodeReplayBuffer", "capacity": 1},
        )
    )
