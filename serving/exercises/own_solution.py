"""Lesson 05: what is done in an environment of the student's own: learning it with RLlib, serving it.

As in `own_environment`, nothing here knows what the environment is about.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import tempfile
from collections.abc import Callable, Iterator
from unittest import mock

import gymnasium as gym
import numpy as np

from serving.client import PolicyClient
from serving.evaluation import time_limit
from serving.exercises.own_environment import (
    MOST_STEPS,
    NotAnEnvironment,
    at_random,
    check_spaces,
    examine,
    make,
    returns_of,
    simple_policies,
)
from serving.exercises.serve_and_learn import TOPICS as LOOP_TOPICS
from serving.exercises.serve_and_learn import Findings, explain, watch
from serving.exercises.visible import a_server_for, is_alone, require_all, show

LEARNER_TOPICS = {
    "plays": "it plays the environments it is given, as many iterations as it is told",
    "greedy": "it returns a greedy policy",
}
LEARNED_TOPICS = {
    "greedy": LEARNER_TOPICS["greedy"],
    "random": "its policy earns more than random actions",
    "observing": "its policy earns more than each action taken throughout",
}
SIZES_TOPICS = {"sizes": "the sizes are read from the spaces"}
SECONDS_TO_LEARN = 240.0
STEPS_OF_ONE_ITERATION = 10_000


@contextlib.contextmanager
def no_folder_at_home() -> Iterator[None]:
    """RLlib makes a folder for each algorithm, in ~/ray_results; here it is a passing one."""
    from ray.tune.trainable import trainable

    with (
        tempfile.TemporaryDirectory(prefix="rllib-", ignore_cleanup_errors=True) as folder,
        mock.patch.object(trainable, "DEFAULT_STORAGE_PATH", folder),
    ):
        yield


def check_learning(learn: Callable, env_class: type[gym.Env]) -> Callable | None:
    """Runs `learn(env_class)`, compares the policy it returns with thoughtless ones, prints what is
    right and what is not, and returns the policy; None, with a sentence, if there is none."""
    if is_alone():
        print("Nothing is learned here while a notebook is graded or validated.")
        return None
    if any(wrong := examine(env_class).by_topic.values()):
        print(f"✗ first make the environment right: {next(filter(None, wrong))[0]}")
        return None
    try:
        with no_folder_at_home():
            act = learn(env_class)
    except KeyboardInterrupt:
        print("Stopped. What was learned is gone; run the cell again to begin anew.")
        return None
    except NotImplementedError as error:
        print(f"✗ {explain(error, 'learn')}")
        return None
    findings, figures = compare_with_thoughtless(act, env_class)
    show(lambda: findings, LEARNED_TOPICS, figures)
    return act if callable(act) else None


show_learning = check_learning  # its name in notebooks that were handed out before


def compare_with_thoughtless(act, env_class: type[gym.Env]) -> tuple[Findings, str]:
    """(findings about LEARNED_TOPICS, a table of mean returns)."""
    findings = Findings()
    if wrong := wrong_policy(act, env_class):
        for topic in LEARNED_TOPICS:
            findings.add(topic, wrong)
        return findings, "Asking the policy that was learned ..."
    means = {
        name: statistics.mean(returns_of(env_class, policy, 20, seed=0))
        for name, policy in {"learned": act, **simple_policies(env_class)}.items()
    }
    for name, mean in means.items():
        if name != "learned" and means["learned"] <= mean:
            findings.add(
                "random" if name == "at random" else "observing",
                f"who acts {name} earns {mean:.2f}, and what was learned {means['learned']:.2f}: more "
                "iterations, or another environment?",
            )
    rows = [f"  {name:10} {mean:8.2f}" for name, mean in means.items()]
    return findings, "\n".join(["Mean return of 20 episodes:", *rows])


counted: list[None] = []  # an entry for each step of the environment that is learned


def count_a_step() -> None:
    """A running Ray copies environments by pickling them, with all they refer to but functions of
    modules: a count in the environment, or beside it, would be the copy's."""
    counted.append(None)


def examine_learner(learn: Callable, env_class: type[gym.Env]) -> Findings:
    """Lets the function learn for one iteration; topics are LEARNER_TOPICS."""
    findings = Findings()
    if wrong := [s for sentences in examine(env_class).by_topic.values() for s in sentences]:
        for topic in LEARNER_TOPICS:
            findings.add(topic, f"first make the environment right: {wrong[0]}")
        return findings

    class Counted(gym.Wrapper):
        def __init__(self):
            super().__init__(env_class())

        def step(self, action):
            count_a_step()
            return self.env.step(action)

    counted.clear()
    try:
        with time_limit(SECONDS_TO_LEARN, "learn(env_class, 1)"), no_folder_at_home():
            act = learn(Counted, 1)
        steps = len(counted)
        if not steps:
            findings.add("plays", "learn was given an environment class and made no step in it")
        elif steps > STEPS_OF_ONE_ITERATION:
            findings.add(
                "plays",
                f"learn(env_class, 1) made {steps:,} steps, expected one iteration of at most "
                f"{STEPS_OF_ONE_ITERATION:,}: call algo.train() `iterations` times",
            )
        if wrong := wrong_policy(act, env_class):
            findings.add("greedy", wrong)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the student's code
        for topic in LEARNER_TOPICS:
            findings.add(topic, explain(error, "learn"))
    return findings


