"""Lesson 05: what an environment of the student's own should be like, and what is wrong if it is not.

Works for any environment with small spaces: nothing here knows what it is about. The environment is
played, never read; each finding says what was expected, what was seen, and at which step.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env

from serving.evaluation import time_limit
from serving.exercises.findings import Findings, explain
from serving.exercises.visible import (
    findings_of,
    require,
    show,
)

TOPICS = {
    "spaces": "what is seen and what can be done is what its spaces say, and check_env passes",
    "seed": "the same seed and the same actions make the same episode, at any time",
    "episodes": "every episode ends, and not at once",
    "reward": "what you earn depends on what you do",
}
MOST_NUMBERS, MOST_ACTIONS, MOST_STEPS = 16, 8, 200
SECONDS_TO_EXAMINE = 30.0
RANDOM_EPISODES = 20
SEEDS = range(500, 506)  # of the episodes that are played again and again


@dataclass
class Played:
    """One episode: `observations` has a row more than there are actions."""

    observations: list[np.ndarray]
    actions: list[int]
    rewards: list[float]
    ended: bool = False

    @property
    def total(self) -> float:
        return float(sum(self.rewards))


class NotAnEnvironment(Exception):
    """What was seen breaks a rule; `topic` is one of TOPICS."""

    def __init__(self, topic: str, sentence: str):
        super().__init__(sentence)
        self.topic = topic


def examine(env_class: type[gym.Env], seconds: float = SECONDS_TO_EXAMINE) -> Findings:
    """Plays some hundred short episodes in fresh instances; a topic without a finding is right.

    What cannot be looked at because something else is broken counts as wrong, too.
    """
    findings = Findings()
    try:
        with time_limit(seconds, "playing some 100 episodes of your environment"):
            _examine(env_class, findings)
    except NotAnEnvironment as broken:
        for topic in TOPICS if broken.topic == "spaces" else (broken.topic,):
            findings.add(topic, str(broken))
    except TimeoutError as error:
        findings.add("episodes", f"{error}: is there a loop without an end, or a sleep?")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the student's code
        for topic in TOPICS:
            findings.add(topic, explain(error, "your environment"))
    return findings


def _examine(env_class: type[gym.Env], findings: Findings) -> None:
    env = make(env_class)
    check_spaces(env)
    actions = int(env.action_space.n)
    rng = np.random.default_rng(5)
    drawn = rng.integers(actions, size=MOST_STEPS).tolist()
    first = play(make(env_class), SEEDS[0], drawn)
    randomly = [
        play(make(env_class), 1_000 + n, rng.integers(actions, size=MOST_STEPS).tolist())
        for n in range(RANDOM_EPISODES)
    ]
    by_seed = [_try_everything(env_class, seed, actions, drawn) for seed in SEEDS]
    _check_episodes(randomly, by_seed[0][:actions], findings)
    _check_observations(randomly + [episode for tried in by_seed for episode in tried], findings)
    _check_seed(env_class, first, drawn, findings)
    _check_reward(by_seed, findings)
    _check_env(env, findings)


def make(env_class: type[gym.Env]) -> gym.Env:
    """A fresh instance; raises NotAnEnvironment if that is none."""
    if not (isinstance(env_class, type) and issubclass(env_class, gym.Env)):
        raise NotAnEnvironment("spaces", "expected a class: class MyEnv(gym.Env): ...")
    try:
        return env_class()
    except NotImplementedError as error:
        raise NotAnEnvironment("spaces", explain(error, f"{env_class.__name__}()")) from None
    except Exception as error:  # noqa: BLE001 - it is the student's code
        sentence = f"{explain(error, f'{env_class.__name__}()')}; it has to work without arguments"
        raise NotAnEnvironment("spaces", sentence) from None


def check_spaces(env: gym.Env) -> None:
    """Raises NotAnEnvironment unless both spaces are what this lesson plays with."""
    space, actions = (getattr(env, name, None) for name in ("observation_space", "action_space"))

    def wrong(sentence: str) -> NotAnEnvironment:
        return NotAnEnvironment("spaces", sentence)

    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
        raise wrong(
            f"observation_space is {space}; expected a row of numbers, such as "
            "gym.spaces.Box(-1, 1, (3,), np.float32), set in __init__"
        )
    if not 1 <= space.shape[0] <= MOST_NUMBERS:
        raise wrong(f"an observation has {space.shape[0]} numbers; expected 1 to {MOST_NUMBERS}")
    if not np.issubdtype(space.dtype, np.floating):
        raise wrong(f"observation_space holds {space.dtype}; expected np.float32")
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise wrong(f"observation_space is {space}: give bounds that are numbers, not infinite")
    if not isinstance(actions, gym.spaces.Discrete):
        raise wrong(f"action_space is {actions}; expected such as gym.spaces.Discrete(2)")
    if actions.start != 0:
        raise wrong(f"the first action of {actions} is {actions.start}; expected 0")
    if not 2 <= actions.n <= MOST_ACTIONS:
        raise wrong(f"there are {actions.n} actions; expected 2 to {MOST_ACTIONS}")


def play(env: gym.Env, seed: int | None, actions: list[int]) -> Played:
    """One episode with the given actions, at most as many steps; looks at all that comes back."""
    answer = env.reset(seed=seed)
    if not (isinstance(answer, tuple) and len(answer) == 2):
        raise NotAnEnvironment(
            "spaces", f"reset() returned {answer!r}; expected a pair: observation, {{}}"
        )
    _check_observation(env, answer[0], "reset()")
    episode = Played([np.array(answer[0])], [], [])
    for step, action in enumerate(actions):
        _step(env, episode, step, action)
        if episode.ended:
            break
    return episode


def _step(env: gym.Env, episode: Played, step: int, action: int) -> None:
    here = f"step {step} (action {action})"
    try:
        answer = env.step(action)
    except Exception as error:  # noqa: BLE001 - it is the student's code
        sentence = f"{here}: {explain(error, 'step()')}"
        raise NotAnEnvironment("spaces", sentence) from None
    if not (isinstance(answer, tuple) and len(answer) == 5):
        raise NotAnEnvironment(
            "spaces",
            f"{here} returned {answer!r}; expected observation, reward, terminated, truncated, {{}}",
        )
    observation, reward, terminated, truncated, _ = answer
    _check_observation(env, observation, here)
    if not isinstance(reward, (int, float, np.integer, np.floating)) or not np.isfinite(reward):
        raise NotAnEnvironment("spaces", f"the reward of {here} is {reward!r}; expected a number")
    for name, value in (("terminated", terminated), ("truncated", truncated)):
        if not isinstance(value, (bool, np.bool_)):
            raise NotAnEnvironment(
                "spaces", f"{name} of {here} is {value!r}; expected True or False"
            )
    episode.observations.append(np.array(observation))
    episode.actions.append(int(action))
    episode.rewards.append(float(reward))
    episode.ended = bool(terminated or truncated)


def _check_observation(env: gym.Env, observation, where: str) -> None:
    """Raises NotAnEnvironment unless the observation lies in the space."""
    space = env.observation_space
    if not isinstance(observation, np.ndarray):
        problem = f"is a {type(observation).__name__}; expected np.array([...], np.float32)"
    elif observation.shape != space.shape:
        problem = f"has the shape {observation.shape}; observation_space says {space.shape}"
    elif observation.dtype != space.dtype:
        problem = f"holds {observation.dtype}; observation_space says {space.dtype}"
    elif not np.isfinite(observation).all():
        problem = f"is {observation}: not a number"
    elif not space.contains(observation):
        outside = int(np.argmax((observation < space.low) | (observation > space.high)))
        problem = (
            f"leaves the space: number {outside} is {observation[outside]:g}, the bounds are "
            f"{space.low[outside]:g} and {space.high[outside]:g}; clip it, or widen the bounds"
        )
    else:
        return
    raise NotAnEnvironment("spaces", f"the observation of {where} {problem}")


def _check_env(env: gym.Env, findings: Findings) -> None:
    """Gymnasium's own verdict, in its words."""
    elsewhere = getattr(env, "checked_by_gymnasium", None)  # the environment of another process
    if said := elsewhere() if elsewhere else checked_by_gymnasium(env):
        about_seed = any(word in said for word in ("seed", "np_random", "eterministic"))
        topic = "seed" if about_seed else "episodes" if "1 step" in said else "spaces"
        findings.add(topic, f"check_env says: {said}")


