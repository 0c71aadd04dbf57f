"""Lesson 04: what the examiner asks."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator

import numpy as np

from serving.examiner.exam import Exam, cart_pole
from serving.examiner.examination import Examination
from serving.examiner.stand_ins import Notebook
from serving.exercises.compare_algorithms import (
    CURVE_TOPICS,
    SECONDS_FOR_A_CURVE,
    SPREAD_TOPICS,
    Record,
    watch_curve,
    watch_spread,
)
from serving.exercises.conclusions import CONCLUSION_TOPICS, watch_conclusion
from serving.exercises.serve_and_learn import Findings
from serving.protocol import Transcript

CURVES = [("PG", 11, 150), ("DQN", 12, 90), ("PPO", 12, 1)]  # too short for a learner to matter
STEPS_TO_LEARN = 2_300  # two batches of PG, and some
SECONDS_TO_START = 200.0


class CompareExam(Exam):
    """Lets a notebook's functions compare algorithms, and looks at the servers they compare."""

    def __init__(self, namespace: dict):
        # No server of its own: these tests look at those that the student's function starts.
        self.namespace = namespace
        self._curves: Findings | None = None
        self._records: list[Record] = []

    def require_curve(self, topic: str) -> None:
        """Raises AssertionError with what is wrong about `topic` of learning_curve."""
        if self._curves is None:
            self._curves = self._watch_curves()
        self.require_none(self._curves, topic, CURVE_TOPICS)

    def require_curve_of_learning(self) -> None:
        """Raises AssertionError unless the server learns while learning_curve plays."""
        for topic in ("server", "episodes"):
            self.require_curve(topic)
        findings, record = self._watch_curve("PG", 13, STEPS_TO_LEARN, SECONDS_TO_START)
        for topic in ("server", "episodes"):
            self.require_none(findings, topic, CURVE_TOPICS)
        self._records.append(record)
        assert record.status.updates, (
            f"after {record.status.env_steps} steps the server has learned nothing: play episodes "
            "that train"
        )

    def require_spread(self) -> None:
        """Raises AssertionError with what is wrong about mean_and_spread."""
        rng = np.random.default_rng(5)
        cases = [[[1.0, 2.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]], []]
        cases.append([rng.normal(20, 9, n).round(2).tolist() for n in (7, 4, 9)])
        cases.append([rng.normal(99, 9, n).round(2).tolist() for n in (3, 1, 2, 3)])
        with self._quiet():
            findings = watch_spread(self.function("mean_and_spread"), cases)
        self.require_none(findings, "numbers", SPREAD_TOPICS)

    def require_conclusion(self) -> None:
        """Raises AssertionError unless `conclude` says what the figures say: invented ones, and
        those that the servers of this exam have recorded."""
        conclude, rng = self.function("conclude"), np.random.default_rng(8)
        for case in range(4):
            curves, logged = invented_figures(rng, case)
            self._require_conclusion(conclude, curves, logged, (None, 195.0)[case % 2])
        recorded: dict[str, list] = {}
        for record in self._records:
            recorded.setdefault(record.status.run, []).append(record.rows)
        if recorded:
            # Low enough for beginners, so that there is something to conclude.
            target = float(np.mean([row[0] for row in recorded["PG"][-1][:20]]))
            self._require_conclusion(conclude, recorded, {}, target)

    def close(self) -> None:
        """There is nothing to end."""

    def _require_conclusion(
        self, conclude, curves: dict, logged: dict, target: float | None
    ) -> None:
        with self._quiet():
            findings = watch_conclusion(conclude, curves, logged, target)
        for topic in CONCLUSION_TOPICS:
            self.require_none(findings, topic, CONCLUSION_TOPICS)

    def _watch_curves(self) -> Findings:
        first: dict = {}
        for run, seed, steps in [*CURVES, CURVES[-1]]:
            findings, record = self._watch_curve(run, seed, steps, learner=False)
            if findings:
                return findings
            seen = record.transcripts[0].observations[0]
            again = first.setdefault((run, seed), seen)
            if again != seen:
                findings.add(
                    "server",
                    "two curves of the same seed begin differently: call env.reset(seed=seed) "
                    "before the first episode",
                )
                return findings
            self._records.append(record)
        run, seed, _ = CURVES[0]
        exactly = int(self._records[0].rows[1][1])  # steps of two episodes: no third one is needed
        findings, record = self._watch_curve(run, seed, exactly, learner=False)
        if findings:
            return findings
        starts = {record.options["seed"]: record.transcripts[0].observations[0]
                  for record in self._records}  # fmt: skip
        if len({tuple(start) for start in starts.values()}) < len(starts):
            findings.add(
                "server",
                "curves of different seeds begin with the same observation: reset the environment "
                "with the seed asked for",
            )
        return findings

    def _watch_curve(
        self,
        run: str,
        seed: int,
        steps: int,
        seconds: float = SECONDS_FOR_A_CURVE,
        learner: bool = True,
    ) -> tuple[Findings, Record | None]:
        """One curve of the notebook's, whose server is the examiner's, and which is CartPole's."""
        function, there = self.function("learning_curve"), self.namespace
        servers = contextlib.nullcontext()
        if isinstance(there, Notebook):
            servers, there = there.starting_servers(), None
        with self._quiet(), servers:
            findings, record = watch_curve(function, run, seed, steps, there, seconds, learner)
        if not findings and (wrong := no_cart_pole(record.transcripts)):
            findings.add("episodes", wrong)
        return findings, record

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Progress bars are no mistake."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            yield


