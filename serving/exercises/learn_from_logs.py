"""Lesson 03: what a replayed log should look like, and what went wrong if it does not.

As in `serving.exercises.serve_and_learn` the verdict compares records: the log's steps, and what the policy server saw
of them (its transcripts). A finding says what was expected, what was seen, and at which step.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from serving.client import PolicyClient
from serving.evaluation import time_limit
from serving.exercises.findings import Findings, explain
from serving.exercises.visible import a_server_for, findings_of, require, require_all, show
from serving.logs import Episode, read_log
from serving.pong.env import ACTION_SIZE, OBSERVATION_SIZE
from serving.protocol import PolicyServerError, Rejection, Transcript

TOPICS = {
    "steps": "every step is logged once, in order, with the action that was taken",
    "rewards": "every reward is logged with the step that earned it",
    "endings": "an episode begins and ends where one of the log does",
    "result": "the function returns how many steps there were",
}
WEIGHT_TOPICS = {"weights": "it is the product of the ratios pi / mu, of all steps"}
SECONDS_FOR_A_REPLAY = 60.0


def watch_replay(replay: Callable, episodes: list[Episode], client: PolicyClient) -> Findings:
    """Lets the function replay the episodes, and compares; they must be few, as the server keeps
    only its latest transcripts, and nobody else may log meanwhile."""
    findings = Findings()
    before = client.episodes(last=1000)
    known = {transcript.episode_id for transcript in before.episodes}
    result = error = None
    copies = [[{**step, "obs": list(step["obs"])} for step in episode] for episode in episodes]
    try:
        with time_limit(SECONDS_FOR_A_REPLAY, "replay(episodes)"):
            result = replay(copies)
    except (Exception, SystemExit) as raised:  # noqa: BLE001 - it is the student's code
        error = raised
    after = client.episodes(last=1000)
    seen = [transcript for transcript in after.episodes if transcript.episode_id not in known]
    compare(findings, episodes, seen, after.rejected[len(before.rejected) :], result, error)
    return findings


def compare(
    findings: Findings,
    episodes: list[Episode],
    seen: list[Transcript],
    rejected: list[Rejection],
    result,
    error: BaseException | None,
) -> None:
    """Adds what is wrong with one call of replay."""
    if error is not None:
        said = (
            f"the policy server refused: {error}"
            if isinstance(error, PolicyServerError)
            else f"replay raised {type(error).__name__}: {error}"
        )
        for topic in TOPICS:
            findings.add(topic, said)
        return
    if len(seen) != len(episodes):
        for topic in ("steps", "rewards", "endings"):
            findings.add(
                topic,
                f"the log has {len(episodes)} episodes, and the server saw {len(seen)}: one "
                "start_episode() and one end_episode() for each episode of the log",
            )
    else:
        for number, (episode, transcript) in enumerate(zip(episodes, seen)):
            _compare_steps(findings, number, episode, transcript)
            _compare_rewards(findings, number, episode, transcript)
            _compare_ending(findings, number, episode, transcript)
            if findings:
                break
        ended_again = [r for r in rejected if r.call == "end_episode" and r.status == 409]
        if ended_again:
            findings.add("endings", f"an episode was ended twice: {ended_again[0].error}")
    steps = sum(map(len, episodes))
    if isinstance(result, bool) or result != steps:
        findings.add("result", f"replay returned {result!r}, expected {steps}, the number of steps")


def _compare_steps(
    findings: Findings, number: int, episode: Episode, transcript: Transcript
) -> None:
    where = f"episode {number}"
    if not transcript.training_enabled:
        findings.add("steps", f"{where} was started with training_enabled=False: nobody learns")
    if "policy" in transcript.sources:
        findings.add(
            "steps",
            f"{where}: at step {transcript.sources.index('policy')} the policy was asked for an "
            "action; a log says what was done: tell it with log_action()",
        )
        return
    for i, (step, row, action) in enumerate(
        zip(episode, transcript.observations, transcript.actions)
    ):
        if not np.allclose(step["obs"], row, rtol=1e-5, atol=1e-6):
            findings.add("steps", _explain_observation(where, episode, i, row))
            return
        if int(step["action"]) != action:
            findings.add(
                "steps",
                f"{where}: the action of step {i} was {int(step['action'])}, and the server was "
                f"told {action}",
            )
            return
    if len(transcript.actions) != len(episode):
        findings.add(
            "steps",
            f"{where} has {len(episode)} steps, and the server was told of "
            f"{len(transcript.actions)}: one log_action() for each, the last one too",
        )


def _explain_observation(where: str, episode: Episode, i: int, row: list[float]) -> str:
    others = [
        j for j, step in enumerate(episode) if np.allclose(step["obs"], row, rtol=1e-5, atol=1e-6)
    ]
    hint = f"that is the one of step {others[0]}" if others else "that is none of this episode"
    return f"{where}: the observation that was logged as step {i} is not the log's; {hint}"


def _compare_rewards(
    findings: Findings, number: int, episode: Episode, transcript: Transcript
) -> None:
    paid = np.array([step["reward"] for step in episode], float)
    told = np.array(transcript.rewards)
    both = min(len(paid), len(told))
    wrong = np.flatnonzero(~np.isclose(paid[:both], told[:both], rtol=1e-5, atol=1e-6))
    if not len(wrong):
        if len(told) < len(paid):
            findings.add("rewards", f"episode {number}: the rewards of the last steps are missing")
        return
    i = int(wrong[0])
    start = f"episode {number}: the reward of step {i} is {paid[i]:g}, and the server was told {told[i]:g}"
    if not told.any():
        hint = "call log_returns(episode_id, reward) after every log_action()"
    elif np.allclose(told[1:both], paid[: both - 1]) or np.allclose(told[: both - 1], paid[1:both]):
        hint = "a reward belongs to the action before it: log_action() first, then log_returns()"
    elif np.allclose(told[:both], np.cumsum(paid[:both])):
        hint = "log the reward of the step, not the running total"
    else:
        hint = "log each step's own reward, once"
    findings.add("rewards", f"{start}: {hint}")


def _compare_ending(
    findings: Findings, number: int, episode: Episode, transcript: Transcript
) -> None:
    cut_short = bool(episode[-1].get("truncated", False))
    if transcript.ending is None:
        findings.add("endings", f"episode {number} was never ended: call end_episode() at its end")
    elif cut_short and transcript.ending != "truncated":
        findings.add(
            "endings",
            f'episode {number} was only cut short (its last step has "truncated": true), and the '
            'server was told that it terminated: end_episode(..., truncated=step.get("truncated", '
            "False)) of the last step",
        )
    elif not cut_short and transcript.ending != "terminated":
        findings.add(
            "endings",
            f"episode {number} was ended as {transcript.ending}, and it terminated: no step of it "
            'has "truncated"',
        )


# -- importance weights ----------------------------------------------------------------------------


def watch_weights(importance_weight: Callable, cases: list[tuple[list, list]]) -> Findings:
    """Compares the function's answers with products of ratios; topic `weights`."""
    findings = Findings()
    for pi, mu in cases:
        expected = math.prod(p / q for p, q in zip(pi, mu))
        for kind in (list, np.array):
            ours, theirs = kind(pi), kind(mu)
            call = f"importance_weight({_numbers(pi)}, {_numbers(mu)})"
            try:
                # A zero is nothing to be warned of; whoever takes logarithms meets infinity.
                with time_limit(10, call), np.errstate(all="ignore"):
                    answer = importance_weight(ours, theirs)
                right = math.isclose(float(answer), expected, rel_tol=1e-6, abs_tol=1e-12)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the student's code
                said = explain(error, call if len(pi) < 9 else "importance_weight")
                findings.add("weights", f"{said}{' (given arrays)' if kind is np.array else ''}")
                return findings
            if not right:
                findings.add("weights", _explain_weight(call, answer, expected, pi, mu))
                return findings
            if list(ours) != pi or list(theirs) != mu:
                findings.add("weights", "importance_weight changed the sequences it was given")
                return findings
    return findings