def checked_by_gymnasium(env: gym.Env) -> str | None:
    """What check_env finds; None if that is nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_env(env, skip_render_check=True)
    except Exception as error:  # noqa: BLE001 - it raises whatever it found
        return str(error) or type(error).__name__
    return None


def _check_episodes(episodes: list[Played], monotonous: list[Played], findings: Findings) -> None:
    """episodes: of random actions; monotonous: one for each action, taken throughout."""
    endless = [episode for episode in episodes if not episode.ended]
    lengths = [len(episode.actions) for episode in episodes]
    if endless:
        findings.add(
            "episodes",
            f"{len(endless)} of {len(episodes)} episodes had not ended after {MOST_STEPS} steps of "
            "random actions: count the steps, and return truncated=True when the time is up",
        )
    elif endless := [e for e in monotonous if not e.ended]:
        findings.add(
            "episodes",
            f"an episode of nothing but action {endless[0].actions[0]} had not ended after "
            f"{MOST_STEPS} steps: count the steps, and return truncated=True when the time is up",
        )
    elif sum(length > 1 for length in lengths) < len(lengths) / 10:
        findings.add(
            "episodes",
            "nearly every episode of random actions is over after one step: then nothing is left "
            "to plan for. Let what one action does matter to the next",
        )


def _check_observations(episodes: list[Played], findings: Findings) -> None:
    seen = np.concatenate([episode.observations for episode in episodes])  # (steps, numbers)
    if (seen == seen[0]).all():
        findings.add(
            "spaces",
            f"every observation is {seen[0]}: whoever sees always the same cannot decide anything",
        )


def _try_everything(env_class, seed: int, actions: int, drawn: list[int]) -> list[Played]:
    """The same episode again and again: each action throughout, and two drawn sequences."""
    plans = [[np.int64(action)] * MOST_STEPS for action in range(actions)]
    return [play(make(env_class), seed, plan) for plan in (*plans, drawn, drawn[::-1])]


def _check_seed(env_class, first: Played, drawn: list[int], findings: Findings) -> None:
    """Plays `first` again in three ways; all of them have to be the same episode."""
    seed = SEEDS[0]
    if difference := difference_between(first, play(make(env_class), seed, drawn)):
        findings.add(
            "seed",
            f"the same seed and actions made two episodes: {difference}. Draw what is random from "
            "self.np_random, after super().reset(seed=seed), and keep nothing outside of self",
        )
        return
    used = make(env_class)
    play(used, seed + 1, list(reversed(drawn)))
    if difference := difference_between(first, play(used, seed, drawn)):
        findings.add(
            "seed",
            f"an episode depends on the one before it: {difference}. reset() has to put back all "
            "that step() changes",
        )
        return
    one, other = make(env_class), make(env_class)
    together, beside = play(one, seed, []), play(other, seed + 1, [])
    for step, action in enumerate(first.actions):
        if together.ended:
            break
        if not beside.ended:
            _step(other, beside, step, drawn[-1 - step])
        _step(one, together, step, action)
    if difference := difference_between(first, together):
        findings.add(
            "seed",
            f"two environments at the same time disturb each other: {difference}. Keep everything "
            "in self, nothing in the class or in global variables",
        )


def difference_between(first: Played, again: Played) -> str:
    """What differs, in words; empty if nothing does."""
    for step, (a, b) in enumerate(zip(first.observations, again.observations)):
        if not np.allclose(a, b, rtol=1e-6, atol=1e-9):
            return f"observation {step} was {a}, and then {b}"
    for step, (a, b) in enumerate(zip(first.rewards, again.rewards)):
        if not np.isclose(a, b, rtol=1e-6, atol=1e-9):
            return f"the reward of step {step} was {a:g}, and then {b:g}"
    if len(first.actions) != len(again.actions):
        return f"it lasted {len(first.actions)} steps, and then {len(again.actions)}"
    return ""


def _check_reward(by_seed: list[list[Played]], findings: Findings) -> None:
    """Same seed, other actions: at least once something else has to be earned."""
    if any(np.ptp([e.total for e in tried]) > 1e-6 for tried in by_seed):
        return
    tried = by_seed[0]
    ways, total = len(tried) * len(by_seed), tried[0].total
    if not any(any(episode.rewards) for tried in by_seed for episode in tried):
        findings.add(
            "reward",
            f"in {ways} episodes there was no reward at all: what nobody ever finds by chance "
            "cannot be learned. Put the aim nearer, or pay for getting closer",
        )
    else:
        findings.add(
            "reward",
            f"each episode was played in {len(tried)} ways, with the same seed and other actions, "
            f"and always earned the same (the first {total:g}): this reward is paid for nothing. "
            "Let the reward, or how long the episode lasts, depend on the action",
        )


# -- what the lesson shows --------------------------------------------------------------------------


def returns_of(
    env_class, act: Callable[[np.ndarray], int], episodes: int, seed: int
) -> list[float]:
    """Returns of episodes that are reset with `seed`, `seed + 1`, ..., each in a fresh instance."""
    returns = []
    for number in range(episodes):
        env, done, total, steps = env_class(), False, 0.0, 0
        observation, _ = env.reset(seed=seed + number)
        while not done and steps < MOST_STEPS:
            observation, reward, terminated, truncated, _ = env.step(act(observation))
            total, done, steps = total + float(reward), terminated or truncated, steps + 1
        returns.append(total)
    return returns


def at_random(actions: int, seed: int) -> Callable[[np.ndarray], int]:
    """A policy that looks at nothing."""
    rng = np.random.default_rng(seed)
    return lambda observation: int(rng.integers(actions))


def simple_policies(env_class) -> dict[str, Callable[[np.ndarray], int]]:
    """Those that a policy has to beat: random actions, and each action throughout."""
    actions = int(env_class().action_space.n)
    return {
        "at random": at_random(actions, seed=3),
        **{
            f"always {action}": lambda observation, action=action: action
            for action in range(actions)
        },
    }


def check_environment(env_class: type[gym.Env]) -> bool:
    """Prints what is right and what is not, and what is earned without any thought."""
    says = "Playing some hundred episodes of your environment ..."
    right = show(lambda: examine(env_class, seconds=10.0), TOPICS, says)
    if right:
        space = env_class().observation_space
        if max(np.abs(space.low).max(), np.abs(space.high).max()) > 10:
            print("A hint: networks learn best from numbers of about -1 to 1; divide larger ones.")
        print("What is earned without any thought, mean of 20 episodes:")
        for name, act in simple_policies(env_class).items():
            print(f"  {name:10} {statistics.mean(returns_of(env_class, act, 20, seed=0)):8.2f}")
    return right


def require_environment(env_class: type[gym.Env], topic: str) -> None:
    """Raises AssertionError with what is wrong about `topic`, one of TOPICS."""
    require(lambda: findings_of(env_class, examine), topic, TOPICS)
