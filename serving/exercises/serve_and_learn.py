"""Lesson 01: what the answers should look like, and what went wrong if they do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import gymnasium as gym
import numpy as np

from serving.client import PolicyClient
from serving.evaluation import RecordingEnv, time_limit
from serving.exercises.findings import Findings, equal, explain, report
from serving.exercises.played_episodes import (
    LATEST,
    RUN_ONE_EPISODE,
    SECONDS_FOR_AN_EPISODE,
    TOPICS,
    Task,
    compare_all,
    known_to,
    share_an_observation,
    watch,
)
from serving.exercises.situations import DrawnEpisodes, Situation, examine
from serving.exercises.visible import a_server_for, findings_of, require, require_all, show

__all__ = ["Findings", "Task", "compare_all", "equal", "report", "watch"]  # for the other lessons

CARTPOLE = (4, 2)  # numbers of an observation, actions
ELSEWHERE = (3, 3)
RUN_TOPICS = {
    **TOPICS,
    "elsewhere": "it plays another environment just as well",
    "training": "with training_enabled=False nothing is learned from the episode",
}
EVALUATION_TOPICS = {"evaluation": "greedy episodes to their end, that nobody learns from"}
SOLVED_TOPICS = {"solved": "the mean of the latest 20 returns decides, and nothing else"}
SECONDS_FOR_AN_ANSWER = 5.0
PLAY = dataclasses.replace(RUN_ONE_EPISODE, training="training")
LONGEST = 510  # steps of an episode: more than CartPole, or a cautious loop, would ever make


# -- run_one_episode --------------------------------------------------------------------------------


def examine_run_one_episode(
    run_one_episode: Callable, client: PolicyClient, seed: int = 0, longest: int = LONGEST
) -> Findings:
    """Episodes short and long, of both endings, with and without training, against a server of
    CartPole's sizes; topics are RUN_TOPICS but for `elsewhere`."""
    quiet = {"training_enabled": False}

    def drawn(*lengths: int, endings: str) -> Callable[[], gym.Env]:
        return lambda: DrawnEpisodes(*CARTPOLE, lengths, endings.split())

    def stopped_early() -> gym.Env:
        return gym.wrappers.TimeLimit(cart_pole(), max_episode_steps=7)

    situations = [
        Situation("in CartPole", cart_pole, episodes=2),
        Situation("in CartPole, cut short after 7 steps", stopped_early),
        Situation("in an episode of a single step", drawn(1, endings="terminated")),
        Situation("in a fall at the very last step", drawn(9, endings="both")),
        Situation(f"in a long episode, {longest} steps", drawn(longest, endings="truncated")),
        Situation("in a long episode that ends by a fall", drawn(230, endings="terminated")),
        Situation("in CartPole, training_enabled=False", cart_pole, 1, quiet),
        Situation(
            "in a long episode, training_enabled=False",
            drawn(220, endings="truncated"), 1, quiet,
        ),
    ]  # fmt: skip
    topics = [*TOPICS, "training"]
    return examine(run_one_episode, situations, client, PLAY, topics, seed)


def examine_elsewhere(run_one_episode: Callable, client: PolicyClient, seed: int = 0) -> Findings:
    """Episodes with uneven rewards, against a server of the sizes ELSEWHERE; topic `elsewhere`."""

    def drawn(*lengths: int, endings: str) -> Callable[[], gym.Env]:
        return lambda: DrawnEpisodes(*ELSEWHERE, lengths, endings.split(), uneven=True)

    situations = [
        Situation(
            "in an environment with other rewards",
            drawn(5, 11, 8, endings="terminated truncated both"), 3, topic="elsewhere",
        ),
        Situation(
            "in a long episode of an environment with other rewards",
            drawn(240, endings="truncated"), topic="elsewhere",
        ),
    ]  # fmt: skip
    return examine(run_one_episode, situations, client, RUN_ONE_EPISODE, ["elsewhere"], seed)


# -- evaluate_policy --------------------------------------------------------------------------------


def examine_evaluate_policy(
    evaluate_policy: Callable, client: PolicyClient, seed: int = 0
) -> Findings:
    """Evaluations of short and long episodes, against a server of CartPole's sizes; topic
    `evaluation`."""
    uneven = DrawnEpisodes(*CARTPOLE, (6, 230, 9, 4), ("terminated", "truncated", "both"), True)
    uneven.reset(seed=seed)
    for env, episodes in ((cart_pole(), 2), (uneven, 3), (uneven, 1)):
        findings = watch_evaluation(evaluate_policy, env, client, episodes)
        if findings:
            break
    return findings