def no_cart_pole(transcripts: list[Transcript]) -> str | None:
    """Where what was played cannot be CartPole: each step has to follow from the one before by the
    equations of gymnasium's."""
    env = cart_pole().unwrapped
    env.reset(seed=0)
    for number, episode in enumerate(transcripts):
        seen = np.array(episode.observations, float)  # (steps + 1, 4)
        for step, action in enumerate(episode.actions):
            if step + 1 >= len(seen):
                break
            env.state, env.steps_beyond_terminated = seen[step], None
            expected, reward, *_ = env.step(action)
            if not np.allclose(expected, seen[step + 1], rtol=1e-4, atol=1e-4):
                return (
                    f"step {step} of episode {number} is none of CartPole-v1: action {action} leads "
                    f"from {seen[step].round(3)} to {expected.round(3)}, and the server was told "
                    f"{seen[step + 1].round(3)}"
                )
    return None


def invented_figures(rng: np.random.Generator, case: int) -> tuple[dict, dict]:
    """Curves of runs with invented names, each winning in something else, and what logs teach."""
    names = [f"run {letter}" for letter in rng.permutation(list("ABCD"))][: 2 + case % 3]
    curves, logged = {}, {}
    for number, name in enumerate(names):
        curves[name] = []
        for seed in range(3 + number % 2):
            there = int(rng.integers(25, 90)) if case < 3 and (seed + number + case) % 4 else 999
            length = int(rng.integers(95, 130))
            # Noise that no running mean of 20 mistakes for the target.
            returns = np.where(np.arange(length) < there, rng.uniform(20, 150, length), 200.0)
            pace = rng.uniform(0.2, 2.0)
            steps = np.cumsum(returns)
            curves[name].append(
                [
                    [float(r), float(s), float(pace * (i + 1))]
                    for i, (r, s) in enumerate(zip(returns, steps))
                ]
            )
        used = bool((number + case) % 2)
        logged[name] = {
            "logged_steps": 1_000,
            "unlearnable_steps": 0 if used else 1_000,
            "updates": (1, 300)[case % 2] if used else 0,
        }
    return curves, logged


class CompareAlgorithms(Examination):
    """A method for each graded cell, by its grade_id."""

    @functools.cached_property
    def exam(self) -> CompareExam:
        return self.closing(CompareExam(self.notebook))

    def test_server(self) -> None:
        self.exam.require_curve("server")

    def test_episodes(self) -> None:
        self.exam.require_curve("episodes")

    def test_curve(self) -> None:
        self.exam.require_curve("curve")

    def test_progress(self) -> None:
        self.exam.require_curve("progress")

    def test_learning(self) -> None:
        self.exam.require_curve_of_learning()

    def test_spread(self) -> None:
        self.exam.require_spread()

    def test_conclusion(self) -> None:
        self.exam.require_conclusion()
