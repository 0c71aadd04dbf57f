"""Lesson 04: what a comparison should look like, and what went wrong if it does not.

The verdict on a learning curve compares it with the records of the policy servers that it comes
from: which were started, how, and what they saw. A finding says what was expected and what came.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from unittest import mock

import numpy as np

from serving import running_server
from serving.client import PolicyClient
from serving.evaluation import time_limit
from serving.exercises.findings import Findings
from serving.exercises.visible import findings_of, namespace_of, require, require_all, show
from serving.protocol import PolicyServerError, Status, Transcript
from serving.running_server import RunningServer, wait_until

CURVE_TOPICS = {
    "server": "a fresh policy server for every curve, with the run and the seed asked for",
    "episodes": "whole episodes that train, until there are enough steps",
    "curve": "a row per episode: return, env steps so far, seconds so far, as the server saw them",
    "progress": "report() is told the steps of every episode",
}
SPREAD_TOPICS = {"numbers": "mean, spread and number of curves at every episode"}
SECONDS_FOR_A_CURVE = 60.0
# Options that say nothing about how a server learns.
OF_EVERY_SERVER = {
    "observation-size", "action-size", "run", "seed", "port", "host", "checkpoint-file", "log-dir",
}  # fmt: skip
CARTPOLE = (4, 2)  # numbers of an observation, actions


# -- learning curves -------------------------------------------------------------------------------


@dataclass
class Record:
    """What a policy server said of itself in the moment it was stopped."""

    options: dict[str, str]
    status: Status
    transcripts: list[Transcript]

    @property
    def rows(self) -> list[list[float]]:
        """Return, env steps so far, and seconds that cannot have been less, for each episode."""
        of = self.transcripts
        return [
            list(row)
            for row in zip(
                [float(sum(t.rewards)) for t in of],
                accumulate(len(t.actions) for t in of),
                accumulate(t.seconds[-1] for t in of),
            )
        ]


@dataclass
class Watched:
    """The servers that were started meanwhile."""

    started: list[RunningServer] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)


@contextlib.contextmanager
def servers_watched(namespace: dict | None = None, learner: bool = True) -> Iterator[Watched]:
    """Servers that are started in the block leave their records when they are stopped; those that
    are not are ended with the block. Without a `learner` they record only, and are up sooner."""
    watched = Watched()

    class WatchedServer(RunningServer):
        def __init__(self, *sizes, **options):
            super().__init__(*sizes, **{"learner": learner, **options})

        def start(self):
            watched.started.append(self)
            return super().start()

        def stop(self, seconds: float = 100.0) -> int:
            if self.process is not None and self.process.poll() is None:
                with contextlib.suppress(PolicyServerError):
                    client = self.client()
                    if learner:
                        _first_update(client)
                    options = dict(o[2:].split("=", 1) for o in self.command if "=" in o)
                    seen = client.episodes(last=1000).episodes
                    watched.records.append(Record(options, client.status(), seen))
            return super().stop(seconds)

    names = namespace if namespace is not None else {}
    own = [name for name, value in names.items() if value is RunningServer]
    with mock.patch.object(running_server, "RunningServer", WatchedServer):
        for name in own:
            names[name] = WatchedServer
        try:
            yield watched
        finally:
            for name in own:
                names[name] = RunningServer
            for server in watched.started:
                if server.process and server.process.poll() is None:
                    RunningServer.stop(server)


def _first_update(client: PolicyClient) -> None:
    """Waits for a learner that is still starting, or about to learn, on a machine that is busy: a
    server that has been told enough is not said to have learned nothing."""
    with contextlib.suppress(TimeoutError):
        wait_until(client, lambda s: s.updates or s.state in ("idle", "failed"), 60.0, "an update")


def watch_curve(
    learning_curve: Callable,
    run: str,
    seed: int,
    steps: int,
    namespace: dict | None = None,
    seconds: float = SECONDS_FOR_A_CURVE,
    learner: bool = True,
) -> tuple[Findings, Record | None]:
    """Lets the function make one curve, and compares it with its server's record."""
    findings, reported = Findings(), []
    began = time.monotonic()
    with servers_watched(namespace, learner) as watched:
        curve = error = None
        try:
            call = f"learning_curve({run!r}, {seed}, {steps}, report)"
            with time_limit(seconds, call):
                curve = learning_curve(run, seed, steps, reported.append)
        except (Exception, SystemExit) as raised:  # noqa: BLE001 - it is the student's code
            error = raised
        alive = [s for s in watched.started if s.process and s.process.poll() is None]
    elapsed = time.monotonic() - began
    if error is not None:
        _add_all(findings, f"learning_curve raised {type(error).__name__}: {error}")
        return findings, None
    if len(watched.started) != 1:
        how_many = len(watched.started) or "no"
        _add_all(
            findings,
            f"learning_curve started {how_many} policy servers: start one for each curve, "
            "with a_policy_server(...) as client",
        )
        return findings, None
    if alive or not watched.records:
        _add_all(
            findings,
            "the policy server was still running when learning_curve returned, or was killed: use "
            "it in a `with` block, which stops it",
        )
        return findings, None
    (record,) = watched.records
    _compare_server(findings, record, run, seed)
    _compare_episodes(findings, record, steps)
    _compare_curve(findings, record, curve, elapsed)
    _compare_progress(findings, record, reported)
    return findings, record


