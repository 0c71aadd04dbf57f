"""The episodes of a policy server, and the rules of their protocol: what may be recorded, and that
it is recorded once."""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable

import numpy as np

from serving.link import Experience
from serving.policy import Decision, Policy
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
from serving.server.episode import Episode, columns
from serving.server.history import History

MOST_OPEN_EPISODES = 10_000
MOST_OPEN_BYTES = 2**30  # of observations
TRANSCRIPTS_KEPT = 200
TRANSCRIPT_BYTES = 2**28  # fewer are kept of episodes that are larger together
# For messages that come again: ten seconds of the shortest episodes that are served.
ENDED_IDS_REMEMBERED = 5_000
KEYS_REMEMBERED = 5_000  # of start_episode


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
        self.history = History()  # of training episodes
        self.env_steps = 0  # steps of training episodes, by the policy or logged
        self.logged_steps = 0
        self.evaluation_steps = 0
        self.acted = 0  # complete steps the policy took in training episodes: pacing counts them
        self.untaken = 0  # steps of training episodes that take_experience() has still to hand over
        self.episodes = 0  # training episodes that have ended
        self.on_ended: Callable[[Episode], None] = lambda episode: None  # training episodes only
        # Ids of episodes that have ended; see `Episode.latest` for the rest.
        self._ended: OrderedDict[str, tuple[int, object] | None] = OrderedDict()
        self._keys: OrderedDict[str, str] = OrderedDict()  # of starts, and the ids they got
        self._to_take: dict[str, Episode] = {}

    # -- the calls of a player ---------------------------------------------------------------

    def has_started(self, key: str | None) -> bool:
        """Whether an episode was started with this key."""
        return key in self._keys

    def start(
        self,
        episode_id: str | None,
        training_enabled: bool,
        key: str | None = None,
        policy: Policy | None = None,
    ) -> str:
        """Starts an episode, and returns its id. The same `key` again starts nothing, and returns
        the same id. A `policy` acts to the episode's end."""
        if key is not None and key in self._keys:
            return self._keys[key]
        if episode_id in self.open or episode_id in self._ended:
            state = "is open" if episode_id in self.open else "has ended"
            raise EpisodeConflict(
                f"episode {episode_id!r} {state} already; choose another id, or none"
            )
        if len(self.open) >= MOST_OPEN_EPISODES:
            raise TooManyEpisodes(
                f"{MOST_OPEN_EPISODES} episodes are open; end some with end_episode()"
            )
        played_by = {id(e.policy): e.policy for e in self.open.values() if e.policy}
        held = sum(policy.bytes for policy in played_by.values())
        if held + sum(episode.bytes for episode in self.open.values()) > MOST_OPEN_BYTES:
            raise TooManyEpisodes(
                f"the {len(self.open)} open episodes hold more than {MOST_OPEN_BYTES >> 20} MiB of "
                "observations and policies; end some with end_episode()"
            )
        episode_id = episode_id or uuid.uuid4().hex
        self.open[episode_id] = Episode(episode_id, training_enabled, self.observation_size, policy)
        if key is not None:
            self._keys[key] = episode_id
            _forget_oldest(self._keys, KEYS_REMEMBERED)
        return episode_id

    def find(self, episode_id: str, step: int | None = None) -> Episode:
        """The open episode of this id. A message that says which `step` it continues has to follow
        what was recorded."""
        episode = self.open.get(episode_id)
        if episode is not None:
            episode.touched = time.monotonic()
            if step is not None and step != episode.steps:
                raise EpisodeConflict(
                    f"the message continues step {step} of episode {episode_id!r}, of which "
                    f"{episode.steps} steps are recorded: "
                    + (
                        "one before it has not come"
                        if step > episode.steps
                        else "it comes too late"
                    )
                )
            return episode
        if episode_id in self._ended:
            raise EpisodeConflict(
                f"episode {episode_id!r} has ended; start a new one with start_episode()"
            )
        raise EpisodeNotFound(
            f"no episode {episode_id!r} here; start one with start_episode() "
            "(a policy server that was restarted knows no episode of before)"
        )

    def answer_to(self, episode_id: str, digest: int):
        """What the latest message of an episode was answered, if it is this one that comes again;
        None otherwise."""
        episode = self.open.get(episode_id)
        latest = self._ended.get(episode_id) if episode is None else episode.latest
        if latest is None or latest[0] != digest:
            return None
        if episode is not None:
            episode.touched = time.monotonic()
        return latest[1]

    def remember(self, episode: Episode, digest: int, answer) -> None:
        """The answer to the latest message of an episode, in case that the message comes again."""
        episode.latest = digest, answer
        if episode.id in self._ended:
            self._ended[episode.id] = episode.latest

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

    def latest(self, last: int) -> list[Episode]:
        """The `last` episodes, oldest first; open ones come at the end."""
        latest = [*self.transcripts, *(e for e in self.open.values() if e.actions)]
        return latest[-last:] if last else []

    def latest_transcripts(self, last: int) -> list[Transcript]:
        return [episode.transcript() for episode in self.latest(last)]

    def transcript(self, episode_id: str) -> Transcript:
        return self.remembered(episode_id).transcript()

    def remembered(self, episode_id: str) -> Episode:
        """An episode that is open, or one of the latest that have ended."""
        for episode in (*self.open.values(), *self.transcripts):
            if episode.id == episode_id:
                return episode
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
        numbers, actions, rewards = columns(steps)
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
        self._ended[episode.id] = episode.latest
        _forget_oldest(self._ended, ENDED_IDS_REMEMBERED)
        if not episode.actions:
            self._to_take.pop(episode.id, None)
            return
        self.transcripts.append(episode)
        held = sum(kept.bytes for kept in self.transcripts)
        while held > TRANSCRIPT_BYTES and len(self.transcripts) > 1:
            held -= self.transcripts.popleft().bytes
        if episode.training_enabled:
            self.episodes += 1
            self.history.add(self.env_steps, episode.total, episode.versions[-1])
            self._to_take[episode.id] = episode
            self.on_ended(episode)


def _forget_oldest(remembered: OrderedDict, most: int) -> None:
    while len(remembered) > most:
        remembered.popitem(last=False)
