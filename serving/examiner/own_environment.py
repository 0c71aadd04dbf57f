"""Lesson 05: what the examiner asks of whatever environment a student invents.

    exam = EnvironmentExam(notebook)
    exam.require("seed")       # raises AssertionError with a sentence for the student
    exam.require_learner()
    exam.require_solved()

Nothing that the student's code says of itself counts: the grader makes fresh environments, resets
them with seeds of its own, and plays the policies itself, the learned and the thoughtless ones on
the same seeds.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import logging
import math
import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterator

import gymnasium as gym
import numpy as np

from serving.evaluation import time_limit
from serving.examiner.exam import Exam
from serving.examiner.examination import Examination
from serving.examiner.stand_ins import Notebook
from serving.exercises.own_environment import TOPICS, examine, returns_of, simple_policies
from serving.exercises.own_solution import (
    STEPS_OF_ONE_ITERATION,
    examine_loop,
    examine_sizes,
    no_folder_at_home,
    wrong_policy,
)
from serving.exercises.serve_and_learn import Findings, explain
from serving.policy import Policy
from serving.ray_cluster import attach_ray, without_stderr

ENV, LEARN = "MyEnv", "learn"
EPISODES = 60  # that two policies are compared in
CLEARLY = 4.0  # standard errors
SECONDS_TO_LEARN = 240.0
SECONDS_FOR_ANOTHER_TRY = 60.0  # who needed longer does not learn once more
LEAD_OF_SERVED, LEARNED_STEPS = 5.0, 1_000


class Relabelled(gym.Wrapper):
    """The student's environment, which counts steps, with its actions numbered the other way round
    if `reverse`.

    Who learns does not notice; who knows the answer beforehand gets everything wrong.
    """

    make: Callable[[], gym.Env] | None = None
    reverse = True
    steps = 0

    def __init__(self, config=None):
        if Relabelled.make is None:
            raise RuntimeError("this environment can only be played in the notebook's own process: "
                               "use .env_runners(num_env_runners=0)")  # fmt: skip
        super().__init__(Relabelled.make())

    def step(self, action):
        Relabelled.steps += 1
        action = int(action)
        return self.env.step(int(self.action_space.n) - 1 - action if self.reverse else action)


class NotSolved(AssertionError):
    """What was learned is no better than luck; the next time it may be."""


class EnvironmentExam:
    """Looks at the notebook's `MyEnv` and `learn`.

    namespace: the notebook's variables; needs_ray: whether `learn` is to find a Ray attached.
    """

    def __init__(self, namespace: dict, needs_ray: bool = True):
        self.namespace = namespace
        self.needs_ray = needs_ray
        self._served: ServedExam | None = None
        self._findings: Findings | None = None
        self._solved: Callable | AssertionError | None = None  # see `_learn_to_solve`
        self._failure: AssertionError | None = None  # of `learn`, which is not run again then
        self._steps_of_one = 0

    @property
    def env_class(self) -> type[gym.Env]:
        env_class = self.namespace.get(ENV)
        assert env_class is not None, f"there is no class {ENV} in this notebook"
        return env_class

    def require(self, topic: str) -> None:
        """Raises AssertionError with what is wrong about `topic`, one of `env_checks.TOPICS`."""
        if self._findings is None:
            with quietly():
                self._findings = examine(self.env_class)
        sentences = self._findings.by_topic.get(topic)
        assert not sentences, f"{TOPICS[topic]}: {sentences[0]}"

    def require_playable(self) -> None:
        """Raises AssertionError unless there is something that could be learned."""
        for topic in ("spaces", "episodes", "reward"):
            try:
                self.require(topic)
            except AssertionError as wrong:
                raise AssertionError(f"first make the environment right. {wrong}") from None

    def require_learner(self) -> None:
        """`learn(env_class, 1)` plays the class it is given and returns a greedy policy."""
        self.require_playable()
        steps, act = self._learn(1)
        assert steps, (
            f"{LEARN} was given an environment class and made no step in it: give RLlib the class "
            f"`env_class`, not {ENV}, and call algo.train()"
        )
        assert steps <= STEPS_OF_ONE_ITERATION, (
            f"{LEARN}(env_class, 1) made {steps:,} steps, expected one iteration of at most "
            f"{STEPS_OF_ONE_ITERATION:,}: call algo.train() `iterations` times"
        )
        self._require_policy(act)
        self._steps_of_one = steps

    def require_solved(self) -> None:
        """What `learn(env_class)` returns earns clearly more than random actions.

        It has to be so twice, with actions numbered in reverse and as they are. In small
        environments one network of ten that has learned nothing is clearly better than chance
        (of 60 untrained ones 3 to 8, in those of the tests); but the same weights are so in one of
        the numberings only. Learning has bad luck, too, so who fails may learn once more.
        """
        self.require_playable()
        if self._solved is None:
            self._solved = self._learn_to_solve()
        if isinstance(self._solved, AssertionError):
            raise self._solved

    def require_observing(self) -> None:
        """What is observed matters: no single action does as well throughout."""
        self.require_solved()
        constants = simple_policies(self.env_class)
        del constants["at random"]
        with self._relabelled():
            means = {
                name: statistics.mean(returns_of(Relabelled, act, EPISODES, seed=40_000))
                for name, act in constants.items()
            }
        best = max(means, key=means.get)
        mean, other, lead = self._compare(self._solved, constants[best])
        last = int(self.env_class().action_space.n) - 1
        assert lead >= CLEARLY / 2, (
            f"whoever always takes action {last - int(best.split()[-1])}, without looking, earns "
            f"{other:.3g}, and your policy {mean:.3g}: then what is observed does not matter. "
            "Change the environment so that the right action depends on what is seen, or learn "
            "for longer"
        )

    def require_sizes(self) -> None:
        """`sizes(env)` reads both numbers from the spaces."""
        sizes = self.namespace.get("sizes")
        assert callable(sizes), "there is no function sizes in this notebook"
        self.require("spaces")
        with quietly():
            findings = examine_sizes(sizes, self.env_class)
        assert not findings.by_topic, findings.by_topic["sizes"][0]

    def serve(self) -> ServedExam:
        """An exam with a fresh policy server that fits the student's environment."""
        self.require_playable()
        if self._served is None:
            env = self.env_class()
            self._served = ServedExam(
                self.namespace,
                env.observation_space.shape[0],
                int(env.action_space.n),
                self.env_class,
            )
        return self._served

    def close(self) -> None:
        """Ends the policy server, if there is one."""
        if self._served is not None:
            self._served.close()
            self._served = None

    @contextlib.contextmanager
    def _learning(self, seed: int | None) -> Iterator[None]:
        """While the block runs, the notebook's process can learn with RLlib."""
        if isinstance(self.namespace, Notebook):
            with self.namespace.learning_alone(seed):
                yield
            return
        if self.needs_ray:
            attach()
        if seed is not None:
            import torch

            for begin in (random.seed, np.random.seed, torch.manual_seed):
                begin(seed)
        with no_folder_at_home():
            yield

    def _learn(
        self, *iterations: int, reverse: bool = True, seed: int | None = None
    ) -> tuple[int, Callable]:
        """Steps that were made by the student's function, and what it returned."""
        learn = self.namespace.get(LEARN)
        assert callable(learn), f"there is no function {LEARN} in this notebook"
        if self._failure:
            raise self._failure
        with self._relabelled(reverse), quietly(), self._learning(seed):
            Relabelled.steps = 0
            try:
                with time_limit(SECONDS_TO_LEARN, f"{LEARN}()"):
                    act = learn(Relabelled, *iterations)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the student's code
                self._failure = AssertionError(explain(error, LEARN))
                raise self._failure from None
            return Relabelled.steps, act

    def _learn_to_solve(self) -> Callable | AssertionError:
        """The policy learned with actions in reverse, or why there is none."""
        started = time.monotonic()
        for seed in range(2):
            try:
                return self._solution(seed)
            except AssertionError as wrong:
                failure = wrong
            late = time.monotonic() - started > SECONDS_FOR_ANOTHER_TRY
            if late or not isinstance(failure, NotSolved):
                break
        return failure

    def _solution(self, seed: int) -> Callable:
        """The same, from one try at each of the numberings, which begin with the same luck."""
        random_actions, acts = simple_policies(self.env_class)["at random"], []
        for reverse in (True, False):
            acts.append(self._learned(reverse, seed))
            mean, other, lead = self._compare(acts[-1], random_actions, reverse)
            if lead < CLEARLY:
                again = "" if reverse else ", when it had been learned once more,"
                raise NotSolved(
                    f"in {EPISODES} episodes of the grader's own your policy{again} earned "
                    f"{mean:.3g} on average, and random actions {other:.3g}: that is no clear "
                    f"difference (a lead of {lead:.1f} standard errors, expected {CLEARLY:g}). If "
                    f"it is meant to be learnable, let {LEARN} make more iterations, or raise the "
                    "learning rate"
                )
        return acts[0]

    def _learned(self, reverse: bool, seed: int) -> Callable:
        """The policy after as many iterations as the student's function makes by itself."""
        steps, act = self._learn(reverse=reverse, seed=seed)
        self._require_policy(act)
        default = inspect.signature(self.namespace[LEARN]).parameters.get("iterations")
        default = default.default if default else None
        if isinstance(default, int) and default > 1 and self._steps_of_one:
            assert steps > 1.5 * self._steps_of_one, (
                f"{LEARN}(env_class) made {steps:,} steps, and {LEARN}(env_class, 1) "
                f"{self._steps_of_one:,}: call algo.train() `iterations` times"
            )
        return act

    def _require_policy(self, act) -> None:
        """A function of an observation, greedy, with valid actions for answers."""
        with self._relabelled(), quietly():
            wrong = wrong_policy(act, Relabelled)
        assert not wrong, wrong

    def _compare(
        self, act: Callable, other: Callable, reverse: bool = True
    ) -> tuple[float, float, float]:
        """Both policies' mean returns on the same seeds, and `lead_of` the first."""
        with self._relabelled(reverse), quietly():
            try:
                with time_limit(60, f"{2 * EPISODES} episodes with your policy"):
                    ours, theirs = compare(Relabelled, act, other, EPISODES, seed=30_000)
            except Exception as error:  # noqa: BLE001 - it is the student's code
                raise AssertionError(explain(error, "playing with your policy")) from None
        return float(ours.mean()), float(theirs.mean()), lead_of(ours, theirs)

    @contextlib.contextmanager
    def _relabelled(self, reverse: bool = True) -> Iterator[None]:
        before = Relabelled.make, Relabelled.reverse
        Relabelled.make, Relabelled.reverse = self.env_class, reverse
        try:
            yield
        finally:
            Relabelled.make, Relabelled.reverse = before


