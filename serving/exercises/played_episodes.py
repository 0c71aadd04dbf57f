"""What played episodes should look like in the records of environment and server.

The verdict compares two records that the player's code cannot write: what the environment saw
(`serving.evaluation.RecordingEnv`) and what the policy server saw (its transcripts). A finding is one
sentence that says what was expected, what was seen, and at which step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium as gym
import numpy as np

from serving.client import PolicyClient
from serving.evaluation import RecordedEpisode, RecordingEnv, time_limit
from serving.exercises.findings import Findings, equal, explain, same, shown
from serving.protocol import Rejection, Transcript

TOPICS = {
    "calls": "the server is asked about every observation, and its actions are played",
    "numbers": "every reward reaches the server",
    "ending": "the episode is ended once, with the last observation",
    "result": "the function returns the episode's total reward",
}
SECONDS_FOR_AN_EPISODE = 20.0
LATEST = 50  # transcripts that are looked through for the episodes that were just played


@dataclass(frozen=True)
class Task:
    """A function that plays one episode: its name, what it should return of what was played, and
    how a sentence calls that.

    training
        the topic of what is wrong with training_enabled=False alone
    """

    function: str
    result: Callable[[RecordedEpisode], object]
    meaning: str
    topics: dict[str, str]
    training: str = "calls"


RUN_ONE_EPISODE = Task(
    "run_one_episode", lambda e: float(sum(e.rewards)), "the sum of the rewards", TOPICS
)


def watch(
    play: Callable,
    env: gym.Env,
    client: PolicyClient,
    episodes: int = 1,
    seed: int | None = None,
    seconds: float = SECONDS_FOR_AN_EPISODE,
    task: Task = RUN_ONE_EPISODE,
    **arguments,
) -> Findings:
    """Lets the function play `episodes` episodes and compares what was seen of them; nobody else
    may play against this server meanwhile. An exception of the function becomes a finding, too."""
    findings, known = Findings(), known_to(client)
    for episode in range(episodes):
        recording = RecordingEnv(_SeededEnv(env, None if seed is None else seed + episode))
        result = error = None
        try:
            with time_limit(seconds, f"{task.function}(env)"):
                result = play(recording, **arguments)
        except (Exception, SystemExit) as raised:  # noqa: BLE001 - it is the student's code
            error = raised
        seen = client.episodes(last=LATEST)
        transcripts = [t for t in seen.episodes if t.episode_id not in known]
        new = {t.episode_id for t in transcripts}
        rejections = [rejection for rejection in seen.rejected if rejection.episode_id in new]
        known |= new
        findings.stopped = isinstance(error, TimeoutError)
        compare(
            findings, task, recording.episodes, transcripts, rejections, result, error,
            training=arguments.get("training_enabled", True),
        )  # fmt: skip
        if findings:
            break
    return findings


def known_to(client: PolicyClient) -> set[str]:
    """The ids of the latest episodes the server has seen: what comes later is new."""
    return {transcript.episode_id for transcript in client.episodes(last=LATEST).episodes}


def compare(
    findings: Findings,
    task: Task,
    played: list[RecordedEpisode],
    transcripts: list[Transcript],
    rejected: list[Rejection],
    result,
    error: BaseException | None,
    training: bool = True,
) -> None:
    """Adds what is wrong with one call of the function."""
    if error is not None:
        sentence = explain(error, task.function)
        only_evaluating = not training and task.training not in TOPICS
        for topic in [task.training] if only_evaluating else TOPICS:
            findings.add(topic, sentence)
        return
    if len(played) != 1:
        wrong = (
            "never called env.reset()" if not played else f"called env.reset() {len(played)} times"
        )
        for topic in TOPICS:
            findings.add(topic, f"{task.function} {wrong}: one call should play one episode")
        return
    (episode,) = played
    if not episode.done:
        findings.add(
            "calls",
            f"the environment had not ended after {len(episode.actions)} steps: go on until "
            "`terminated or truncated`",
        )
    if len(transcripts) != 1:
        seen = "no step of it" if not transcripts else f"{len(transcripts)} episodes"
        for topic in ("calls", "numbers", "ending"):
            findings.add(
                topic,
                f"the environment played one episode, and the server saw {seen}: call "
                "start_episode() once, and use the id it returns in all other calls",
            )
    else:
        (transcript,) = transcripts
        _compare_training(findings, transcript, training, "calls" if training else task.training)
        _compare_calls(findings, episode, transcript)
        _compare_rewards(findings, episode, transcript)
        _compare_ending(findings, episode, transcript, rejected)
    _compare_result(findings, task, episode, result)


def compare_all(
    played: list[RecordedEpisode], transcripts: list[Transcript], training: bool = True
) -> Findings:
    """Compares a whole run of training or evaluation, oldest first; as many episodes as both sides
    still know."""
    findings = Findings()
    latest = min(len(played), len(transcripts))
    for episode, transcript in zip(played[-latest:], transcripts[-latest:]):
        _compare_training(findings, transcript, training, "calls")
        _compare_calls(findings, episode, transcript)
        _compare_rewards(findings, episode, transcript)
        _compare_ending(findings, episode, transcript, [])
        if findings:
            break
    return findings


def _compare_training(
    findings: Findings, transcript: Transcript, training: bool, topic: str
) -> None:
    if transcript.training_enabled != training:
        findings.add(topic, f"the episode was started with training_enabled={not training}")


def _compare_calls(findings: Findings, episode: RecordedEpisode, transcript: Transcript) -> None:
    seen, asked = episode.observations, transcript.observations
    steps = len(episode.actions)
    if "log" in transcript.sources:
        findings.add(
            "calls",
            f"step {transcript.sources.index('log')} was reported with log_action(): ask the "
            "server with get_action() and play what it answers",
        )
        return
    for step in range(min(steps, len(transcript.actions))):
        if not same(seen[step], asked[step]):
            findings.add("calls", _explain_observation(seen, asked[step], step))
            return
        if episode.actions[step] != transcript.actions[step]:
            findings.add(
                "calls",
                f"at step {step} the server chose action {transcript.actions[step]}, and the "
                f"environment was given {episode.actions[step]}: pass the answer of get_action() "
                "to env.step()",
            )
            return
    if len(transcript.actions) != steps:
        findings.add(
            "calls",
            f"the environment made {steps} steps, and the server was asked for "
            f"{len(transcript.actions)} actions: one get_action() for each env.step()",
        )


def _explain_observation(seen: list[np.ndarray], asked: list[float], step: int) -> str:
    start = (
        f"at step {step} get_action() was asked about {shown(asked)}, expected {shown(seen[step])}"
    )
    if step and same(seen[0], asked):
        return f"{start}: that is still the observation of env.reset(); keep the one env.step() returns"
    if step and same(seen[step - 1], asked):
        return f"{start}: that is the observation before the latest step; keep the newest one"
    return f"{start}: pass on the environment's observation as it is"


def _compare_rewards(findings: Findings, episode: RecordedEpisode, transcript: Transcript) -> None:
    paid, told = np.array(episode.rewards), np.array(transcript.rewards)
    steps = min(len(paid), len(told))
    paid, told = paid[:steps], told[:steps]
    wrong = np.flatnonzero(~np.isclose(paid, told, rtol=1e-5, atol=1e-6))
    if not len(wrong):
        return
    step = int(wrong[0])
    start = f"the reward of step {step} was {paid[step]:g}, and the server was told {told[step]:g}"
    if not told.any():
        hint = "call log_returns(episode_id, reward) after every env.step()"
    elif step == steps - 1:
        hint = "the last reward counts too: call log_returns() before end_episode()"
    elif np.allclose(told, np.cumsum(paid)):
        hint = "log the reward of the step, not the running total: the server adds up by itself"
    elif np.allclose(told, 2 * paid):
        hint = "the reward was logged twice"
    elif np.allclose(told[1:], paid[:-1]) or np.allclose(told[:-1], paid[1:]):
        hint = (
            "each reward belongs to the action before it: get_action(), env.step(), log_returns()"
        )
    else:
        hint = "pass on the reward of env.step() as it is, once a step"
    findings.add("numbers", f"{start}: {hint}")


def _compare_ending(
    findings: Findings, episode: RecordedEpisode, transcript: Transcript, rejected: list[Rejection]
) -> None:
    ended_again = [r for r in rejected if r.call == "end_episode" and r.status == 409]
    if ended_again:
        findings.add("ending", f"the episode was ended twice: {ended_again[0].error}")
    if transcript.ending is None:
        findings.add(
            "ending", "the episode was never ended: call end_episode() after the last step"
        )
        return
    last, expected = transcript.observations[-1], episode.observations[-1]
    if not same(expected, last):
        before = len(episode.observations) > 1 and same(episode.observations[-2], last)
        hint = ": that is the one before the last step" if before else ""
        findings.add(
            "ending",
            f"end_episode() was given the observation {shown(last)}, expected the last one, "
            f"{shown(expected)}{hint}",
        )
    # Where the fall comes in the very step in which the time is up, either report is right.
    truncated, both = episode.truncated, episode.truncated and episode.terminated
    if episode.done and not both and truncated != (transcript.ending == "truncated"):
        how = "was truncated (cut short by a limit)" if truncated else "terminated"
        findings.add(
            "ending",
            f"the episode {how}, and the server was told that it {transcript.ending.replace('truncated', 'was truncated')}: "
            "pass on what env.step() says, end_episode(..., truncated=truncated)",
        )


def _compare_result(findings: Findings, task: Task, episode: RecordedEpisode, result) -> None:
    expected = task.result(episode)
    if not equal(expected, result):
        shown = f"{expected:g}" if isinstance(expected, float) else f"{expected}"
        findings.add(
            "result", f"{task.function} returned {result!r}, expected {task.meaning}, {shown}"
        )


def share_an_observation(played: list[RecordedEpisode], transcript: Transcript) -> bool:
    asked = np.array(transcript.observations)
    return any(
        np.isclose(asked, np.ravel(observation), rtol=1e-5, atol=1e-6).all(axis=1).any()
        for episode in played
        for observation in episode.observations
        if asked.ndim == 2 and asked.shape[1] == np.size(observation)
    )


class _SeededEnv(gym.Wrapper):
    """Resets with a seed of ours, whatever the player says: the grader chooses the episodes."""

    def __init__(self, env: gym.Env, seed: int | None):
        super().__init__(env)
        self._seed = seed

    def reset(self, *, seed=None, options=None):
        return self.env.reset(seed=seed if self._seed is None else self._seed, options=options)
