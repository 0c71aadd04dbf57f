"""What each `--run` offers to be set, and its values.

The defaults were chosen over many seeds of CartPole and Pong played through the policy server
(CONTRIBUTING.md says how); the command line of the policy server overrides them.
"""

from __future__ import annotations

import math

import msgspec

MOST_UNITS = 4096  # of a layer


class DQNSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deep Q-learning: off-policy, learns from everybody's steps again and again.

    hidden              units of each hidden layer
    learning_rate       of Adam
    gamma               discount of rewards a step
    n_step              steps of true rewards before bootstrapping
    batch_size          transitions an update
    updates_per_step    how much is learned from each env step; acting waits for it
    slack               env steps acting may be ahead of learning
    learning_starts     env steps before the first update
    replay_capacity     transitions remembered
    recent_steps        the policy's own steps are learned from together with so many before them,
                        until there were twice as many; then memory grows until it holds all, from
                        four times as many on. Logged steps are learned from with all that are held
    target_rate         how far the target network moves to the learned one ...
    target_period       ... after so many updates
    exploration_steps   env steps over which random actions fade from 1 to ...
    exploration_final   ... this probability
    seed                of the networks' first weights and of the replay's draws
    """

    hidden: tuple[int, ...] = (128, 128)
    learning_rate: float = 2e-3
    gamma: float = 0.98
    n_step: int = 6
    batch_size: int = 64
    updates_per_step: float = 0.5
    slack: int = 128
    learning_starts: int = 500
    replay_capacity: int = 100_000
    recent_steps: int = 5_000
    target_rate: float = 0.1
    target_period: int = 8
    exploration_steps: int = 2_000
    exploration_final: float = 0.03
    seed: int | None = None

    def __post_init__(self):
        _check_positive(self, "learning_rate", "updates_per_step", "slack", "batch_size", "n_step",
                        "replay_capacity", "recent_steps", "target_period")  # fmt: skip
        _check_shares(self, "gamma", "target_rate", "exploration_final")
        for name in ("learning_starts", "exploration_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: expected 0 or more")
        _check_network(self)

    @property
    def first_allowance(self) -> int:
        """Env steps a fresh server may act before its learner is up."""
        return self.learning_starts + self.slack

    @property
    def allowance(self) -> int:
        """Env steps a server that goes on from a checkpoint may act before its learner is up."""
        return self.slack


class OnPolicySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What policy gradients have in common.

    hidden              units of each hidden layer, of the policy and of the value function
    learning_rate       of the policy's Adam
    value_learning_rate of the value function's Adam
    gamma               discount of rewards a step
    gae_lambda          1: true returns as far as they are known; less: more and more of what the
                        value function expects instead
    batch_size          env steps learned from at once, and then thrown away; acting waits when they
                        are there
    epochs              passes over each batch
    minibatch_size      env steps an update
    entropy_bonus       what it is worth to keep acting at random
    seed                of the networks' first weights and of the minibatches
    """

    hidden: tuple[int, ...] = (64, 64)
    learning_rate: float = 1e-3
    value_learning_rate: float = 1e-3
    gamma: float = 0.99
    gae_lambda: float = 0.95
    batch_size: int = 1_000
    epochs: int = 10
    minibatch_size: int = 100
    entropy_bonus: float = 0.0
    seed: int | None = None

    def __post_init__(self):
        _check_positive(self, "learning_rate", "value_learning_rate", "batch_size", "epochs",
                        "minibatch_size")  # fmt: skip
        _check_shares(self, "gamma", "gae_lambda", "entropy_bonus")
        _check_network(self)

    @property
    def first_allowance(self) -> int:
        return self.batch_size

    @property
    def allowance(self) -> int:
        return self.batch_size


class PGSettings(OnPolicySettings, frozen=True):
    """Vanilla policy gradient: one step along the gradient for each batch. `epochs` and
    `minibatch_size` are of the value function only."""

    learning_rate: float = 1e-2
    value_learning_rate: float = 3e-3
    gae_lambda: float = 0.97

    def updates_of(self, steps: int) -> int:
        """Updates of the policy that a batch of so many steps makes."""
        return 1


class PPOSettings(OnPolicySettings, frozen=True):
    """Proximal policy optimization: many updates for each batch, kept near the policy that acted.

    clip                how far the probability of an action may move from what it was, as a share
    """

    clip: float = 0.2

    def __post_init__(self):
        super().__post_init__()
        _check_positive(self, "clip")

    def updates_of(self, steps: int) -> int:
        """Updates of the policy that a batch of so many steps makes."""
        return self.epochs * max(1, round(steps / self.minibatch_size))


def _check_positive(settings, *names: str) -> None:
    for name in names:
        if not 0 < getattr(settings, name) < math.inf:
            raise ValueError(f"{name} is {getattr(settings, name)}: expected more than 0")


def _check_shares(settings, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(settings, name) <= 1:
            raise ValueError(f"{name} is {getattr(settings, name)}: expected 0 to 1")


def _check_network(settings) -> None:
    if not settings.hidden or not all(1 <= units <= MOST_UNITS for units in settings.hidden):
        raise ValueError(
            f"hidden is {settings.hidden}: expected layers of 1 to {MOST_UNITS} units, "
            "such as 128,128"
        )
    if settings.seed is not None and not 0 <= settings.seed < 2**32:
        raise ValueError(f"seed is {settings.seed}: expected a number from 0 to {2**32 - 1}")


RUNS: dict[str, type[msgspec.Struct]] = {
    "DQN": DQNSettings,
    "PG": PGSettings,
    "PPO": PPOSettings,
}


def settings_for(run: str, **chosen):
    """The settings of `--run`; unknown names and impossible values raise a ValueError."""
    if run not in RUNS:
        raise ValueError(f"--run={run}: expected one of {', '.join(RUNS)}")
    return msgspec.convert(chosen, RUNS[run])
