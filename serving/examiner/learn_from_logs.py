"""Lesson 03: what the examiner asks. A method for each graded cell, by its grade_id."""

from __future__ import annotations

import functools
from pathlib import Path

from serving import ROOT
from serving.evaluation import evaluate, frozen_policy, time_limit
from serving.examiner.exam import Exam, NotLearned
from serving.examiner.examination import Examination, Look
from serving.exercises.learn_from_logs import (
    TOPICS,
    WEIGHT_TOPICS,
    WEIGHTS,
    watch_replay,
    watch_weights,
)
from serving.logs import Episode, read_log
from serving.pong import PongEnv
from serving.running_server import wait_until


class ReplayExam(Exam):
    """Lets the function `replay` of a notebook tell a fresh policy server about logs."""

    def require_replay(self, topic: str, episodes: list[Episode] | None = None) -> None:
        """Raises AssertionError with what is wrong about `topic`, one of `TOPICS`."""
        if self._findings is None:
            replay = self.function("replay")
            with self.playing():
                self._findings = watch_replay(replay, episodes, self.client)
        assert not self._findings.of(topic), f"{TOPICS[topic]}: {self._findings.of(topic)[0]}"

    def require_learning_from(
        self, log: str | Path, target: float, games: int = 20, seconds: float = 400.0
    ) -> None:
        """Raises AssertionError unless the policy, frozen and greedy, reaches a mean return of
        `target` in Pong after the function has replayed the log and the server has caught up."""
        episodes = list(read_log(log))
        for topic in ("steps", "rewards", "endings"):
            self.require_replay(topic, episodes[:3])
        self.with_luck(
            lambda: self._require_learning_from(episodes, target, games, seconds), servers=2
        )

    def _require_learning_from(
        self, episodes: list[Episode], target: float, games: int, seconds: float
    ) -> None:
        before = self.client.status().logged_steps
        with self.playing(), time_limit(seconds, "replay(episodes)"):
            self.function("replay")(episodes)
        steps = sum(map(len, episodes))
        told = self.client.status().logged_steps - before
        assert told == steps, f"the log has {steps} steps, and the server was told of {told}"
        wait_until(
            self.client, lambda status: status.state == "idle", seconds, "the learner to catch up"
        )
        policy = frozen_policy(self.client)
        returns = evaluate(policy, PongEnv, games, 30_000)
        mean = sum(returns) / len(returns)
        self.looks.append(Look(steps, mean, policy))
        if mean < target:
            raise NotLearned(
                f"after your replay of {len(episodes)} games the policy reaches a mean return of "
                f"{mean:.1f}, expected {target:g}"
            )


class LearnFromLogs(Examination):
    """Logs that were drawn for this submission, and one that Pong can be learned from."""

    @functools.cached_property
    def exam(self) -> ReplayExam:
        return self.closing(
            ReplayExam(self.notebook, observation_size=3, action_size=4, learner=False)
        )

    def test_steps(self) -> None:
        self._require("steps")

    def test_rewards(self) -> None:
        self._require("rewards")

    def test_endings(self) -> None:
        self._require("endings")

    def test_result(self) -> None:
        self._require("result")

    def test_elsewhere(self) -> None:
        elsewhere = self.closing(
            ReplayExam(self.notebook, observation_size=6, action_size=2, learner=False)
        )
        for topic in TOPICS:
            elsewhere.require_replay(topic, self.a_log((3, 17, 2), size=6, actions=2))
        with elsewhere.playing():
            answer = self.asked(elsewhere.function("replay"), [])
        assert answer == 0, f"replay of no episodes returned {answer!r}, expected 0"

    def test_weights(self) -> None:
        drawn = [self.rng.uniform(0.2, 0.9, (2, n)).round(3).tolist() for n in (1, 7, 30)]
        cases = [
            *WEIGHTS,
            ([0.1] * 20, [0.2] * 20),
            ([0.0, 1.0], [0.5, 0.5]),
            *((pi, mu) for pi, mu in drawn),
        ]
        findings = watch_weights(self.function("importance_weight"), cases)
        Exam.require_none(findings, "weights", WEIGHT_TOPICS)

    def test_learning(self) -> None:
        exam = ReplayExam(self.notebook, observation_size=8, action_size=3, updates_per_step=0.15)
        log = ROOT / "serving" / "data_large.gz"
        self.closing(exam).require_learning_from(log, target=-1.0, seconds=600)

    def a_log(
        self, lengths: tuple[int, ...] = (40, 1, 730, 9), size: int = 3, actions: int = 4
    ) -> list[Episode]:
        """Invented episodes of so many steps; every second one is cut short."""
        episodes = [
            [
                {
                    "obs": self.rng.uniform(-1, 1, size).round(5).tolist(),
                    "action": int(self.rng.integers(actions)),
                    "reward": round(float(self.rng.normal()), 3),
                }
                for _ in range(length)
            ]
            for length in lengths
        ]
        for episode in episodes[1::2]:
            episode[-1]["truncated"] = True
        return episodes

    def _require(self, topic: str) -> None:
        self.exam.require_replay(topic, self.a_log())
