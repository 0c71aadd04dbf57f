"""What policy gradients on served episodes have in common: `--run=PG` and `--run=PPO`.

Both collect a batch of what the newest policy did, estimate how much better than expected each
action was (`serving.learner.on_policy_batch`), make those actions more probable, and throw the
batch away. Modules are RLlib's, and so are learners.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import ENTROPY_KEY, POLICY_LOSS_KEY, VF_LOSS_KEY
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.annotations import override
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)

from serving.learner.algorithm import OnlineAlgorithm, check_numbers, to_array
from serving.learner.env_runner import LOGGED, POLICY_VERSION
from serving.learner.on_policy_batch import Batch, advantages
from serving.policy import Policy
from serving.settings import PGSettings, PPOSettings

GRADIENT_NORM = 0.5
ADAM_EPSILON = 1e-5
ACTIVATION = "tanh"
LOWEST_RATIO, HIGHEST_RATIO = "lowest_importance_ratio", "highest_importance_ratio"


class OnPolicyLearner(TorchLearner):
    """A learner that takes a whole batch of stretches, and makes all its updates in one go."""

    @override(TorchLearner)
    def update(self, *, training_data, timesteps, **kwargs):
        """Updates from `Batch.columns()` as tensors.

        timesteps: counts the updates made before.
        """
        self._check_is_built()
        self._weights_seq_no += 1
        columns = training_data.batch.policy_batches[DEFAULT_MODULE_ID]
        steps, updates = self.prepared(columns), timesteps[NUM_ENV_STEPS_SAMPLED_LIFETIME]
        # Of settings and progress alone, so that a restart goes on with the same draws.
        seed = self.config.seed
        rng = np.random.default_rng(None if seed is None else [seed, updates])
        self.learn(steps, rng)
        return self.metrics.reduce()

    def prepared(self, columns: dict) -> dict[str, torch.Tensor]:
        """The steps of the batch with what a policy gradient needs: standardised advantages,
        targets of the value function, and the logits that the module gives now."""
        module, settings = self.module[DEFAULT_MODULE_ID].unwrapped(), self.settings
        with torch.no_grad():
            values = module.compute_values(columns)  # (rows,)
            logits = module.forward_inference(columns)[Columns.ACTION_DIST_INPUTS]
        better = torch.from_numpy(
            advantages(
                {name: columns[name].numpy() for name in ("rewards", "terminateds", "loss_mask")},
                values.numpy(),
                settings.gamma,
                settings.gae_lambda,
            )
        )
        is_step = columns["loss_mask"]
        steps = {
            name: columns[name][is_step]
            for name in (Columns.OBS, Columns.ACTIONS, Columns.ACTION_LOGP)
        }
        steps[Columns.ACTION_DIST_INPUTS] = logits[is_step]
        steps[Postprocessing.VALUE_TARGETS] = (better + values)[is_step]
        better = better[is_step]
        steps[Postprocessing.ADVANTAGES] = (better - better.mean()) / max(
            better.std(correction=0), 1e-4
        )
        ratio = torch.exp(
            log_probabilities(steps[Columns.ACTION_DIST_INPUTS], steps[Columns.ACTIONS])
            - steps[Columns.ACTION_LOGP]
        )
        figures = {LOWEST_RATIO: ratio.min().item(), HIGHEST_RATIO: ratio.max().item()}
        self.metrics.log_dict(figures, key=DEFAULT_MODULE_ID, window=1)
        return steps

    def learn(self, steps: dict[str, torch.Tensor], rng: np.random.Generator) -> None:
        raise NotImplementedError

    @property
    def settings(self) -> PGSettings | PPOSettings:
        return self.config.env_config["settings"]

    def step(self, loss: torch.Tensor, *names: str) -> None:
        """One step of the optimizers named, each with its own gradient clipped."""
        optimizers = [self.get_optimizer(DEFAULT_MODULE_ID, name) for name in names]
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in optimizers:
            torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], GRADIENT_NORM)
            optimizer.step()

    @override(TorchLearner)
    def configure_optimizers_for_module(self, module_id, config=None):
        """One Adam for the policy, one for the value function: their gradients differ by orders of
        magnitude, and clipped together the larger would leave nothing of the smaller."""
        of_value = ("vf.", "encoder.critic_encoder.")
        named = list(self._module[module_id].unwrapped().named_parameters())
        rates = {"policy": self.settings.learning_rate, "value": self.settings.value_learning_rate}
        for name, rate in rates.items():
            parameters = [p for n, p in named if n.startswith(of_value) == (name == "value")]
            adam = torch.optim.Adam(parameters, eps=ADAM_EPSILON, fused=True)
            self.register_optimizer(
                module_id=module_id, optimizer_name=name, optimizer=adam, params=parameters,
                lr_or_lr_schedule=rate,
            )  # fmt: skip


def log_probabilities(logits: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Of `actions` (steps,) under the softmax of `logits` (steps, actions)."""
    return torch.log_softmax(logits, -1).gather(-1, actions[:, None]).squeeze(-1)


