"""An env runner whose episodes come from log shards; many of them read side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.annotations import override

from serving.learner.env_runner import ServedEpisodesEnvRunner, to_episode
from serving.link import Experience
from serving.logs import Episode, LogError, read_log


class Read(NamedTuple):
    """What came of reading a portion of a shard. `is_last`: there is no more; `error`: why not, if
    something is wrong with it."""

    episodes: list[SingleAgentEpisode]
    is_last: bool
    error: str | None = None


class LogShardEnvRunner(ServedEpisodesEnvRunner):
    """Episodes come from log shards (`serving.logs`). Many of these, as Ray actors, read the shards
    of a log side by side; the one beside the learner only publishes weights."""

    @override(EnvRunner)
    def __init__(self, *, config, **kwargs):
        super().__init__(config=config, **kwargs)
        self._reading: tuple[str, int, Iterator[Episode]] | None = (
            None  # shard, episodes read, rest
        )

    @override(EnvRunner)
    def sample(
        self,
        *,
        shard: str | None = None,
        first: int = 0,
        most_steps: int = 2_000,
        may_be_cut_off: bool = False,
        **kwargs,
    ) -> Read | list[SingleAgentEpisode]:
        """The episodes of `shard` from number `first` on, about `most_steps` steps of them. Without
        a shard, what players did: see `ServedEpisodesEnvRunner`.

        An error is returned, not raised: RLlib would take one that is raised for a broken env
        runner, and start another, again and again.
        """
        if shard is None:
            return super().sample(most_steps=most_steps, **kwargs)
        episodes, steps = [], 0
        try:
            rest = self._open(shard, first, may_be_cut_off)
            for episode in rest:
                episodes.append(logged_episode(f"{shard}:{first + len(episodes)}", episode))
                steps += len(episode)
                if steps >= most_steps:
                    self._reading = shard, first + len(episodes), rest
                    return Read(episodes, is_last=False)
        except LogError as error:
            return Read([], is_last=True, error=str(error))
        return Read(episodes, is_last=True)

    @override(ServedEpisodesEnvRunner)
    def assert_healthy(self):
        """Whether its shards can be read shows when they are read."""

    def _open(self, shard: str, first: int, may_be_cut_off: bool) -> Iterator[Episode]:
        """The shard from episode number `first` on."""
        if self._reading is not None and self._reading[:2] == (shard, first):
            rest = self._reading[2]
        else:  # another one began to read it
            size = self.config.observation_space.shape[0]
            rest = read_log(shard, size, int(self.config.action_space.n), may_be_cut_off)
            for _ in range(first):
                next(rest, None)
        self._reading = None
        return rest


def logged_episode(episode_id: str, episode: Episode) -> SingleAgentEpisode:
    """A logged episode as RLlib's. A log does not hold what was seen after the last action: the
    last observation stands twice, which no learner uses if the episode terminated."""
    rows = [step["obs"] for step in episode]
    steps = len(episode)
    truncated = bool(episode[-1].get("truncated"))
    experience = Experience(
        sequence=0,
        episode_id=episode_id,
        steps=steps,
        observations=np.array([*rows, rows[-1]], "<f4").tobytes(),
        actions=np.array([step["action"] for step in episode], "<i4").tobytes(),
        rewards=np.array([step["reward"] for step in episode], "<f4").tobytes(),
        log_probabilities=np.zeros(steps, "<f4").tobytes(),
        versions=np.zeros(steps, "<i4").tobytes(),
        logged=True,
        ending="truncated" if truncated else "terminated",
    )
    return to_episode(experience, len(rows[0]))
