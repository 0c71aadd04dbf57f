"""`--run=PPO`: many times over each batch, for as long as the policy stays near the one that acted.
The loss is RLlib's own."""

from __future__ import annotations

from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.utils.annotations import override

from serving.learner.algorithm import NoMetrics, served
from serving.learner.on_policy import (
    OnPolicyAlgorithm,
    OnPolicyLearner,
    actor_critic,
    minibatches,
)
from serving.settings import PPOSettings


class PPOLearner(OnPolicyLearner, PPOTorchLearner):
    """RLlib's PPO learner: its loss, in minibatches without the bookkeeping in between."""

    @override(OnPolicyLearner)
    def learn(self, steps, rng) -> None:
        module = self.module[DEFAULT_MODULE_ID].unwrapped()
        metrics, settings = self.metrics, self.settings
        try:
            for epoch in range(settings.epochs):
                for minibatch in minibatches(steps, settings.minibatch_size, rng):
                    self.metrics = metrics if epoch == settings.epochs - 1 else NoMetrics()
                    loss = self.compute_loss_for_module(
                        module_id=DEFAULT_MODULE_ID,
                        config=self.config,
                        batch=minibatch,
                        fwd_out=module._forward_train(minibatch),
                    )
                    self.step(loss, "policy", "value")
        finally:
            self.metrics = metrics


class OnlinePPO(OnPolicyAlgorithm, PPO):
    """Proximal policy optimization (https://arxiv.org/abs/1707.06347) on served episodes."""

    settings: PPOSettings


def ppo_config(settings: PPOSettings, observation_size: int, action_size: int) -> PPOConfig:
    """RLlib's configuration for `OnlinePPO`; `build_algo()` makes the algorithm of it."""
    config = served(PPOConfig(algo_class=OnlinePPO), settings, observation_size, action_size)
    return config.rl_module(model_config=actor_critic(settings.hidden)).training(
        learner_class=PPOLearner,
        lr=settings.learning_rate,
        gamma=settings.gamma,
        lambda_=settings.gae_lambda,
        clip_param=settings.clip,
        entropy_coeff=settings.entropy_bonus,
        # The policy is kept near by clipping alone; errors of the value function are not clipped,
        # because returns are as large as they are.
        use_kl_loss=False,
        vf_clip_param=float("inf"),
        vf_loss_coeff=0.5,
        num_epochs=settings.epochs,
        minibatch_size=min(settings.minibatch_size, settings.batch_size),
        train_batch_size_per_learner=settings.batch_size,
    )
