"""One episode: its steps, as they are told to a learner and to people.

One idea holds this file together: a step is *complete* once the observation after it is known.
Complete steps of training episodes go to the learner as they come (`Episode.take`), so it need not
wait for the end of a long game.
"""

from __future__ import annotations

import copy
import itertools
import time
from array import array

import numpy as np

from serving.link import Experience
from serving.protocol import LoggedStep, Transcript

STEPS_KEPT = 20_000  # of one episode, for its transcript ...
BYTES_KEPT = 16 * 2**20  # ... and as many as their observations have so many bytes
FRAGMENT_STEPS = 1_000


class Episode:
    """What is known of one episode: flat arrays, one row per step.

    policy
        the `Policy` that acts in it to its end; None: the one that acts at each step
    """

    def __init__(self, episode_id: str, training_enabled: bool, observation_size: int, policy=None):
        self.id = episode_id
        self.training_enabled = training_enabled
        self.policy = policy
        self.size = observation_size
        self._most = max(1, min(STEPS_KEPT, BYTES_KEPT // (4 * observation_size)))  # steps kept
        self.observations = array("f")
        self.actions = array("i")
        self.rewards = array("d")
        self.log_probabilities = array("f")
        self.versions = array("i")
        self.logged = bytearray()
        self.seconds = array("d")
        self.ending: str | None = None
        self.total = 0.0
        self.taken = 0  # steps handed to the learner; an index into the arrays
        self.dropped = 0  # steps of a very long episode that were forgotten
        self.started = self.touched = time.monotonic()
        self.asked: float | None = None  # when the action was asked for that has not been given yet
        self.latest: tuple[int, object] | None = (
            None  # digest of the latest message, and its answer
        )

    @property
    def steps(self) -> int:
        return self.dropped + len(self.actions)

    @property
    def complete(self) -> int:
        """How many of the steps in the arrays have the observation after them."""
        return len(self.actions) if self.ending else max(0, len(self.actions) - 1)

    def pause(self) -> float:
        """Seconds from the latest step, or the start, until the player first asked for another."""
        if self.asked is None:
            self.asked = time.monotonic()
        return self.asked - self.started - (self.seconds[-1] if self.seconds else 0.0)

    def add_reward(self, reward: float) -> None:
        self.rewards[-1] += reward
        self.total += reward

    def add_step(self, observation, action, reward, log_probability, version, logged) -> None:
        self.observations.extend(observation)
        self.actions.append(action)
        self.rewards.append(reward)
        self.log_probabilities.append(log_probability)
        self.versions.append(version)
        self.logged.append(logged)
        self.seconds.append(time.monotonic() - self.started)
        self.total += reward
        self.asked = None

    def add_logged(self, steps: list[LoggedStep]) -> None:
        """Adds a block of steps somebody else took, column by column: they come by the hundred."""
        many = len(steps)
        numbers, actions, rewards = columns(steps)
        self.observations.frombytes(numbers.astype(np.float32).tobytes())
        self.actions.frombytes(actions.astype(np.int32).tobytes())
        self.rewards.frombytes(rewards.tobytes())
        self.log_probabilities.frombytes(bytes(4 * many))
        self.versions.frombytes(bytes(4 * many))
        self.logged.extend(b"\x01" * many)
        self.seconds.extend([time.monotonic() - self.started] * many)
        self.total += sum(step.reward for step in steps)

    def end(self, observation, ending: str) -> None:
        self.observations.extend(observation)
        self.ending = ending

    def abandon(self) -> None:
        """Ends at the latest observation: what its action led to will never be known."""
        self.total -= self.rewards[-1]
        for steps in (self.actions, self.rewards, self.log_probabilities, self.versions,
                      self.logged, self.seconds):  # fmt: skip
            steps.pop()
        self.ending = "abandoned"

    def forget_old_steps(self) -> None:
        """Keeps an endless episode from growing without end."""
        many = min(self.taken if self.training_enabled else self.complete, self._most)
        if len(self.actions) >= 2 * self._most:
            self.forget(many)

    def forget(self, many: int) -> None:
        """The first steps, or as many as there are."""
        many = min(many, len(self.actions))
        if many <= 0:
            return
        del self.observations[: many * self.size]
        for steps in (self.actions, self.rewards, self.log_probabilities, self.versions,
                      self.logged, self.seconds):  # fmt: skip
            del steps[:many]
        self.dropped += many
        self.taken = max(0, self.taken - many)

    @property
    def bytes(self) -> int:
        """Of its observations, which are most of what an episode holds."""
        return len(self.observations) * self.observations.itemsize

    def copy(self) -> Episode:
        """The episode as it is now, though it may go on."""
        now = copy.copy(self)
        for name in ("observations", "actions", "rewards", "log_probabilities", "versions",
                     "logged", "seconds"):  # fmt: skip
            setattr(now, name, getattr(self, name)[:])
        return now

    def observed(self, first: int, stop: int) -> list[list[float]]:
        """Rows of the observations."""
        part = np.array(self.observations[first * self.size : stop * self.size], np.float32)
        return part.reshape(-1, self.size).tolist()

    def transcript(self) -> Transcript:
        return Transcript(
            episode_id=self.id,
            training_enabled=self.training_enabled,
            observations=self.observed(0, len(self.observations) // self.size),
            actions=list(self.actions),
            rewards=list(self.rewards),
            sources=["log" if logged else "policy" for logged in self.logged],
            policy_versions=list(self.versions),
            seconds=[round(second, 4) for second in self.seconds],
            ending=self.ending,
            dropped_steps=self.dropped,
        )

    def take(self) -> list[Experience]:
        """The complete steps not handed over yet; the caller numbers them."""
        fragments = []
        while True:
            first, complete = self.taken, self.complete
            stop = min(complete, first + FRAGMENT_STEPS)
            logged = self.logged[first] if first < complete else 0
            # Steps of the policy and logged steps teach different things: never in one fragment.
            change = self.logged.find(not logged, first, stop)
            stop = stop if change < 0 else change
            ended = self.ending is not None and stop == complete
            if first == stop and not ended:
                return fragments
            ending = None
            if ended:
                ending = "terminated" if self.ending == "terminated" else "truncated"
            fragments.append(
                Experience(
                    sequence=0,
                    episode_id=self.id,
                    steps=stop - first,
                    observations=self.observations[
                        first * self.size : (stop + 1) * self.size
                    ].tobytes(),
                    actions=self.actions[first:stop].tobytes(),
                    rewards=np.array(self.rewards[first:stop], np.float32).tobytes(),
                    log_probabilities=self.log_probabilities[first:stop].tobytes(),
                    versions=self.versions[first:stop].tobytes(),
                    logged=bool(logged),
                    ending=ending,
                    episode_return=self.total if ended else 0.0,
                    episode_steps=self.steps if ended else 0,
                )
            )
            self.taken = stop
            if ended:
                return fragments


def columns(steps: list[LoggedStep]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observations, one after the other; actions (steps,); rewards (steps,), all float64."""
    numbers = itertools.chain.from_iterable([step.observation for step in steps])
    return (
        np.fromiter(numbers, np.float64),
        np.array([step.action for step in steps], np.float64),
        np.array([step.reward for step in steps], np.float64),
    )