def _add_all(findings: Findings, sentence: str) -> None:
    for topic in CURVE_TOPICS:
        findings.add(topic, sentence)


def _compare_server(findings: Findings, record: Record, run: str, seed: int) -> None:
    status = record.status
    sizes = (status.observation_size, status.action_size)
    if sizes != CARTPOLE:
        findings.add(
            "server",
            f"the server was started for observations of {sizes[0]} numbers and {sizes[1]} "
            "actions, expected 4 and 2",
        )
    if status.run != run:
        findings.add("server", f"the server was started with run={status.run!r}, expected {run!r}")
    if record.options.get("seed") != str(seed):
        findings.add(
            "server",
            f"the server was started with seed={record.options.get('seed')}, expected {seed}: "
            "curves of the same seed are no second opinion",
        )
    if further := sorted(set(record.options) - OF_EVERY_SERVER):
        findings.add(
            "server",
            f"the server was started with {', '.join(further)} as well: servers that are to be "
            "compared differ in run and seed alone",
        )


def _compare_episodes(findings: Findings, record: Record, steps: int) -> None:
    episodes = record.transcripts
    if not episodes:
        findings.add("episodes", "the server saw no step")
        return
    if not all(t.training_enabled for t in episodes):
        findings.add("episodes", "an episode had training_enabled=False: the server learns nothing")
    if any("log" in t.sources for t in episodes):
        findings.add("episodes", "steps were logged: it is the policy that should act")
    if any(t.ending is None for t in episodes):
        findings.add("episodes", "an episode was not played to its end")
    made = [int(row[1]) for row in record.rows]
    before = made[-2] if len(made) > 1 else 0
    if made[-1] < steps:
        findings.add(
            "episodes", f"{made[-1]} steps were made, expected episodes until there are {steps}"
        )
    elif before >= steps:
        findings.add(
            "episodes",
            f"{len(made)} episodes were played, {made[-1]} steps altogether; there were {before} "
            f"steps before the last one, and {steps} would have been enough",
        )


def _compare_curve(findings: Findings, record: Record, curve, seconds: float) -> None:
    rows = record.rows
    try:
        table = np.array([[float(number) for number in row] for row in curve], float)
    except (TypeError, ValueError):
        findings.add(
            "curve", f"learning_curve returned {short(curve)}, expected rows of three numbers"
        )
        return
    if table.shape != (len(rows), 3):
        findings.add(
            "curve",
            f"the curve has the shape {table.shape}, expected {(len(rows), 3)}: three numbers for "
            "each episode that the server saw",
        )
        return
    for column, what in enumerate(("return", "number of env steps so far")):
        expected = np.array([row[column] for row in rows])
        wrong = np.flatnonzero(~np.isclose(table[:, column], expected))
        if len(wrong):
            i = int(wrong[0])
            findings.add(
                "curve",
                f"the {what} of episode {i} is {table[i, column]:g} in the curve, and the server "
                f"saw {expected[i]:g}",
            )
            return
    if not len(rows):
        return
    clock, least = table[:, 2], rows[-1][2]
    if (np.diff(clock) < 0).any() or clock[0] < 0:
        findings.add("curve", "the seconds go backwards: count them from when the server is up")
    elif clock[-1] > seconds + 0.1:
        findings.add(
            "curve",
            f"the curve ends at {clock[-1]:g} s, and all of it took {seconds:.1f} s: count from "
            "when the server is up",
        )
    elif clock[-1] < 0.9 * least - 0.01:
        findings.add(
            "curve",
            f"the curve ends at {clock[-1]:.3f} s, and the episodes alone took {least:.3f} s: "
            "count the seconds so far, not those of one episode",
        )


