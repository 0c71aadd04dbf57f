"""Open episodes, and what becomes of them: experience for the learner, transcripts for people.

One idea holds this file together: a step is *complete* once the observation after it is known.
Complete steps of training episodes go to the learner as they come (`take_experience`), so it need
not wait for the end of a long game.
"""

from __future__ import annotations

import itertools
import time
import uuid
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable

import numpy as np

from serving.link import Experience
from serving.policy import Decision
from serving.protocol import (
    LARGEST_NUMBER,
    EpisodeConflict,
    EpisodeNotFound,
    InvalidMessage,
    LoggedStep,
    Rejection,
    TooManyEpisodes,
    Transcript,
    check_action,
    check_number,
    check_observation,
)

MOST_OPEN_EPISODES = 10_000
TRANSCRIPTS_KEPT = 200
STEPS_KEPT = 20_000  # of one episode, for its transcript
FRAGMENT_STEPS = 1_000
ENDED_IDS_REMEMBERED = 20_000
RETURNS_AVERAGED = 20


class Episode:
    """What is known of one episode: flat arrays, one row per step."""

    def __init__(self, episode_id: str, training_enabled: bool, observation_size: int):
        self.id = episode_id
        self.training_enabled = training_enabled
        self.size = observation_size
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

    @property
    def steps(self) -> int:
        return self.dropped + len(self.actions)

    @property
    def complete(self) -> int:
        """How many of the steps in the arrays have the observation after them."""
        return len(self.actions) if self.ending else max(0, len(self.actions) - 1)

    @property
    def pause(self) -> float:
        """Seconds since the latest step, or since the start."""
        return time.monotonic() - self.started - (self.seconds[-1] if self.seconds else 0.0)

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

    def add_logged(self, steps: list[LoggedStep]) -> None:
        """Adds a block of steps somebody else took, column by column: they come by the hundred."""
        many = len(steps)
        numbers, actions, rewards = _columns(steps)
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
        many = min(self.taken if self.training_enabled else self.complete, STEPS_KEPT)
        if len(self.actions) < 2 * STEPS_KEPT or not many:
            return
        del self.observations[: many * self.size]
        for steps in (self.actions, self.rewards, self.log_probabilities, self.versions,
                      self.logged, self.seconds):  # fmt: skip
            del steps[:many]
        self.dropped += many
        self.taken = max(0, self.taken - many)

    def transcript(self) -> Transcript:
        rows = np.array(self.observations, np.float32).reshape(-1, self.size)
        return Transcript(
            episode_id=self.id,
            training_enabled=self.training_enabled,
            observations=rows.tolist(),
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


class EpisodeBook:
    """All episodes of a policy server. Knows the rules of the protocol, nothing of HTTP.

    Every method checks all of its arguments before it records anything, and raises one of the
    errors of `serving.protocol`.
    """

    def __init__(self, observation_size: int, action_size: int, abandon_after: float = 300.0):
        self.observation_size = observation_size
        self.action_size = action_size
        self.abandon_after = abandon_after  # seconds
        self.open: dict[str, Episode] = {}
        self.transcripts: deque[Episode] = deque(maxlen=TRANSCRIPTS_KEPT)
        self.rejected: deque[Rejection] = deque(maxlen=TRANSCRIPTS_KEPT)
        self.returns: deque[float] = deque(maxlen=RETURNS_AVERAGED)
        self.env_steps = 0  # steps of training episodes, by the policy or logged
        self.logged_steps = 0
        self.evaluation_steps = 0
        self.acted = 0  # complete steps the policy took in training episodes: pacing counts them
        self.untaken = 0  # steps of training episodes that take_experience() has still to hand over
        self.episodes = 0  # training episodes that have ended
        self.on_ended: Callable[[Episode], None] = lambda episode: None  # training episodes only
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._to_take: dict[str, Episode] = {}

    # -- the calls of a player ---------------------------------------------------------------

    def start(self, episode_id: str | None, training_enabled: bool) -> str:
        if episode_id in self.open or episode_id in self._ended:
            state = "is open" if episode_id in self.open else "has ended"
            raise EpisodeConflict(
                f"episode {episode_id!r} {state} already; choose another id, or none"
            )
        if len(self.open) >= MOST_OPEN_EPISODES:
            raise TooManyEpisodes(
                f"{MOST_OPEN_EPISODES} episodes are open; end some with end_episode()"
            )
        episode_id = episode_id or uuid.uuid4().hex
        self.open[episode_id] = Episode(episode_id, training_enabled, self.observation_size)
        return episode_id

    def find(self, episode_id: str) -> Episode:
        episode = self.open.get(episode_id)
        if episode is not None:
            episode.touched = time.monotonic()
            return episode
        if episode_id in self._ended:
            raise EpisodeConflict(
                f"episode {episode_id!r} has ended; start a new one with start_episode()"
            )
        raise EpisodeNotFound(
            f"no episode {episode_id!r} here; start one with start_episode() "
            "(a policy server that was restarted knows no episode of before)"
        )

    def check(
        self,
        episode: Episode,
        reward: float | None,
        steps: list[LoggedStep],
        observation: list[float] | None = None,
    ) -> None:
        """Raises unless all of this can be recorded; the error carries `call` and `step`."""
        call, at = "log_returns", episode.steps - 1
        try:
            if reward is not None:
                check_number(reward, "reward")
                if not episode.actions:
                    raise EpisodeConflict(
                        f"episode {episode.id!r} has no action yet that a reward could belong to; "
                        "call get_action() or log_action() before log_returns()"
                    )
            call = "log_action"
            if steps and self._are_good(steps):
                steps = []
            for at, logged in enumerate(steps, episode.steps):  # noqa: B007 - the error says it
                check_observation(logged.observation, self.observation_size)
                check_action(logged.action, self.action_size)
                call = "log_returns"
                check_number(logged.reward, "reward")
                call = "log_action"
        except (InvalidMessage, EpisodeConflict) as error:
            error.call, error.step = call, max(at, 0)
            raise
        if observation is not None:
            check_observation(observation, self.observation_size)

    def record(self, episode: Episode, reward: float | None, steps: list[LoggedStep]) -> None:
        """Records what happened since the previous request; `check` must have passed."""
        if reward is not None:
            episode.add_reward(reward)
        if not steps:
            return
        self._complete_latest(episode)
        episode.add_logged(steps)
        self._count(episode, len(steps))
        if episode.training_enabled:
            self.logged_steps += len(steps)

    def record_decision(self, episode: Episode, observation, decision: Decision, version) -> None:
        self._complete_latest(episode)
        episode.add_step(
            observation, decision.action, 0.0, decision.log_probability, version, False
        )
        self._count(episode, 1)

    def end(self, episode: Episode, observation: list[float], truncated: bool) -> None:
        if episode.actions:
            self._complete_latest(episode)
            episode.end(observation, "truncated" if truncated else "terminated")
        self._close(episode)

    # -- the server's own calls --------------------------------------------------------------

    def end_abandoned(self) -> int:
        """Closes episodes nobody has touched for `abandon_after` seconds; returns how many."""
        old = time.monotonic() - self.abandon_after
        abandoned = [episode for episode in self.open.values() if episode.touched < old]
        for episode in abandoned:
            if episode.steps:
                self._uncount_latest(episode)
                episode.abandon()
            self._close(episode)
        return len(abandoned)

    @property
    def incomplete_steps(self) -> int:
        """Training steps whose next observation has not come yet: at most one an episode."""
        return sum(1 for e in self.open.values() if e.training_enabled and e.actions)

    def take_experience(self) -> list[Experience]:
        """What the learner has not got yet, in order within each episode."""
        fragments = []
        for episode in self._to_take.values():
            fragments += episode.take()
            episode.forget_old_steps()
        self._to_take.clear()
        self.untaken -= sum(fragment.steps for fragment in fragments)
        return fragments

    def latest_transcripts(self, last: int) -> list[Transcript]:
        """Of the `last` episodes, oldest first; open ones come at the end."""
        latest = [*self.transcripts, *(e for e in self.open.values() if e.actions)]
        return [episode.transcript() for episode in latest[-last:]] if last else []

    def transcript(self, episode_id: str) -> Transcript:
        for episode in (*self.open.values(), *self.transcripts):
            if episode.id == episode_id:
                return episode.transcript()
        raise EpisodeNotFound(
            f"no transcript of episode {episode_id!r}: the server keeps the latest "
            f"{TRANSCRIPTS_KEPT}"
        )

    def reject(self, call: str, episode_id: str | None, error: Exception) -> None:
        self.rejected.append(Rejection(call, episode_id, error.status, str(error)))

    def _are_good(self, steps: list[LoggedStep]) -> bool:
        """Whether all of a block can be recorded; which step cannot, a slower look finds out."""
        if {len(step.observation) for step in steps} != {self.observation_size}:
            return False
        numbers, actions, rewards = _columns(steps)
        # Comparisons with NaN are false.
        return bool(
            (np.abs(numbers) <= LARGEST_NUMBER).all()
            and (np.abs(rewards) <= LARGEST_NUMBER).all()
            and ((actions >= 0) & (actions < self.action_size)).all()
            and (actions == np.floor(actions)).all()
        )

    def _complete_latest(self, episode: Episode) -> None:
        """The observation after the latest action has come."""
        if episode.training_enabled and episode.actions and not episode.logged[-1]:
            self.acted += 1

    def _count(self, episode: Episode, steps: int) -> None:
        if not episode.training_enabled:
            self.evaluation_steps += steps
            episode.forget_old_steps()
            return
        self.env_steps += steps
        self.untaken += steps
        self._to_take[episode.id] = episode

    def _uncount_latest(self, episode: Episode) -> None:
        """Its latest step will never be complete, so nobody will ever learn from it."""
        if not episode.training_enabled:
            self.evaluation_steps -= 1
            return
        self.env_steps -= 1
        self.untaken -= 1
        self.logged_steps -= episode.logged[-1]

    def _close(self, episode: Episode) -> None:
        del self.open[episode.id]
        self._ended[episode.id] = None
        while len(self._ended) > ENDED_IDS_REMEMBERED:
            self._ended.popitem(last=False)
        if not episode.actions:
            self._to_take.pop(episode.id, None)
            return
        self.transcripts.append(episode)
        if episode.training_enabled:
            self.episodes += 1
            self.returns.append(episode.total)
            self._to_take[episode.id] = episode
            self.on_ended(episode)


def _columns(steps: list[LoggedStep]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observations, one after the other; actions (steps,); rewards (steps,), all float64."""
    numbers = itertools.chain.from_iterable([step.observation for step in steps])
    return (
        np.fromiter(numbers, np.float64),
        np.array([step.action for step in steps], np.float64),
        np.array([step.reward for step in steps], np.float64),
    )
