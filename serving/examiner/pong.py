"""What the hidden tests of the Pong lesson call: as `serving.examiner.exam`, with games and points.

exam = PongExam(globals())
exam.require_server("start_server")
exam.require("calls")
"""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym
import numpy as np

from serving.evaluation import RecordingEnv
from serving.examiner.exam import Exam
from serving.exercises.pong import (
    PLAY_GAME,
    SERVER_TOPICS,
    SHARE_TOPICS,
    TRAIN_TOPICS,
    ShortGame,
    examine_play_game,
    examine_share,
    examine_train,
    points,
    try_command,
    watch_share,
    watch_train,
)
from serving.exercises.serve_and_learn import Findings, watch
from serving.policy import Policy
from serving.pong.env import ACTION_SIZE, OBSERVATION_SIZE, PongEnv

LONGEST_GAME = 3_000  # steps
STEPS_TO_TRAIN = 250  # a few short games
STEPS_A_LESSON = 1_000  # between two looks at the policy
GAMES_TO_JUDGE = 20
SEED_TO_JUDGE = 40_000


class PongExam(Exam):
    """Lets a notebook's `play_game`, `share_of_points` and `train` play against a fresh server."""

    teacher = "train"
    measure = "a share of points"

    def __init__(self, namespace: dict, **options):
        super().__init__(
            namespace, OBSERVATION_SIZE, ACTION_SIZE, PongEnv, task=PLAY_GAME, **options
        )
        self._shares: Findings | None = None
        self._trained: Findings | None = None

    def require_server(self, name: str) -> None:
        """Raises AssertionError unless the command in this variable starts a server for Pong."""
        command = self.namespace.get(name)
        assert isinstance(command, str), f"there is no command {name} in this notebook"
        findings = try_command(command)
        for topic in SERVER_TOPICS:
            self.require_none(findings, topic, SERVER_TOPICS)

    def require_result(self, make_env: Callable[[], gym.Env]) -> None:
        """Raises AssertionError unless `play_game` counts right, also in the games of `make_env`."""
        self.require("result")
        self.require_none(
            self.outliving(lambda: self._count(make_env())), "result", PLAY_GAME.topics
        )

    def require_share(self, topic: str, *make_envs: Callable[[], gym.Env]) -> None:
        """Raises AssertionError with what is wrong about `share_of_points` in these games."""
        if self._shares is None:
            self._shares = self.outliving(lambda: self._watch_shares(make_envs))
        self.require_none(self._shares, topic, SHARE_TOPICS)

    def require_training(self) -> None:
        """Raises AssertionError with what is wrong about `train`."""
        if self._trained is None:
            self._trained = self.outliving(self._watch_train)
        for topic in TRAIN_TOPICS:
            self.require_none(self._trained, topic, TRAIN_TOPICS)

    def teach(self, env: RecordingEnv) -> None:
        self.function("train")(env, STEPS_A_LESSON)

    def judge(self, policy: Policy) -> float:
        """The share of points that the policy wins."""
        env = RecordingEnv(self.make_env())
        for game in range(GAMES_TO_JUDGE):
            observation, _ = env.reset(seed=SEED_TO_JUDGE + game)
            while not env.episodes[-1].done:
                action = policy.act(observation, 0, None).action
                observation, *_ = env.step(action)
        won, lost = np.sum([points(game) for game in env.episodes], axis=0)
        return float(won / max(1, won + lost))

    def make_short_env(self) -> gym.Env:
        return ShortGame(self.make_env(), points=2)

    def _count(self, env: gym.Env) -> Findings:
        with self.playing():
            return watch(
                self.function("play_game"), env, self.client, episodes=4, seed=3_000,
                task=PLAY_GAME, training_enabled=False,
            )  # fmt: skip

    def _watch(self) -> Findings:
        """Games of all lengths and endings, one as long as a game of Pong may be."""
        with self.playing():
            return examine_play_game(self.function("play_game"), self.client, LONGEST_GAME)

    def _watch_shares(self, make_envs) -> Findings:
        function = self.function("share_of_points")
        with self.playing():
            findings = examine_share(function, self.client)
            for make_env in make_envs:
                if not findings:
                    findings = watch_share(function, make_env(), self.client, 6)
        return findings

    def _watch_train(self) -> Findings:
        function = self.function("train")
        with self.playing():
            findings = examine_train(function, self.client)
            if not findings:
                env = self.make_short_env()
                findings = watch_train(function, env, self.client, STEPS_TO_TRAIN)
        return findings
