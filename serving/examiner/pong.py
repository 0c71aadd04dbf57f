"""Lesson 02: what the examiner asks, as `serving.examiner.exam`, with games and points."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable

import gymnasium as gym
import numpy as np

from serving.evaluation import RecordingEnv
from serving.examiner.exam import Exam
from serving.examiner.examination import Examination
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
        findings = try_command(harmless(command))
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


def harmless(command: str) -> str:
    """The command, with all that it could touch in the folder it is tried in, on this machine."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command  # whoever tries it says so
    for word in words[2:]:
        value = word.partition("=")[2] or word
        assert not value.startswith(("/", "~")) and ".." not in value, (
            f"{word} is not tried: the server is to keep its file beside it"
        )
    return f"{command} --host=127.0.0.1"


class Lottery(gym.Env):
    """Looks like Pong; but what happens is drawn, whatever the paddle does."""

    observation_space, action_space = PongEnv().observation_space, PongEnv().action_space
    events = ("", "left hits", "right hits", "left scores", "right scores")
    chances = (0.3, 0.1, 0.2, 0.25, 0.15)

    def __init__(self, seed: int = 11):
        self.draws = np.random.default_rng(seed)

    def reset(self, *, seed=None, options=None):
        self.t, self.length, self.score = 0, int(self.draws.integers(3, 30)), [0, 0]
        return self.look(), {"event": "", "score": (0, 0)}

    def look(self) -> np.ndarray:
        return self.draws.uniform(-1, 1, OBSERVATION_SIZE).astype(np.float32)

    def step(self, action):
        self.t += 1
        event = str(self.draws.choice(self.events, p=self.chances))
        if event.endswith("scores"):
            self.score[event == "right scores"] += 1
        reward = {"right scores": 1.0, "left scores": -1.0, "right hits": 0.1}.get(event, 0.0)
        ended = self.t == self.length
        terminated = ended and self.length % 2 == 0
        info = {"event": event, "score": tuple(self.score)}
        return self.look(), reward, terminated, ended and not terminated, info


class Deadlock(Lottery):
    """Nobody ever scores."""

    chances = (0.5, 0.25, 0.25, 0, 0)


class Pong(Examination):
    """A method for each graded cell, by its grade_id."""

    @functools.cached_property
    def exam(self) -> PongExam:
        return self.closing(PongExam(self.notebook))

    def test_server(self) -> None:
        self.exam.require_server("start_server")

    def test_calls(self) -> None:
        self.exam.require("calls")

    def test_numbers(self) -> None:
        self.exam.require("numbers")

    def test_ending(self) -> None:
        self.exam.require("ending")

    def test_result(self) -> None:
        self.exam.require_result(self.lottery)

    def test_share(self) -> None:
        self.exam.require_share("share", self.lottery, Deadlock)

    def test_evaluation(self) -> None:
        self.exam.require_share("evaluation", self.lottery, Deadlock)

    def test_train(self) -> None:
        self.exam.require_training()

    def test_learning(self) -> None:
        self.exam.require_learning(target=0.25, most_steps=20_000)

    def lottery(self) -> gym.Env:
        return Lottery(self.seed)
