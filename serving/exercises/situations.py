"""Situations in which an answer has to be right.

A policy that has just begun to learn meets short episodes that end by a fall, and a mistake in the
rest never shows. So answers are also tried in environments of the check's own, where chance decides
how long an episode lasts, what it pays and how it ends, and no skill of a policy's matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import gymnasium as gym
import numpy as np

from serving.client import PolicyClient
from serving.exercises.findings import Findings
from serving.exercises.played_episodes import SECONDS_FOR_AN_EPISODE, Task, watch


class DrawnEpisodes(gym.Env):
    """Episodes of given lengths and endings; everything else is drawn, whatever is done.

    lengths, endings
        of the first episode, the second, ..., and from the beginning again. An ending is
        `terminated`, `truncated`, or `both`: a fall in the very step in which the time is up.
    uneven
        rewards of all sizes and signs instead of 1 for each step
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        lengths: Sequence[int],
        endings: Sequence[str],
        uneven: bool = False,
    ):
        self.observation_space = gym.spaces.Box(-10, 10, (observation_size,), np.float32)
        self.action_space = gym.spaces.Discrete(action_size)
        self._lengths, self._endings, self._uneven = lengths, endings, uneven
        self._episode = -1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._episode, self._step = self._episode + 1, 0
        return self._look(), {}

    def step(self, action):
        if not self.action_space.contains(int(action)):
            raise ValueError(f"action {action!r} is none of {self.action_space}")
        self._step += 1
        ended = self._step == self._lengths[self._episode % len(self._lengths)]
        ending = self._endings[self._episode % len(self._endings)] if ended else ""
        reward = round(float(self.np_random.normal(-0.2, 1.0)), 3) if self._uneven else 1.0
        return self._look(), reward, ending in ("terminated", "both"), ending in ("truncated", "both"), {}  # fmt: skip

    def _look(self) -> np.ndarray:
        return self.np_random.uniform(-10, 10, self.observation_space.shape).astype(np.float32)


@dataclass(frozen=True)
class Situation:
    """Episodes a function is to play.

    name
        completes "The function plays ...", and begins every sentence about what was found there
    arguments
        of the function, besides the environment
    topic
        the one under which everything falls that is found here; None: each finding has its own
    """

    name: str
    make_env: Callable[[], gym.Env]
    episodes: int = 1
    arguments: dict = field(default_factory=dict)
    topic: str | None = None


def examine(
    play: Callable,
    situations: Iterable[Situation],
    client: PolicyClient,
    task: Task,
    topics: Iterable[str],
    seed: int = 0,
    seconds: float = SECONDS_FOR_AN_EPISODE,
) -> Findings:
    """Lets the function play in all situations; about each of the `topics` one sentence at most, from
    the first situation in which it is not right."""
    findings, topics = Findings(), list(topics)
    for number, situation in enumerate(situations):
        if all(findings.of(topic) for topic in topics):
            break
        found = watch(
            play, situation.make_env(), client, situation.episodes, seed + 100 * number, seconds,
            task=task, **situation.arguments,
        )  # fmt: skip
        for topic, sentences in found.by_topic.items():
            topic = situation.topic or topic
            if sentences and not findings.of(topic):
                findings.add(topic, f"{situation.name}: {sentences[0]}")
        if found.stopped:
            for topic in topics:
                if not findings.of(topic):
                    findings.add(topic, f"{situation.name}: {found.of()[0]}")
            findings.stopped = True
            break
    return findings
