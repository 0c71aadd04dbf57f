"""What each `--run` offers to be set: its value, what it means, and its option on the command line.

The defaults were chosen over many seeds of CartPole and Pong played through the policy server
(CONTRIBUTING.md says how).
"""

from __future__ import annotations

import argparse
import math
import re
import types
import typing
from typing import Annotated

import msgspec

from serving.command_line import StartError

MOST_UNITS = 4096  # of a layer


def says(text: str, unit: str = "N") -> msgspec.Meta:
    """What `--help` says of a setting, and in which unit it is."""
    return msgspec.Meta(description=text, extra={"unit": unit})


BATCH_SIZE = says(
    "env steps learned from at once; PG and PPO collect so many, acting waits while they learn, and "
    "then they are thrown away", "STEPS")  # fmt: skip
HIDDEN = says("units of each hidden layer", "N,N")
GAMMA = says("how much a reward is worth one step later", "G")
ADAM = says("of Adam; of PG and PPO, the policy's", "R")
VALUE_ADAM = says("of the value function's Adam", "R")
GAE_LAMBDA = says(
    "1 believes in true returns as far as they are known; less, more and more in what the value "
    "function expects instead", "L")  # fmt: skip
SEED = says("of the first weights, exploration and the draws of what is learned from")


class DQNSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deep Q-learning: off-policy, learns from everybody's steps again and again."""

    hidden: Annotated[tuple[int, ...], HIDDEN] = (128, 128)
    learning_rate: Annotated[float, ADAM] = 2e-3
    gamma: Annotated[float, GAMMA] = 0.99
    n_step: Annotated[int, says("steps of true rewards before bootstrapping")] = 6
    batch_size: Annotated[int, BATCH_SIZE] = 64
    updates_per_step: Annotated[float, says(
        "updates for each env step; acting waits for them, so that it never runs far ahead of "
        "learning: more learns from fewer episodes, less plays faster", "R")] = 0.5  # fmt: skip
    slack: Annotated[int, says("env steps acting may be ahead before it waits", "STEPS")] = 128
    learning_starts: Annotated[int, says("env steps before the first update", "STEPS")] = 500
    replay_capacity: Annotated[int, says("steps remembered", "STEPS")] = 100_000
    recent_steps: Annotated[int, says(
        "learn from the policy's own steps together with so many before them, until there were "
        "twice as many; then memory grows until it holds all, from four times as many on. Logged "
        "steps are learned from with all that are held", "STEPS")] = 5_000  # fmt: skip
    target_rate: Annotated[float, says(
        "how far the target network moves to the learned one each time", "SHARE")] = 0.1  # fmt: skip
    target_period: Annotated[int, says(
        "updates after which the target network moves", "UPDATES")] = 8  # fmt: skip
    exploration_steps: Annotated[int, says(
        "env steps over which random actions fade out", "STEPS")] = 2_000  # fmt: skip
    exploration_final: Annotated[float, says("share of random actions after that", "SHARE")] = 0.03
    seed: Annotated[int | None, SEED] = None

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
    """What policy gradients have in common."""

    hidden: Annotated[tuple[int, ...], HIDDEN] = (64, 64)
    learning_rate: Annotated[float, ADAM] = 1e-3
    value_learning_rate: Annotated[float, VALUE_ADAM] = 1e-3
    gamma: Annotated[float, GAMMA] = 0.99
    gae_lambda: Annotated[float, GAE_LAMBDA] = 0.95
    batch_size: Annotated[int, BATCH_SIZE] = 1_000
    epochs: Annotated[int, says("passes over each batch (PG: of the value function only)")] = 10
    minibatch_size: Annotated[int, says(
        "env steps an update (PG: of the value function only)", "STEPS")] = 100  # fmt: skip
    entropy_bonus: Annotated[float, says("what it is worth to keep acting at random", "B")] = 0.0
    seed: Annotated[int | None, SEED] = None

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
    """Vanilla policy gradient: one step along the gradient for each batch."""

    learning_rate: Annotated[float, ADAM] = 1e-2
    value_learning_rate: Annotated[float, VALUE_ADAM] = 3e-3
    gae_lambda: Annotated[float, GAE_LAMBDA] = 0.97

    def updates_of(self, steps: int) -> int:
        """Updates of the policy that a batch of so many steps makes."""
        return 1


