"""The seam between "where experience comes from" and "how to learn".

RLlib's algorithms call `sample()` on an `EnvRunner` and expect episodes; they call `set_state()` on
it to hand out new weights. Here both ends are the policy server: `sample()` drains what its players
did, `set_state()` publishes a snapshot for them to play with.
"""

from __future__ import annotations

import queue
from collections.abc import Callable

import numpy as np
from ray.rllib.core import COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.env import INPUT_ENV_SPACES
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.env.utils.infinite_lookback_buffer import InfiniteLookbackBuffer
from ray.rllib.utils.annotations import override
from ray.rllib.utils.checkpoints import Checkpointable
from ray.rllib.utils.metrics import (
    EPISODE_LEN_MEAN,
    EPISODE_RETURN_MEAN,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_EPISODES_LIFETIME,
    WEIGHTS_SEQ_NO,
)

from serving.link import Experience

POLICY_VERSION = "policy_version"
LOGGED = "logged"


def to_episode(experience: Experience, observation_size: int) -> SingleAgentEpisode:
    """The experience as RLlib's (chunk of an) episode.

    observations (steps + 1, size) float32; actions (steps,) int64; rewards (steps,) float32; extra
    outputs `action_logp`, `policy_version` and `logged` (steps,).
    """
    steps = experience.steps
    observations = np.frombuffer(experience.observations, "<f4").reshape(-1, observation_size)
    outputs = {
        Columns.ACTION_LOGP: np.frombuffer(experience.log_probabilities, "<f4"),
        POLICY_VERSION: np.frombuffer(experience.versions, "<i4"),
        LOGGED: np.full(steps, experience.logged),
    }
    return SingleAgentEpisode(
        id_=experience.episode_id,
        observations=InfiniteLookbackBuffer(observations),
        infos=InfiniteLookbackBuffer([{}] * (steps + 1)),
        actions=InfiniteLookbackBuffer(np.frombuffer(experience.actions, "<i4").astype(np.int64)),
        rewards=InfiniteLookbackBuffer(np.frombuffer(experience.rewards, "<f4")),
        terminated=experience.ending == "terminated",
        truncated=experience.ending == "truncated",
        extra_model_outputs={
            name: InfiniteLookbackBuffer(values) for name, values in outputs.items()
        },
        len_lookback_buffer=0,
    )


class ServedEpisodesEnvRunner(EnvRunner, Checkpointable):
    """Episodes come from the players of a policy server; weights go to them.

    `connect` it before the first `sample()`.
    """

    @override(EnvRunner)
    def __init__(self, *, config, **kwargs):
        super().__init__(config=config, **kwargs)
        self._inbox: queue.SimpleQueue | None = None
        self._publish: Callable[[dict, int], None] | None = None
        self._endings: list[tuple[float, int]] = []
        self.ended: object | None = None  # what came instead of experience: no more will come
        self.weights_seq_no = 0
        self.consumed = 0  # sequence number of the latest Experience that sample() returned

    def connect(self, inbox: queue.SimpleQueue, publish: Callable[[dict, int], None]) -> None:
        """inbox: of `Experience`, and at last of anything else; publish: called with (module state, version) of new weights."""
        self._inbox, self._publish = inbox, publish

    @override(EnvRunner)
    def sample(
        self, *, wait: float = 0.0, most_steps: int = 2_000, **kwargs
    ) -> list[SingleAgentEpisode]:
        """Chunks of episodes in the order they came; [] if nothing comes within `wait` seconds.

        Takes no more than about `most_steps` at once, so that the updates which belong to a long
        replay alternate with taking it over.
        """
        size = self.config.observation_space.shape[0]
        episodes, steps = [], 0
        while steps < most_steps:
            try:
                experience = self._inbox.get(timeout=wait if wait and not episodes else 0)
            except queue.Empty:
                break
            if not isinstance(experience, Experience):
                self.ended = experience
                break
            episodes.append(to_episode(experience, size))
            steps += experience.steps
            self.consumed = experience.sequence
            if experience.ending:
                self._endings.append((experience.episode_return, experience.episode_steps))
        if steps:
            self.metrics.log_value(NUM_ENV_STEPS_SAMPLED, steps, reduce="sum")
            self.metrics.log_value(NUM_ENV_STEPS_SAMPLED_LIFETIME, steps, reduce="lifetime_sum")
        return episodes

    def take_endings(self) -> list[tuple[float, int]]:
        """(return, steps) of the episodes that have ended since the last call."""
        endings, self._endings = self._endings, []
        for episode_return, episode_steps in endings:
            self.metrics.log_value(EPISODE_RETURN_MEAN, episode_return, window=20)
            self.metrics.log_value(EPISODE_LEN_MEAN, episode_steps, window=20)
            self.metrics.log_value(NUM_EPISODES_LIFETIME, 1, reduce="lifetime_sum")
        return endings

    @override(EnvRunner)
    def get_metrics(self):
        return self.metrics.reduce()

    @override(Checkpointable)
    def set_state(self, state) -> None:
        """Publishes the weights in `state`, if there are any and somebody is connected."""
        module_state = state.get(COMPONENT_RL_MODULE)
        if module_state is None:  # such as the state of a checkpoint
            self.weights_seq_no = state.get(WEIGHTS_SEQ_NO, self.weights_seq_no)
            return
        if self._publish is None:
            return
        self.weights_seq_no = state.get(WEIGHTS_SEQ_NO, self.weights_seq_no + 1)
        self._publish(module_state.get(DEFAULT_MODULE_ID, module_state), self.weights_seq_no)

    @override(Checkpointable)
    def get_state(self, components=None, *, not_components=None, **kwargs):
        return {WEIGHTS_SEQ_NO: self.weights_seq_no}

    @override(EnvRunner)
    def get_spaces(self):
        spaces = (self.config.observation_space, self.config.action_space)
        return {INPUT_ENV_SPACES: spaces, DEFAULT_MODULE_ID: spaces}

    @override(EnvRunner)
    def assert_healthy(self):
        assert self._inbox is not None, "connect() this env runner before its first sample()"

    @override(Checkpointable)
    def get_ctor_args_and_kwargs(self):
        return (), {"config": self.config}

    @override(Checkpointable)
    def get_checkpointable_components(self):
        return []