def wrong_policy(act, env_class: type[gym.Env]) -> str:
    """What keeps this from being a greedy policy of the environment, in words; "" if nothing."""
    if not callable(act):
        return (
            f"learn returned {act!r}, expected a function that is given an observation and returns "
            "an action"
        )
    env = env_class()
    actions = int(env.action_space.n)
    random, seen = at_random(actions, 4), []
    for seed in range(20):
        seen.append(env.reset(seed=seed)[0])
        seen.append(env.step(random(seen[-1]))[0])
    for observation in seen:
        try:
            answers = [act(observation.copy()) for _ in range(5)]
        except Exception as error:  # noqa: BLE001 - it is the student's code
            return explain(error, "act(observation)")
        for answer in answers:
            if not isinstance(answer, (int, np.integer)) or not 0 <= answer < actions:
                return (
                    f"act({observation}) returned {answer!r}, expected an action as a number, 0 to "
                    f"{actions - 1}: int(...)"
                )
        if len(set(answers)) > 1:
            return (
                f"act({observation}) returned {answers} when it was asked five times: take the "
                "action with the largest output, do not draw one"
            )
    return ""


def require_learner(learn: Callable, env_class: type[gym.Env]) -> None:
    """Raises AssertionError with what is wrong with `learn`, as far as one iteration shows."""
    require_all(lambda: _examined(learn, env_class), LEARNER_TOPICS)


_latest: list = []  # what was examined last: three graded cells ask about the same function


def _examined(learn: Callable, env_class: type[gym.Env]) -> Findings:
    if _latest[:2] != [learn, env_class]:
        _latest[:] = [learn, env_class, examine_learner(learn, env_class)]
    return _latest[2]


class Blank(gym.Env):
    """Nothing but two spaces."""

    def __init__(self, numbers: int, actions: int):
        self.observation_space = gym.spaces.Box(-1, 1, (numbers,), np.float32)
        self.action_space = gym.spaces.Discrete(actions)


def examine_sizes(sizes: Callable, env_class: type[gym.Env]) -> Findings:
    """Compares with the spaces of the student's environment and of others; topics: SIZES_TOPICS."""
    findings = Findings()
    try:
        own = make(env_class)
        check_spaces(own)
    except NotAnEnvironment as broken:
        findings.add("sizes", f"first make the environment right: {broken}")
        return findings
    for env in (own, *(Blank(n, k) for n, k in ((7, 3), (1, 5), (3, 2)))):
        expected = (env.observation_space.shape[0], int(env.action_space.n))
        try:
            answer = sizes(env)
            right = tuple(int(number) for number in answer) == expected
        except Exception as error:  # noqa: BLE001 - it is the student's code
            findings.add("sizes", explain(error, "sizes(env)"))
            return findings
        if not right:
            findings.add(
                "sizes",
                f"sizes(env) returned {answer!r} for {env.observation_space} and "
                f"{env.action_space}, expected {expected}",
            )
            return findings
    return findings


def check_sizes(sizes: Callable, env_class: type[gym.Env]) -> bool:
    """Asks for the sizes of four environments, and prints what is right and what is not."""
    says = "Your environment, and three others ..."
    return show(lambda: examine_sizes(sizes, env_class), SIZES_TOPICS, says)


def require_sizes(sizes: Callable, env_class: type[gym.Env]) -> None:
    """Raises AssertionError with what is wrong about the sizes."""
    require_all(lambda: examine_sizes(sizes, env_class), SIZES_TOPICS)


class StandIn(gym.Env):
    """Has the spaces of another environment, and episodes of given lengths and endings: what is
    observed and paid is drawn. A loop that plays one plays the other."""

    def __init__(self, env: gym.Env, lengths: tuple[int, ...], endings: tuple[str, ...]):
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self._episodes = zip(itertools.cycle(lengths), itertools.cycle(endings))
        self._rng = np.random.default_rng(9)

    def reset(self, *, seed=None, options=None):
        self._left, self._ending = next(self._episodes)
        return self._look(), {}

    def step(self, action):
        self._left -= 1
        terminated = not self._left and self._ending != "truncated"
        truncated = not self._left and self._ending != "terminated"
        return self._look(), round(float(self._rng.normal()), 3), terminated, truncated, {}

    def _look(self) -> np.ndarray:
        space = self.observation_space
        return self._rng.uniform(space.low, space.high).astype(space.dtype)


def examine_loop(
    run_one_episode: Callable, env_class: type[gym.Env], client: PolicyClient
) -> Findings:
    """Episodes of the student's environment, and of its stand-in: of one step and of as many as
    there may be, with both endings. Topics are `serve_and_learn.TOPICS`."""
    env = env_class()
    endings = ("terminated", "truncated", "both")
    for played, episodes in (
        (env, 2),
        (StandIn(env, (1, 4, 6, 1), endings), 4),
        (StandIn(env, (MOST_STEPS,), endings), 2),
    ):
        findings = watch(run_one_episode, played, client, episodes)
        if findings:
            break
    return findings


def check_loop(run_one_episode: Callable, env_class: type[gym.Env]) -> bool:
    """Plays a few episodes against a server of its own, and prints what is right and what is not."""
    says = "Playing short and long episodes, against a policy server of this check's own ..."
    return show(lambda: _of_loop(run_one_episode, env_class), LOOP_TOPICS, says)


def require_loop(run_one_episode: Callable, env_class: type[gym.Env]) -> None:
    """Raises AssertionError with what is wrong about the loop."""
    require_all(lambda: _of_loop(run_one_episode, env_class), LOOP_TOPICS)


def _of_loop(run_one_episode: Callable, env_class: type[gym.Env]) -> Findings:
    findings = Findings()
    if wrong := [s for sentences in examine(env_class).by_topic.values() for s in sentences]:
        for topic in LOOP_TOPICS:
            findings.add(topic, f"first make the environment right: {wrong[0]}")
        return findings
    env = env_class()
    numbers, actions = env.observation_space.shape[0], int(env.action_space.n)
    with a_server_for(run_one_episode, numbers, actions) as client:
        return examine_loop(run_one_episode, env_class, client)