def value_loss(module, batch: dict) -> torch.Tensor:
    """Half the mean squared error of the value function."""
    errors = module.compute_values(batch) - batch[Postprocessing.VALUE_TARGETS]  # (steps,)
    return 0.5 * (errors**2).mean()


def minibatches(steps: dict, size: int, rng: np.random.Generator) -> Iterator[dict]:
    """One pass over the steps in random order; parts differ by one step at most."""
    rows = len(steps[Columns.OBS])
    for part in np.array_split(rng.permutation(rows), max(1, round(rows / size))):
        chosen = torch.from_numpy(part)
        yield {name: column[chosen] for name, column in steps.items()}


class OnPolicyAlgorithm(OnlineAlgorithm):
    """On-policy learning from served episodes.

    Acting may go on until the batch is full, waits while the learner learns, and goes on with the
    next policy. A step whose action an older policy chose is dropped and counted (`outdated_steps`):
    where a player had asked for an action before the update, and said only after it what came of
    it, that is one step. Logged steps teach nothing, and are counted too (`unlearnable_steps`).
    """

    @override(Algorithm)
    def setup(self, config):
        super().setup(config)
        self.batch = Batch()
        self._figures: dict[str, float | None] = {}
        self._records: list[dict[str, float]] = []
        self._latest_step = 0.0

    @override(Algorithm)
    def training_step(self, seconds: float = 1.0) -> None:
        """Takes over experience for about `seconds`; learns whenever the batch is full."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.env_runner.ended:
            if self._take_over(wait=0.05):
                self.on_round()
            if len(self.batch) >= self.settings.batch_size:
                self._learn()
                self.publish()
                self.batch.empty(self.env_runner.weights_seq_no)
                self.on_round()
        self.metrics.aggregate([self.env_runner.get_metrics()], key=ENV_RUNNER_RESULTS)

    @property
    def allowed(self) -> int:
        """Env steps the policy may have acted in this session: until the batch is full."""
        return self.counters.acted + max(0, self.settings.batch_size - len(self.batch))

    @property
    def owed(self) -> int:
        """Steps in the batch; a batch that nobody adds to any more is not waited for."""
        grows = time.monotonic() - self._latest_step < 1.0
        return len(self.batch) if grows or len(self.batch) >= self.settings.batch_size else 0

    def policy(self, module_state: dict, version: int) -> Policy:
        layers = actor_layers(module_state)
        check_numbers(layers, self.counters.updates)
        return Policy(version, "action_logits", ACTIVATION, layers)

    def adopt(self, policy: Policy) -> None:
        """Starts from the weights of `policy`: so the learner's first policy is the one that players
        have met while it was starting, and what it did counts."""
        weights = self.learner_group.get_weights()
        weights[DEFAULT_MODULE_ID].update(actor_state(policy.layers))
        self.learner_group.set_weights(weights)

    def publish(self) -> None:
        super().publish()
        # The same weights under another number, unless the batch is emptied next.
        self.batch.versions.add(self.env_runner.weights_seq_no)

    def figures(self) -> dict[str, float | None]:
        return self._figures

    def take_batches(self) -> list[dict[str, float]]:
        records, self._records = self._records, []
        return records

    def online_state(self) -> dict:
        return {**super().online_state(), "batch": self.batch.get_state()}

    def set_online_state(self, state: dict) -> None:
        super().set_online_state(state)
        self.batch.set_state(state["batch"])

    @override(OnlineAlgorithm)
    def end_open_episodes(self) -> None:
        self.batch.end_open_episodes()

    def _take_over(self, wait: float) -> bool:
        """Moves experience from the env runner into the batch; False if there was none."""
        episodes = self.env_runner.sample(wait=wait)
        counters = self.counters
        for episode in episodes:
            outputs = episode.extra_model_outputs
            steps = len(outputs[LOGGED].data)
            counters.env_steps += steps
            counters.episodes += episode.is_done
            if steps and outputs[LOGGED].data[0]:
                counters.logged_steps += steps
                counters.unlearnable_steps += steps
                self.batch.interrupt(episode.id_)
                continue
            counters.acted += steps
            taken = self.batch.add(
                episode.id_,
                episode.observations.data,
                episode.actions.data,
                episode.rewards.data,
                outputs[Columns.ACTION_LOGP].data,
                outputs[POLICY_VERSION].data,
                episode.is_terminated,
                episode.is_done,
            )
            counters.outdated_steps += steps - taken
            if taken:
                self._latest_step = time.monotonic()
        counters.consumed = self.env_runner.consumed
        return bool(episodes)

    def _learn(self) -> None:
        started, steps = time.monotonic(), len(self.batch)
        state = self.learner_group.get_weights()[DEFAULT_MODULE_ID]
        check_numbers([tuple(map(to_array, state.values()))], self.counters.updates)
        tensors = {name: torch.from_numpy(part) for name, part in self.batch.columns().items()}
        results = self.learner_group.update(
            batch=MultiAgentBatch(
                {DEFAULT_MODULE_ID: SampleBatch(tensors)}, env_steps=len(tensors["obs"])
            ),
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self.counters.updates},
        )
        found = {
            name: float(results[0][DEFAULT_MODULE_ID][name].peek())
            for name in (POLICY_LOSS_KEY, VF_LOSS_KEY, ENTROPY_KEY, LOWEST_RATIO, HIGHEST_RATIO)
        }
        self.metrics.aggregate(results, key=LEARNER_RESULTS)
        updates = self.settings.updates_of(steps)
        self.counters.updates += updates
        self.loss = found[POLICY_LOSS_KEY]
        self._figures = {
            "learning/value_loss": found[VF_LOSS_KEY],
            "policy/entropy": found[ENTROPY_KEY],
        }
        self._records.append(
            {
                "steps": steps,
                "oldest_version": min(self.batch.versions),
                "newest_version": max(self.batch.versions),
                LOWEST_RATIO: found[LOWEST_RATIO],
                HIGHEST_RATIO: found[HIGHEST_RATIO],
                "outdated_steps": self.counters.outdated_steps,
                "env_steps": self.counters.env_steps,
            }
        )
        self._note_rate(updates, time.monotonic() - started)


def actor_layers(module_state: dict) -> list[tuple[np.ndarray, np.ndarray]]:
    """The policy's part of RLlib's actor-critic module, as the layers of a plain network."""
    names = []
    while f"encoder.actor_encoder.net.mlp.{2 * len(names)}.weight" in module_state:
        names.append(f"encoder.actor_encoder.net.mlp.{2 * len(names)}")
    return [
        (to_array(module_state[f"{name}.weight"]).T, to_array(module_state[f"{name}.bias"]))
        for name in (*names, "pi.net.mlp.0")
    ]


def actor_state(layers) -> dict[str, np.ndarray]:
    """The inverse of `actor_layers`."""
    names = [f"encoder.actor_encoder.net.mlp.{2 * i}" for i in range(len(layers) - 1)]
    state = {}
    for name, (weights, bias) in zip((*names, "pi.net.mlp.0"), layers):
        state[f"{name}.weight"], state[f"{name}.bias"] = weights.T, bias
    return state


def actor_critic(hidden) -> DefaultModelConfig:
    return DefaultModelConfig(
        fcnet_hiddens=list(hidden),
        fcnet_activation=ACTIVATION,
        head_fcnet_hiddens=[],
        vf_share_layers=False,
    )