class PPOSettings(OnPolicySettings, frozen=True):
    """Proximal policy optimization: many updates for each batch, kept near the policy that acted."""

    clip: Annotated[float, says(
        "PPO: how far an action's probability may move from one batch to the next, as a share",
        "C")] = 0.2  # fmt: skip

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


# -- the command line ------------------------------------------------------------------------------


class Option(typing.NamedTuple):
    """A setting as `--help` shows it. `runs`: those that have it, with their defaults."""

    name: str
    kind: type
    unit: str
    says: str
    runs: dict[str, object]

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def help(self) -> str:
        """What it is, and its default where there is one: "0.5", or "64 for DQN, 1000 for PG and
        PPO" """
        by_default: dict[str, list[str]] = {}
        for run, default in self.runs.items():
            if default is not None:
                by_default.setdefault(_shown(default), []).append(run)
        if len(by_default) < 2:
            said = next(iter(by_default), "")
        else:
            said = ", ".join(f"{default} for {_and(runs)}" for default, runs in by_default.items())
        return f"{self.says} (default: {said})" if said else self.says


def options() -> list[Option]:
    """Every setting of every `--run`, each once."""
    found: dict[str, Option] = {}
    for run, kind in RUNS.items():
        for name, hint in typing.get_type_hints(kind, include_extras=True).items():
            plain, meta = typing.get_args(hint)
            if name not in found:
                found[name] = Option(name, plain, meta.extra["unit"], meta.description, {})
            found[name].runs[run] = getattr(kind(), name)
    return list(found.values())


def add_learning_options(parser: argparse.ArgumentParser) -> None:
    """An option for each setting. What is not given is not set: the defaults are the settings'."""
    groups: dict[tuple[str, ...], list[Option]] = {}
    for option in options():
        of_all = len(option.runs) == len(RUNS)
        runs = () if of_all else ("DQN",) if "DQN" in option.runs else ("PG", "PPO")
        groups.setdefault(runs, []).append(option)
    for runs, members in groups.items():
        which = f" with {_and(f'--run={run}' for run in runs)}" if runs else ""
        group = parser.add_argument_group(f"learning{which}")
        for option in members:
            kind = str if option.name == "hidden" else _number(option.kind)
            group.add_argument(option.flag, type=kind, metavar=option.unit, help=option.help)


def settings_from(chosen: argparse.Namespace):
    """The settings of `chosen.run`, as far as options of `add_learning_options` override
    them. Raises StartError with a sentence for a setting of another algorithm, and for an impossible value."""
    values = {}
    for option in options():
        value = getattr(chosen, option.name)
        if value is None:
            continue
        if chosen.run not in option.runs:
            owners = _and(f"--run={run}" for run in option.runs)
            raise StartError(f"{option.flag} is a setting of {owners}: --run={chosen.run} has none")
        values[option.name] = value
    try:
        if "hidden" in values:
            values["hidden"] = _units(values["hidden"])
        return settings_for(chosen.run, **values)
    except ValueError as error:
        raise StartError(str(error)) from None


def _units(text: str) -> list[int]:
    if not re.fullmatch(r"\s*\d{1,5}(\s*,\s*\d{1,5})*\s*", text, re.ASCII):
        raise ValueError(f"hidden is {text!r}: expected units such as 128,128")
    return [int(units) for units in text.split(",")]


def _number(kind) -> type:
    """Of a hint such as `int | None`, the number."""
    return typing.get_args(kind)[0] if isinstance(kind, types.UnionType) else kind


def _shown(default) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _and(names) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