def _compare_progress(findings: Findings, record: Record, reported: list) -> None:
    expected = [len(t.actions) for t in record.transcripts]
    try:
        right = [int(steps) for steps in reported] == expected
    except (TypeError, ValueError):
        right = False
    if not right:
        findings.add(
            "progress",
            f"report() was called with {short(reported)}, expected {short(expected)}: once after "
            "each episode, with its number of steps",
        )


# -- mean and spread -------------------------------------------------------------------------------


def watch_spread(mean_and_spread: Callable, cases: list[list[list[float]]]) -> Findings:
    """Compares with means, standard deviations and counts of these curves."""
    findings = Findings()
    for curves in cases:
        expected = _expected_spread(curves)
        try:
            with time_limit(10, "mean_and_spread(curves)"):
                answer = mean_and_spread(copy.deepcopy(curves))
            parts = [np.array(part, float) for part in answer]
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the student's code
            said = f"mean_and_spread({curves}) raised {type(error).__name__}: {error}"
            findings.add("numbers", said)
            return findings
        if len(parts) != 3:
            findings.add(
                "numbers", f"mean_and_spread returned {len(parts)} values, expected three lists"
            )
            return findings
        for name, want, came in zip(("mean", "spread", "number of curves"), expected, parts):
            if came.shape != (len(want),) or not np.allclose(came, want, atol=1e-6):
                findings.add(
                    "numbers",
                    f"the {name} of {curves} is {short(came.tolist())}, expected "
                    f"{short(np.round(want, 4).tolist())}",
                )
                return findings
    return findings


def _expected_spread(curves: list[list[float]]) -> tuple[list[float], list[float], list[int]]:
    at = [
        [curve[i] for curve in curves if i < len(curve)]
        for i in range(max(map(len, curves), default=0))
    ]
    return [float(np.mean(v)) for v in at], [float(np.std(v)) for v in at], [len(v) for v in at]


# -- what the lesson shows -------------------------------------------------------------------------


def examine_curve(learning_curve: Callable, run: str = "PG", seed: int = 7) -> Findings:
    """Two short curves; the second one is to end with an episode exactly. Topics: CURVE_TOPICS.

    The first has some ten episodes: of three, on a busy machine, each may take longer than the one
    before, and then its own seconds look like the seconds so far.
    """
    namespace = namespace_of(learning_curve)
    findings, record = watch_curve(learning_curve, run, seed, 200, namespace, learner=False)
    if findings:
        return findings
    # The same seeds make the same episodes again, as nothing was learned.
    enough = int(record.rows[1][1])
    return watch_curve(learning_curve, run, seed, enough, namespace, learner=False)[0]


def check_learning_curve(learning_curve: Callable) -> bool:
    """Lets the function make two very short curves, and prints what is right and what is not."""
    says = "Making curves of some 200 and some 40 steps, PG with seed 7 ..."
    return show(lambda: examine_curve(learning_curve), CURVE_TOPICS, says)


def check_mean_and_spread(mean_and_spread: Callable) -> bool:
    """Tries it on a few curves, and prints what is right and what is not."""
    says = "Curves of equal and of different lengths, a single one, none ..."
    return show(lambda: watch_spread(mean_and_spread, SOME_CURVES), SPREAD_TOPICS, says)


def require_curve(learning_curve: Callable, topic: str) -> None:
    """Raises AssertionError with what is wrong about `topic`, one of CURVE_TOPICS."""
    require(lambda: findings_of(learning_curve, examine_curve), topic, CURVE_TOPICS)


def require_curve_right(learning_curve: Callable) -> None:
    """Raises AssertionError with anything that is wrong about the curve."""
    require_all(lambda: findings_of(learning_curve, examine_curve), CURVE_TOPICS)


def require_mean_and_spread(mean_and_spread: Callable) -> None:
    """Raises AssertionError with what is wrong about mean and spread."""
    require_all(lambda: watch_spread(mean_and_spread, SOME_CURVES), SPREAD_TOPICS)


SOME_CURVES = [
    [[1, 2, 3], [3, 6]],
    [[4.0], [1.0, 9.0, 2.0], [7.0, 1.0]],
    [[5.0, 6.0]],
    [[1.0, 8.0], [3.0, 2.0], [8.0, 2.0]],
    [],
]


def short(value) -> str:
    text = f"{value!r}"
    return text if len(text) < 120 else text[:110] + " ..."
