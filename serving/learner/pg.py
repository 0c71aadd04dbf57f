"""`--run=PG`: the plain policy gradient with a learned baseline, one step for each batch."""

from __future__ import annotations

import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import ENTROPY_KEY, POLICY_LOSS_KEY, VF_LOSS_KEY
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.utils.annotations import override

from serving.learner.algorithm import served
from serving.learner.on_policy import (
    OnPolicyAlgorithm,
    OnPolicyLearner,
    actor_critic,
    log_probabilities,
    minibatches,
    value_loss,
)
from serving.settings import PGSettings


class PGLearner(OnPolicyLearner):
    """The vanilla policy gradient with a learned baseline.

    The gradient is E[A grad log pi(a|s)], with A the return from here on, bootstrapped where the
    stretch is cut, minus the baseline V(s): REINFORCE with baseline, section 13.4 of
    http://incompleteideas.net/book/the-book-2nd.html. `gae_lambda` below 1 trades its variance for
    bias, as https://spinningup.openai.com/en/latest/algorithms/vpg.html has it.
    """

    @override(OnPolicyLearner)
    def learn(self, steps, rng) -> None:
        """One step of the policy, on all of the batch; several passes of the value function."""
        module = self.module[DEFAULT_MODULE_ID].unwrapped()
        loss = self.compute_loss_for_module(
            module_id=DEFAULT_MODULE_ID,
            config=self.config,
            batch=steps,
            fwd_out=module._forward_train(steps),
        )
        self.step(loss, "policy", "value")
        for _ in range(self.settings.epochs):
            for minibatch in minibatches(steps, self.settings.minibatch_size, rng):
                self.step(value_loss(module, minibatch), "value")

    @override(TorchLearner)
    def compute_loss_for_module(self, *, module_id, config, batch, fwd_out):
        logits = fwd_out[Columns.ACTION_DIST_INPUTS]
        taken = log_probabilities(logits, batch[Columns.ACTIONS])  # (steps,)
        policy_loss = -(taken * batch[Postprocessing.ADVANTAGES]).mean()
        logs = torch.log_softmax(logits, -1)  # (steps, actions)
        entropy = -(logs.exp() * logs).sum(-1).mean()
        error = value_loss(self.module[module_id].unwrapped(), batch)
        figures = {
            POLICY_LOSS_KEY: policy_loss.item(),
            ENTROPY_KEY: entropy.item(),
            VF_LOSS_KEY: error.item(),
        }
        self.metrics.log_dict(figures, key=module_id, window=1)
        return policy_loss - self.settings.entropy_bonus * entropy + error

    @classmethod
    @override(TorchLearner)
    def rl_module_required_apis(cls) -> list[type]:
        return [ValueFunctionAPI]


class OnlinePG(OnPolicyAlgorithm, Algorithm):
    """Vanilla policy gradient on served episodes."""

    settings: PGSettings


class PGConfig(AlgorithmConfig):
    """RLlib has no PG any more; its PPO module, an actor and a critic, is what it needs."""

    @override(AlgorithmConfig)
    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=DefaultPPOTorchRLModule)

    @override(AlgorithmConfig)
    def get_default_learner_class(self) -> type[PGLearner]:
        return PGLearner


def pg_config(settings: PGSettings, observation_size: int, action_size: int) -> PGConfig:
    """RLlib's configuration for `OnlinePG`; `build_algo()` makes the algorithm of it."""
    config = served(PGConfig(algo_class=OnlinePG), settings, observation_size, action_size)
    return config.rl_module(model_config=actor_critic(settings.hidden)).training(
        lr=settings.learning_rate,
        gamma=settings.gamma,
        train_batch_size_per_learner=settings.batch_size,
    )
