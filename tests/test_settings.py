"""What `--run` offers to be set."""

from __future__ import annotations

import math
import subprocess
import sys

import msgspec
import pytest

from serving import ROOT
from serving.command_line import StartError
from serving.server.process import check
from serving.settings import RUNS, DQNSettings, options, settings_for, settings_from
from serving.simple_policy_server import parse

REQUIRED = ["--observation-size=4", "--action-size=2"]
FIELDS = DQNSettings.__struct_fields__


def chosen(*arguments: str):
    return settings_from(parse([*REQUIRED, *arguments]))


@pytest.mark.parametrize("run", sorted(RUNS))
def test_the_defaults_are_possible(run):
    """Do the defaults pass the checks that a user's values have to pass?"""
    defaults = settings_for(run)
    assert type(defaults) is RUNS[run]
    again = settings_for(run, **msgspec.to_builtins(defaults))
    assert again == defaults


def test_unknown_runs_and_names_are_refused():
    """Does a misspelt --run or setting say what there is?"""
    with pytest.raises(ValueError, match="--run=DQM: expected one of .*DQN"):
        settings_for("DQM")
    with pytest.raises(ValueError, match="unknown field `gama`"):
        settings_for("DQN", gama=0.9)


@pytest.mark.parametrize("run", sorted(RUNS))
def test_every_setting_is_an_option(run):
    """Is every setting explained once, and can it be set on the command line?"""
    offered = {option.name: option for option in options() if run in option.runs}
    assert set(offered) == set(RUNS[run].__struct_fields__)
    assert all(len(option.says.split()) > 1 for option in offered.values())
    for name, option in offered.items():
        default = getattr(settings_for(run), name)
        assert option.runs[run] == default
        text = ",".join(map(str, default)) if isinstance(default, tuple) else str(default or 0)
        assert getattr(chosen(f"--run={run}", f"{option.flag}={text}"), name) == (default or 0)


IMPOSSIBLE = {
    "learning_rate": [0, -1e-3, math.nan, math.inf],
    "gamma": [-0.1, 1.1, math.nan],
    "n_step": [0, -1, 1.5],
    "batch_size": [0, -64],
    "updates_per_step": [0, -0.5, math.nan, math.inf],
    "slack": [0, -1],
    "learning_starts": [-1],
    "replay_capacity": [0, -5],
    "target_rate": [-0.1, 2, math.nan],
    "target_period": [0],
    "exploration_steps": [-1],
    "exploration_final": [-0.01, 1.01, math.nan],
    "hidden": [[], [0], [64, -1], [10**9], ["many"]],
    "seed": [-1, 2**32],
    "value_learning_rate": [0, -1e-3, math.nan, math.inf],
    "gae_lambda": [-0.1, 1.1, math.nan],
    "epochs": [0, -1, 1.5],
    "minibatch_size": [0, -64],
    "entropy_bonus": [-0.1, 2, math.nan],
    "clip": [0, -0.1, math.nan, math.inf],
}


@pytest.mark.parametrize(
    ("run", "name"),
    [(run, name) for run in RUNS for name in sorted(IMPOSSIBLE)
     if name in RUNS[run].__struct_fields__],
)  # fmt: skip
def test_impossible_values_are_refused_by_name(run, name):
    """Does a value that would only fail later, in the learner, say its name at once?"""
    for value in IMPOSSIBLE[name]:
        with pytest.raises(ValueError) as refusal:
            settings_for(run, **{name: value})
        assert name in str(refusal.value), value


def test_the_edges_of_the_possible_are_possible():
    """Are the smallest sensible values allowed?"""
    edges = settings_for(
        "DQN", n_step=1, batch_size=1, slack=1, learning_starts=0, replay_capacity=1, hidden=[1],
        exploration_steps=0, exploration_final=0, gamma=1, target_rate=1, target_period=1, seed=0,
    )  # fmt: skip
    assert edges.first_allowance == 1
    for run in ("PG", "PPO"):
        edges = settings_for(
            run, batch_size=1, minibatch_size=1, epochs=1, gamma=1, gae_lambda=0, hidden=[1],
            entropy_bonus=0, seed=0,
        )  # fmt: skip
        assert edges.first_allowance == edges.updates_of(1) == 1