def _explain_weight(call: str, answer, expected: float, pi: list, mu: list) -> str:
    ratios = [p / q for p, q in zip(pi, mu)]
    hints = {
        "that is mu / pi: how much likelier the log's players were": lambda: math.prod(
            q / p for p, q in zip(pi, mu)
        ),
        "that is the sum of the ratios; multiply them": lambda: sum(ratios),
        "that is the mean of the ratios; multiply them": lambda: sum(ratios) / len(ratios),
        "that is the ratio of one step; the whole episode counts": lambda: ratios[-1],
        "that is the first ratio: does the function return inside its loop?": lambda: ratios[0],
        "that is the product of pi alone": lambda: math.prod(pi),
        "that is the logarithm of the weight": lambda: sum(map(math.log, ratios)),
    }
    for hint, wrong in hints.items():
        with contextlib.suppress(ArithmeticError, IndexError, TypeError, ValueError):
            if math.isclose(float(answer), wrong(), rel_tol=1e-6):
                return f"{call} is {answer!r}, expected {expected:.6g}: {hint}"
    return f"{call} is {answer!r}, expected {expected:.6g}"


def _numbers(sequence: list) -> str:
    return f"{sequence}" if len(sequence) < 9 else f"[{len(sequence)} numbers]"


# -- what the lesson shows -------------------------------------------------------------------------