def watch_evaluation(
    evaluate_policy: Callable, env: gym.Env, client: PolicyClient, episodes: int = 3
) -> Findings:
    """Lets the function evaluate, and looks at what the server saw of it; topic `evaluation`."""
    findings, recording = Findings(), RecordingEnv(env)
    known = known_to(client)
    try:
        with time_limit(SECONDS_FOR_AN_EPISODE, "evaluate_policy(env, episodes)"):
            returns = evaluate_policy(recording, episodes)
            returns = list(returns) if isinstance(returns, Iterator) else returns
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the student's code
        findings.add("evaluation", explain(error, "evaluate_policy"))
        return findings
    played = [episode for episode in recording.episodes if episode.actions]
    totals = [float(sum(episode.rewards)) for episode in played]
    transcripts = [
        t
        for t in client.episodes(last=LATEST).episodes
        if t.episode_id not in known and share_an_observation(played, t)
    ]
    if len(played) != episodes or not all(episode.done for episode in played):
        findings.add(
            "evaluation",
            f"evaluate_policy(env, {episodes}) played {len(played)} episodes, expected {episodes} "
            "to their end",
        )
    elif any(t.training_enabled for t in transcripts):
        findings.add(
            "evaluation",
            "the server learns from these episodes: start them with training_enabled=False",
        )
    elif [t.actions for t in transcripts] != [episode.actions for episode in played]:
        findings.add(
            "evaluation",
            "the environment was not played with the server's actions: ask get_action() each step",
        )
    elif any(t.ending is None for t in transcripts):
        findings.add("evaluation", "an episode was never ended: call end_episode() at its end")
    elif not equal(totals, returns if np.ndim(returns) else [returns]):
        findings.add(
            "evaluation", f"evaluate_policy returned {returns!r}, expected the list {totals}"
        )
    return findings


# -- solved -----------------------------------------------------------------------------------------

CASES = (
    [],
    [200.0],
    [200.0] * 19,
    [200.0] * 20,
    [195.0] * 20,
    [194.9] * 20,
    [20.0] * 100 + [195.0] * 20,
    [200.0] * 100 + [150.0] * 20,
    [200.0] * 19 + [99.0],
    [200.0] * 19 + [100.0],
    [190.0] * 30,
)


def examine_solved(solved: Callable, cases: Iterable[list[float]] = CASES) -> Findings:
    """Asks the function about lists of returns; topic `solved`."""
    findings = Findings()
    for returns in cases:
        latest = returns[-20:]
        mean = sum(latest) / max(1, len(latest))
        expected = len(returns) >= 20 and mean >= 195
        try:
            with time_limit(SECONDS_FOR_AN_ANSWER, "solved(returns)"):
                answer = solved(list(returns))
                right = bool(answer) == expected
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the student's code
            said = f"solved() of {len(returns)} returns: {explain(error, 'solved')}"
            findings.add("solved", said)
            break
        if not right:
            of = f", the latest {len(latest)} with a mean of {mean:.2f}," if returns else ""
            findings.add(
                "solved",
                f"solved() of {len(returns)} returns{of} is {answer!r}, expected {expected}",
            )
            break
    return findings


# -- what the lesson shows --------------------------------------------------------------------------


def check_run_one_episode(run_one_episode: Callable) -> bool:
    """Plays episodes of all kinds and prints what is right and what is not."""
    says = (
        "Playing a dozen episodes, short and long ones, against a policy server of this check's "
        "own ..."
    )
    return show(lambda: findings_of(run_one_episode, _of_run_one_episode), RUN_TOPICS, says)


def check_solved(solved: Callable) -> bool:
    """Asks the function about some lists of returns and prints what is right and what is not."""
    says = f"Asking about {len(CASES)} lists of returns ..."
    return show(lambda: examine_solved(solved), SOLVED_TOPICS, says)


def check_evaluate_policy(evaluate_policy: Callable) -> bool:
    """Evaluates a few episodes and prints what is right and what is not."""
    says = "Evaluating short and long episodes, against a policy server of this check's own ..."
    return show(lambda: _of_evaluate_policy(evaluate_policy), EVALUATION_TOPICS, says)


def require_run_one_episode(run_one_episode: Callable, *topics: str) -> None:
    """Raises AssertionError with what is wrong about these topics, which are RUN_TOPICS'."""
    for topic in topics or RUN_TOPICS:
        require(lambda: findings_of(run_one_episode, _of_run_one_episode), topic, RUN_TOPICS)


def require_solved(solved: Callable) -> None:
    """Raises AssertionError with the first answer that is wrong."""
    require_all(lambda: examine_solved(solved), SOLVED_TOPICS)


def require_evaluate_policy(evaluate_policy: Callable) -> None:
    """Raises AssertionError with what is wrong about an evaluation."""
    require_all(lambda: _of_evaluate_policy(evaluate_policy), EVALUATION_TOPICS)


def _of_run_one_episode(run_one_episode: Callable) -> Findings:
    with a_server_for(run_one_episode, *CARTPOLE) as client:
        findings = examine_run_one_episode(run_one_episode, client)
    if findings.stopped:
        return findings
    with a_server_for(run_one_episode, *ELSEWHERE) as client:
        findings.by_topic |= examine_elsewhere(run_one_episode, client).by_topic
    return findings


def _of_evaluate_policy(evaluate_policy: Callable) -> Findings:
    with a_server_for(evaluate_policy, *CARTPOLE) as client:
        return examine_evaluate_policy(evaluate_policy, client)


def cart_pole() -> gym.Env:
    """CartPole with 200 steps at most, as the lesson plays it."""
    return gym.make("CartPole-v1", max_episode_steps=200)
