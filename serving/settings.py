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
    exploration_final: float = 0.01
    seed: int | None = None

    def __post_init__(self):
        for name in ("learning_rate", "updates_per_step", "slack", "batch_size", "n_step",
                     "replay_capacity", "recent_steps", "target_period"):  # fmt: skip
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: expected more than 0")
        for name in ("gamma", "target_rate", "exploration_final"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: expected 0 to 1")
        for name in ("learning_starts", "exploration_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: expected 0 or more")
        if not self.hidden or not all(1 <= units <= MOST_UNITS for units in self.hidden):
            raise ValueError(
                f"hidden is {self.hidden}: expected layers of 1 to {MOST_UNITS} units, "
                "such as 128,128"
            )
        if self.seed is not None and not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}: expected a number from 0 to {2**32 - 1}")

    @property
    def first_allowance(self) -> int:
        """Env steps a fresh server may act before its learner is up."""
        return self.learning_starts + self.slack


RUNS: dict[str, type[msgspec.Struct]] = {"DQN": DQNSettings}


def settings_for(run: str, **chosen):
    """The settings of `--run`; unknown names and impossible values raise a ValueError."""
    if run not in RUNS:
        raise ValueError(f"--run={run}: expected one of {', '.join(RUNS)}")
    return msgspec.convert(chosen, RUNS[run])