@pytest.mark.parametrize(("arguments", "flag", "owner"), [
    (["--run=PPO", "--n-step=3"], "--n-step", "--run=DQN"),
    (["--run=PG", "--updates-per-step=1"], "--updates-per-step", "--run=DQN"),
    (["--run=PG", "--clip=0.1"], "--clip", "--run=PPO"),
    (["--run=DQN", "--gae-lambda=1"], "--gae-lambda", "--run=PG"),
])  # fmt: skip
def test_a_setting_of_another_algorithm_is_refused(arguments, flag, owner):
    """Is an option that would do nothing refused, and its owner named?"""
    with pytest.raises(StartError) as refusal:
        chosen(*arguments)
    assert flag in str(refusal.value) and owner in str(refusal.value)


def test_the_command_line_reaches_each_algorithm():
    """Do options of PG and PPO change their own settings?"""
    settings = chosen("--run=PPO", "--clip=0.1", "--epochs=3", "--batch-size=77", "--gae-lambda=1")
    assert (settings.clip, settings.epochs, settings.batch_size) == (0.1, 3, 77)
    assert settings.gae_lambda == 1 and settings.gamma == settings_for("PPO").gamma
    settings = chosen("--run=PG", "--value-learning-rate=0.5", "--entropy-bonus=0.1")
    assert (settings.value_learning_rate, settings.entropy_bonus) == (0.5, 0.1)


def test_the_command_line_overrides_defaults():
    """Does an option change its own setting and no other?"""
    defaults = chosen()
    assert chosen("--gamma=0.5").gamma == 0.5
    assert chosen("--hidden=32,32,32").hidden == (32, 32, 32)
    assert chosen("--hidden=64").hidden == (64,)
    for name in FIELDS:
        if name != "gamma":
            assert getattr(chosen("--gamma=0.5"), name) == getattr(defaults, name)


@pytest.mark.parametrize("option", [
    "--gamma=2", "--updates-per-step=0", "--updates-per-step=nan", "--hidden=", "--hidden=a,b",
    "--hidden=64,,64", "--hidden=-3", "--hidden=0", "--hidden=1.5", "--seed=-1", "--n-step=0",
    "--slack=0", "--replay-capacity=-1", "--learning-rate=inf", "--exploration-steps=-1",
])  # fmt: skip
def test_an_impossible_option_is_one_sentence(option):
    """Is a bad option on the command line a sentence that names it, and no traceback?"""
    with pytest.raises(StartError) as refusal:
        chosen(option)
    assert option.split("=")[0].strip("-").replace("-", "_") in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("arguments", [
    ["--observation-size=0", "--action-size=2"],
    ["--observation-size=-4", "--action-size=2"],
    ["--observation-size=4", "--action-size=0"],
    ["--observation-size=4", "--action-size=1000000"],
])  # fmt: skip
def test_impossible_sizes_are_refused(arguments):
    """Does a size that cannot be say which one it is, and what would do?"""
    with pytest.raises(StartError, match=r"--(observation|action)-size=.*expected a number from 1"):
        check(parse(arguments))


@pytest.mark.parametrize("seconds", ["0", "-1", "nan"])
def test_abandoned_episodes_need_time(seconds):
    """Is --abandon-after refused if it would close every episode at once?"""
    with pytest.raises(StartError, match="--abandon-after="):
        check(parse([*REQUIRED, f"--abandon-after={seconds}"]))


def test_the_help_tells_true_defaults():
    """Do the defaults in `--help` agree with the settings?"""
    text = " ".join(
        subprocess.run(
            [sys.executable, "serving/simple_policy_server.py", "--help"],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
            check=True,
        ).stdout.split()
    )
    names = {name: run for run in RUNS for name in RUNS[run].__struct_fields__}
    for name in names:
        _, _, after = text.rpartition(f"--{name.replace('_', '-')} ")
        said = after.split(" --")[0].partition("(default: ")[2].partition(")")[0]
        # "0.5", or "128,128 for DQN, 64,64 for PG and PPO"
        for part in filter(None, said.split(", ")):
            value, _, runs = part.partition(" for ")
            for run in runs.split(" and ") if runs else [names[name]]:
                default = getattr(settings_for(run), name)
                default = ",".join(map(str, default)) if isinstance(default, tuple) else default
                assert value == str(default) or float(value) == float(default), (run, name)
    assert all(f"{run} " in text for run in RUNS)
    assert "--checkpoint-file" in text and "--run" in text
