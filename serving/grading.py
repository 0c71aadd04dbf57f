"""What hidden tests call: a server of the grader's own, the student's function, and a verdict.

    exam = Exam(globals(), observation_size=4, action_size=2)
    exam.require("calls")          # raises AssertionError with a sentence for the student

Most points come from comparing records (`serving.checks`). Learning is judged on a frozen copy of
the policy, greedy, on the grader's own environment and seeds.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import statistics
import time
from collections.abc import Callable, Iterator

import gymnasium as gym

from serving.checks import TOPICS, Findings, compare_all, watch
from serving.protocol import PolicyServerError
from serving.testing import RecordingEnv, RunningServer, evaluate, frozen_policy, time_limit

EVALUATE_EVERY = 1.0  # seconds
EPISODES_COMPARED_FIRST = 3


class Exam:
    """Lets the function `run_one_episode` of a notebook play against a fresh policy server.

    namespace
        the notebook's `globals()`: its `client` is replaced while the student's code runs.
    make_env
        makes the environment that is played; (observation_size, action_size) fit it.
    """

    def __init__(
        self,
        namespace: dict,
        observation_size: int,
        action_size: int,
        make_env: Callable[[], gym.Env] | None = None,
        **options,
    ):
        self.namespace = namespace
        self.make_env = make_env or cart_pole
        self._make_server = lambda: RunningServer(observation_size, action_size, **options).start()
        self.server = self._make_server()
        self.client = self.server.client()
        self._findings: Findings | None = None
        atexit.register(self.close)

    def revive(self) -> bool:
        """Starts another server if this one has died: that is no fault of the student's."""
        if self.server.process.poll() is None:
            return False
        self.server = self._make_server()
        self.client = self.server.client()
        return True

    def function(self, name: str) -> Callable:
        """The student's function; raises if there is none."""
        function = self.namespace.get(name)
        assert callable(function), f"there is no function {name} in this notebook"
        return function

    @contextlib.contextmanager
    def playing(self) -> Iterator[None]:
        """While the block runs, the notebook's `client` talks to this server, and what the student's
        code prints is kept out of the graded cell: progress bars are no mistake."""
        self.revive()
        missing = object()
        before = self.namespace.get("client", missing)
        self.namespace["client"] = self.client
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                yield
        finally:
            if before is missing:
                self.namespace.pop("client", None)
            else:
                self.namespace["client"] = before

    def require(self, topic: str) -> None:
        """Raises AssertionError with what is wrong about `topic`, one of `serving.checks.TOPICS`."""
        if self._findings is None:
            self._findings = self._watch()
        assert not self._findings.of(topic), f"{TOPICS[topic]}: {self._findings.of(topic)[0]}"

    def require_all(self) -> None:
        """Raises AssertionError with the first finding about anything."""
        for topic in TOPICS:
            self.require(topic)

    def require_learning(self, target: float, **budget) -> None:
        """As `_require_learning`, and once more if the server died in the middle of it."""
        self.revive()
        try:
            self._require_learning(target, **budget)
        except PolicyServerError:
            if not self.revive():
                raise
            self._require_learning(target, **budget)

    def _require_learning(
        self,
        target: float,
        episodes: int = 20,
        seed: int = 20_000,
        most_steps: int = 50_000,
        seconds: float = 240.0,
    ) -> None:
        """Raises AssertionError unless the server learns from the student's episodes.

        The function plays until a frozen, greedy copy of the policy reaches a mean return of
        `target` over `episodes` episodes with the grader's seeds, or the budget is spent. What was
        learned from has to be what happened: else a lucky policy would pass for a right function.
        """
        run_one_episode = self.function("run_one_episode")
        # If these are wrong, the server learns from something else than what happened.
        for topic in ("calls", "numbers", "ending"):
            self.require(topic)
        env, best, played = RecordingEnv(self.make_env()), float("-inf"), 0
        known = {transcript.episode_id for transcript in self.client.episodes(last=1000).episodes}
        deadline = time.monotonic() + seconds
        next_look, looked_at = 0.0, -1
        while time.monotonic() < deadline and played < most_steps:
            with self.playing(), time_limit(60, "run_one_episode(env)"):
                run_one_episode(env)
            episode = env.episodes[-1] if env.episodes else None
            assert episode and episode.actions, "run_one_episode(env) made no step in env"
            played += len(episode.actions)
            if len(env.episodes) == EPISODES_COMPARED_FIRST:
                self._compare(env, known)
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + EVALUATE_EVERY
                policy = frozen_policy(self.client)
                if policy.version != looked_at:
                    looked_at = policy.version
                    returns = evaluate(policy, self.make_env, episodes, seed)
                    best = max(best, statistics.mean(returns))
            if best >= target:
                break
        self._compare(env, known)
        assert best >= target, (
            f"after {len(env.episodes)} episodes ({played} steps) of your run_one_episode the policy "
            f"reaches a mean return of {best:.0f}, expected {target:g}"
        )

    def close(self) -> None:
        """Ends the server; nothing needs to be saved."""
        atexit.unregister(self.close)
        if self.server.process and self.server.process.poll() is None:
            self.server.process.terminate()
            self.server.process.terminate()
        self.server.stop()

    def _watch(self) -> Findings:
        """A few episodes that terminate, and a few that a limit cuts short."""
        run_one_episode, env = self.function("run_one_episode"), self.make_env()
        limited = gym.wrappers.TimeLimit(env, max_episode_steps=7)
        with self.playing():
            findings = watch(run_one_episode, env, self.client, episodes=3, seed=1_000)
            if not findings:
                findings = watch(run_one_episode, limited, self.client, episodes=2, seed=2_000)
        return findings

    def _compare(self, env: RecordingEnv, known: set[str]) -> None:
        """Raises AssertionError if the server was told something else than what happened."""
        transcripts = self.client.episodes(last=1000).episodes
        findings = compare_all(env.episodes, [t for t in transcripts if t.episode_id not in known])
        assert not findings, f"what the server learns from is not what happened: {findings.of()[0]}"


def cart_pole() -> gym.Env:
    """CartPole with 200 steps at most, as the lessons play it."""
    return gym.make("CartPole-v1", max_episode_steps=200)