SMALL_LOG = Path(__file__).parents[1] / "data_small.gz"
WEIGHTS = [
    ([0.9, 0.2], [0.3, 0.4]),
    ([0.25], [0.5]),
    ([], []),
    ([0.5, 0.0, 1.0], [0.5, 0.25, 0.5]),
    ([0.2, 0.9, 0.6] * 40, [0.4, 0.3, 0.6] * 40),
]


def check_replay(replay: Callable) -> bool:
    """Replays a few episodes into a server of its own, and prints what is right and what is not."""
    says = "Replaying five episodes into a policy server of this check's own, two of them cut short ..."
    return show(lambda: _of_replay(replay), TOPICS, says)


def check_importance_weight(importance_weight: Callable) -> bool:
    """Tries it on a few episodes, and prints what is right and what is not."""
    says = "Episodes of 2, 1, 0, 3 and 120 steps ..."
    return show(lambda: watch_weights(importance_weight, WEIGHTS), WEIGHT_TOPICS, says)


def require_replay(replay: Callable, topic: str) -> None:
    """Raises AssertionError with what is wrong about `topic`, one of TOPICS."""
    require(lambda: findings_of(replay, _of_replay), topic, TOPICS)


def require_replay_right(replay: Callable) -> None:
    """Raises AssertionError with anything that is wrong about replay."""
    require_all(lambda: findings_of(replay, _of_replay), TOPICS)


def require_importance_weight(importance_weight: Callable) -> None:
    """Raises AssertionError with what is wrong about the weights."""
    require_all(lambda: watch_weights(importance_weight, WEIGHTS), WEIGHT_TOPICS)


def _of_replay(replay: Callable) -> Findings:
    with a_server_for(replay, OBSERVATION_SIZE, ACTION_SIZE) as client:
        return watch_replay(replay, some_episodes(), client)


def some_episodes() -> list[Episode]:
    """Of the small log: a whole game, and parts of it, two of which are marked as cut short."""
    game, other, *_ = read_log(SMALL_LOG)
    return [other[:7], _cut_short(game[:40]), game, game[90:91], _cut_short(other[30:31])]


def _cut_short(steps: Episode) -> Episode:
    return [*steps[:-1], {**steps[-1], "truncated": True}]
