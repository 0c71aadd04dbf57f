"""The calls of a player, answered: each message is checked, waits if it must, and is recorded once."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Callable

import numpy as np

from serving.policy import Policy
from serving.protocol import (
    Action,
    EndEpisode,
    EpisodeStarted,
    GetAction,
    InvalidMessage,
    KeepPolicy,
    KeptPolicies,
    KeptPolicy,
    LogAction,
    LoggedStep,
    LogReturns,
    LogSteps,
    Recorded,
    ServePolicy,
    ServerUnreachable,
    StartEpisode,
    Status,
    Waiting,
)
from serving.server.episode import Episode
from serving.server.episodes import EpisodeBook
from serving.server.live import Live
from serving.server.pacing import Caller, Pacing
from serving.server.policy_history import PolicyHistory
from serving.server.policy_shelf import PolicyShelf
from serving.server.supervisor import LearnerSupervisor


class PolicyServer:
    """Answers the calls of `serving.protocol`; see `EpisodeBook` for their rules, `Pacing` for who
    waits."""

    def __init__(
        self,
        book: EpisodeBook,
        learner: LearnerSupervisor,
        seed: int | None = None,
        policies: PolicyHistory | None = None,
        shelf: PolicyShelf | None = None,
    ):
        self.book = book
        self.learner = learner
        self.policies = policies or PolicyHistory()
        self.shelf = shelf
        learner.on_policy = self._remember
        self._remember(learner.policy)
        self.pacing = Pacing(book, learner)
        self.live = Live(book, lambda: self.acting, self.status)
        self._rng = np.random.default_rng(seed)
        self._started = time.monotonic()

    async def start_episode(self, message: StartEpisode, caller: Caller) -> EpisodeStarted:
        version, policy = message.policy_version, None
        if version is not None and not self.book.has_started(message.key):
            if message.training_enabled:
                raise InvalidMessage(
                    f"policy_version is {version}, and nobody learns from what an older policy "
                    "does: start the episode with training_enabled=False"
                )
            policy = self.policies.get(version)
        return EpisodeStarted(
            self.book.start(message.episode_id, message.training_enabled, message.key, policy)
        )

    async def keep_policy(self, message: KeepPolicy, caller: Caller) -> KeptPolicy:
        kept = self.policies.name(message.version, message.name)
        await self._write_down()
        return kept

    async def serve_policy(self, message: ServePolicy, caller: Caller) -> KeptPolicies:
        self.policies.serve(message.version)
        await self._write_down()
        return self.kept_policies()

    def kept_policies(self) -> KeptPolicies:
        return self.policies.described(self.learner.policy.version)

    @property
    def acting(self) -> Policy:
        """The policy that answers: the newest, unless it was rolled back."""
        return self.policies.acting or self.learner.policy

    async def get_action(self, message: GetAction, caller: Caller) -> Action | Waiting:
        return await self._once(message, caller, self.pacing.may_act, self._act)

    async def log_action(self, message: LogAction, caller: Caller) -> Recorded | Waiting:
        step = LoggedStep(message.observation, message.action)
        steps = LogSteps(message.episode_id, steps=[step], step=message.step)
        return await self.log_steps(steps, caller)

    async def log_steps(self, message: LogSteps, caller: Caller) -> Recorded | Waiting:
        return await self._once(message, caller, self.pacing.may_log, self._record)

    async def log_returns(self, message: LogReturns, caller: Caller) -> Recorded:
        reward = LogSteps(message.episode_id, message.reward, step=message.step)
        return await self._once(reward, caller, _always, self._record)

    async def end_episode(self, message: EndEpisode, caller: Caller) -> Recorded | Waiting:
        may_end = self.pacing.may_log if message.steps else _always
        return await self._once(message, caller, may_end, self._end)

    async def _once(
        self,
        message: GetAction | LogSteps | EndEpisode,
        caller: Caller,
        may_go_on: Callable[[Episode], bool],
        record: Callable[[Episode, LogSteps], object],
    ):
        """Records the message when its episode may go on; what was recorded is only answered."""
        book, is_numbered = self.book, message.step is not None
        observation = getattr(message, "observation", None)
        while True:
            if is_numbered:
                answer = book.answer_to(message.episode_id, caller.digest)
                if answer is not None:
                    return answer
            episode = book.find(message.episode_id, message.step)
            book.check(episode, message.reward, message.steps, observation)
            if may_go_on(episode):
                break
            waiting = await self.pacing.wait(episode, may_go_on, message.patience, caller)
            if waiting:
                return waiting
            # Much may have happened to the episode meanwhile: look again.
        answer = record(episode, message)
        if is_numbered:
            book.remember(episode, caller.digest, answer)
        return answer

    def _act(self, episode: Episode, message: GetAction) -> Action:
        book, policy = self.book, episode.policy or self.acting
        book.record(episode, message.reward, message.steps)
        rng = self._rng if episode.training_enabled else None
        decision = policy.act(message.observation, book.env_steps, rng)
        book.record_decision(episode, message.observation, decision, policy.version)
        values = decision.values.tolist() if message.explain else None
        return Action(decision.action, policy.version, values, decision.greedy)

    def _record(self, episode: Episode, message: LogSteps) -> Recorded:
        self.book.record(episode, message.reward, message.steps)
        return Recorded(episode.steps)

    def _end(self, episode: Episode, message: EndEpisode) -> Recorded:
        self.book.record(episode, message.reward, message.steps)
        self.book.end(episode, message.observation, message.truncated)
        return Recorded(episode.steps)

    def _remember(self, policy: Policy) -> None:
        returns = self.book.history.returns
        mean = sum(returns) / len(returns) if returns else None
        self.policies.add(policy, self.book.env_steps, mean)

    async def _write_down(self) -> None:
        """What was decided about policies outlives this process once it is answered."""
        if self.shelf is None:
            return
        try:
            await asyncio.to_thread(self.shelf.save)
        except OSError as error:
            raise ServerUnreachable(
                f"it holds until the server stops, but cannot be written down: {error.strerror}"
            ) from None

    def status(self) -> Status:
        book, learner = self.book, self.learner
        configure, returns = learner.configure, list(book.history.returns)
        saved = learner.saved_at
        return Status(
            state=learner.state,
            why=learner.why,
            run=configure.run,
            observation_size=book.observation_size,
            action_size=book.action_size,
            env_steps=book.env_steps,
            logged_steps=book.logged_steps,
            unlearnable_steps=learner.counters.unlearnable_steps,
            outdated_steps=learner.counters.outdated_steps,
            evaluation_steps=book.evaluation_steps,
            episodes=book.episodes,
            open_episodes=len(book.open),
            mean_return=sum(returns) / len(returns) if returns else None,
            returns=returns,
            updates=learner.counters.updates,
            updates_per_second=round(learner.updates_per_second, 1),
            steps_waiting=learner.steps_waiting,
            exploration=self.acting.exploration(book.env_steps),
            policy_version=self.acting.version,
            waiting_clients=self.pacing.waiting_clients,
            learner_pid=learner.pid,
            learner_restarts=learner.restarts,
            learner_cpus=round(learner.cpus(), 2),
            uptime=round(time.monotonic() - self._started, 3),
            checkpoint_file=configure.checkpoint_file,
            checkpoint_age=None if saved is None else round(time.monotonic() - saved, 3),
            log_dir=configure.log_dir,
            tensorboard=f"tensorboard --logdir {shlex.quote(configure.log_dir)}",
        )


def _always(episode: Episode) -> bool:
    return True