class ServedExam(Exam):
    """The student's loop teaches a fresh policy server the student's environment."""

    measure = "a lead over random actions, in standard errors,"
    _looks = 0

    def _watch(self) -> Findings:
        with self.playing():
            return examine_loop(self.function("run_one_episode"), self.make_env, self.client)

    def judge(self, policy: Policy) -> float:
        """The lead of the frozen, greedy policy; other seeds at each look, so that one of many
        looks does not pass by luck, and nothing before something was learned."""
        if self.client.status().env_steps < LEARNED_STEPS or not policy.version:
            return 0.0
        self._looks += 1
        seed = 60_000 + 100 * self._looks
        random = simple_policies(self.make_env)["at random"]
        with quietly():
            returns = compare(
                self.make_env, lambda seen: policy.act(seen, 0, None).action, random, 30, seed
            )
        return lead_of(*returns)

    def require_served(self, most_steps: int = 15_000, seconds: float = 400.0) -> None:
        """Raises AssertionError unless the policy becomes clearly better than random actions."""
        self.require_learning(LEAD_OF_SERVED, most_steps, seconds)


def compare(
    env_class, act: Callable, other: Callable, episodes: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns of both policies on the same seeds, (episodes,) each. It is drawn who plays first: an
    environment that pays more from game to game, or less, favours neither."""
    returns, order = np.zeros((2, episodes)), np.random.default_rng(seed)
    for number in range(episodes):
        for player in order.permutation(2):
            policy = (act, other)[player]
            (returns[player, number],) = returns_of(env_class, policy, 1, seed + number)
    return returns[0], returns[1]


def lead_of(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The mean of the differences in standard errors of that mean (a paired t statistic); at most
    99, which is what is said of differences that are all the same."""
    difference = ours - theirs
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    mean = float(difference.mean())
    if abs(mean) < 1e-9:
        return 0.0
    return float(np.clip(mean / max(error, 1e-12), -99, 99))


class OwnEnvironment(Examination):
    """A method for each graded cell, by its grade_id."""

    @functools.cached_property
    def exam(self) -> EnvironmentExam:
        return self.closing(EnvironmentExam(self.notebook))

    def test_spaces(self) -> None:
        self.exam.require("spaces")

    def test_seed(self) -> None:
        self.exam.require("seed")

    def test_episodes(self) -> None:
        self.exam.require("episodes")

    def test_reward(self) -> None:
        self.exam.require("reward")

    def test_act(self) -> None:
        self.exam.require_learner()

    def test_solved(self) -> None:
        self.exam.require_solved()

    def test_observing(self) -> None:
        self.exam.require_observing()

    def test_sizes(self) -> None:
        self.exam.require_sizes()

    def test_loop(self) -> None:
        self.exam.serve().require_all()

    def test_served(self) -> None:
        self.exam.serve().require_served()


def attach() -> None:
    """Attaches this process to Ray, if it is not yet."""
    import ray

    if not ray.is_initialized():
        with quietly():
            attach_ray()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keeps what is printed, warned and logged out of the graded cell: progress is no mistake."""
    said, before = io.StringIO(), logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            without_stderr(),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
