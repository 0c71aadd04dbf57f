"""Training from log shards: reads them side by side, learns, saves; nothing is served meanwhile."""

from __future__ import annotations

import argparse
import glob
import logging
import os
import queue
import sys
import time
import uuid
import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from serving import ROOT, checkpoints
from serving.command_line import StartError, uninterrupted
from serving.link import Configure
from serving.logs import LogError
from serving.settings import settings_from

PORTION = 4_000  # steps read at a time, about
READING = "reading"  # RLlib asks env runners for other things, too
SAVE_EVERY = 30.0  # seconds
EVENTS_EVERY = 1.0  # seconds, for TensorBoard
PROBE_EVERY = 1.0  # seconds, for an env runner that died to be back
MOST_DEATHS = 10  # of env runners in a row, with nothing read in between
SECONDS_TO_START = 300.0  # for env runners


class Portion(NamedTuple):
    """What is to be read next of a shard: `first` episodes of it are done."""

    shard: str
    first: int


class Pass:
    """Reads every episode of all shards once, with as many env runners as there are.

    An env runner is asked for a portion of a shard, some episodes, and they count when they have
    come. If it dies, Ray starts another in its place, and the portion that it was reading is read
    again by whoever is free: none is lost, none counts twice.

    group: RLlib's `EnvRunnerGroup` of `LogShardEnvRunner`s.
    """

    def __init__(self, group, shards: list[str], may_be_cut_off: bool = False):
        self.shards = len(shards)
        self.finished = self.episodes = self.steps = self.deaths = 0
        self._steps_of_finished, self._steps_of = 0, dict.fromkeys(shards, 0)
        self._group = group
        self._may_be_cut_off = may_be_cut_off
        self._to_do = deque(Portion(shard, 0) for shard in shards)
        self._asked: dict[int, Portion] = {}  # env runner -> what it is reading
        self._next: dict[int, Portion] = {}  # env runner -> what follows, in a file it has open
        self._deaths_in_a_row = 0
        self._next_probe = 0.0
        self._last_sign = time.monotonic()

    @property
    def is_done(self) -> bool:
        return self.finished == self.shards

    @property
    def expected_steps(self) -> int | None:
        """Of all shards, going by the finished ones; None as long as there is none."""
        if not self.finished:
            return None
        return round(self._steps_of_finished / self.finished * self.shards)

    def ask(self) -> None:
        """Gives everybody who is free something to read."""
        for runner in self._group.healthy_env_runner_ids():
            if runner in self._asked or not (self._to_do or runner in self._next):
                continue
            portion = self._next.pop(runner, None) or self._to_do.popleft()
            self._asked[runner] = portion
            self._group.foreach_env_runner_async(
                "sample",
                tag=READING,
                kwargs={
                    **portion._asdict(),
                    "most_steps": PORTION,
                    "may_be_cut_off": self._may_be_cut_off,
                },
                remote_worker_ids=[runner],
            )

    def take(self, wait: float = 0.0) -> list:
        """The episodes that have come, as RLlib's; waits up to `wait` seconds for them. Raises
        LogError if a shard is not as it should be, StartError if the env runners keep dying."""
        taken = []
        for runner, read in self._group.fetch_ready_async_reqs(tags=READING, timeout_seconds=wait):
            shard, first = self._asked.pop(runner)
            if read.error:
                raise LogError(read.error)
            steps = sum(map(len, read.episodes))
            self.episodes, self.steps = self.episodes + len(read.episodes), self.steps + steps
            self._steps_of[shard] += steps
            if read.is_last:
                self.finished += 1
                self._steps_of_finished += self._steps_of[shard]
            else:
                self._next[runner] = Portion(shard, first + len(read.episodes))
            taken += read.episodes
            self._deaths_in_a_row, self._last_sign = 0, time.monotonic()
        self._look_after_the_dead()
        return taken

    def _look_after_the_dead(self) -> None:
        healthy = set(self._group.healthy_env_runner_ids())
        for runner in set(self._next) - healthy:
            self._to_do.appendleft(self._next.pop(runner))
        for runner in set(self._asked) - healthy:
            self._to_do.appendleft(self._asked.pop(runner))
            self.deaths, self._deaths_in_a_row = self.deaths + 1, self._deaths_in_a_row + 1
            if self._deaths_in_a_row > MOST_DEATHS:
                raise StartError("the env runners keep dying; Ray's logs say why")
        if len(healthy) < self._group.num_remote_env_runners() and (
            time.monotonic() >= self._next_probe
        ):
            self._next_probe = time.monotonic() + PROBE_EVERY
            self._group.probe_unhealthy_env_runners(timeout_seconds=0.05)
        if not healthy and time.monotonic() - self._last_sign > SECONDS_TO_START:
            raise StartError(f"no env runner has come back for {SECONDS_TO_START:.0f} s")


class Progress:
    """The bar: how many steps were learned from, of how many there are to learn from."""

    def __init__(self, passes: int, quiet: bool):
        self._passes = passes
        self._bar = tqdm(
            total=10**9,  # until it is known
            disable=quiet,
            mininterval=0.5,
            miniters=0,
            bar_format="{percentage:3.0f}%|{bar:20}| {desc}, {remaining} left",
        )

    def show(self, number: int, reading: Pass, steps: int, learned: int, algorithm) -> None:
        """number: of the pass, from 1; steps: read in all passes."""
        self._bar.set_description_str(
            f"pass {number} of {self._passes}: {reading.episodes:,} episodes, {steps:,} steps read, "
            f"{learned:,} learned from, {algorithm.updates_per_second:,.0f} updates/s",
            refresh=False,
        )
        expected = reading.expected_steps
        if expected is not None:
            left = (self._passes - number) * expected + max(0, expected - reading.steps)
            self._bar.total = max(steps + left, 1)
        self._bar.update(max(0, learned) - self._bar.n)

    def close(self) -> None:
        self._bar.close()


class Result(NamedTuple):
    """`episodes` and `steps` count each pass; `reading` and `seconds` are durations."""

    episodes: int
    steps: int
    updates: int
    deaths: int
    reading: float
    seconds: float


class Trainer:
    """The algorithm, the env runners that feed it, and the checkpoint it ends in."""

    def __init__(self, options: argparse.Namespace, settings):
        self.options = options
        self.configure = Configure(
            session=uuid.uuid4().hex,
            run=options.run,
            observation_size=options.observation_size,
            action_size=options.action_size,
            options={},
            checkpoint_file=str(Path(options.checkpoint_file).absolute()),
            restore=checkpoints.newest(options.checkpoint_file),
            log_dir=str(Path(options.log_dir or f"{options.checkpoint_file}.logs").absolute()),
        )
        if self.configure.restore:
            meta, _ = checkpoints.read(self.configure.restore)
            checkpoints.check_fits(
                meta, self.configure.restore, options.run,
                options.observation_size, options.action_size, settings.hidden,
            )  # fmt: skip
        self.algorithm = self._build(settings)

    def _build(self, settings):
        import torch

        from serving.learner import uncompiled  # noqa: F401 - before RLlib
        from serving.learner.algorithms import config_for
        from serving.learner.log_shards import LogShardEnvRunner

        torch.set_num_threads(1)  # the matrices are small: threads would only wait for each other
        config = config_for(
            self.options.run, settings, self.options.observation_size, self.options.action_size
        ).env_runners(
            env_runner_cls=LogShardEnvRunner,
            num_env_runners=self.options.num_env_runners,
            num_cpus_per_env_runner=0,  # they mostly wait for the learner
        )
        config.fault_tolerance(restart_failed_env_runners=True)
        algorithm = config.build_algo()
        algorithm.env_runner.connect(queue.SimpleQueue(), lambda state, version: None)
        if self.configure.restore:
            algorithm.load(Path(self.configure.restore) / checkpoints.LEARNER)
            algorithm.begin_session()
        return algorithm

    def processes(self) -> list[int]:
        """The env runners' process ids; raises StartError if Ray does not start them."""
        started = self.algorithm.env_runner_group.foreach_env_runner(
            lambda runner: os.getpid(), local_env_runner=False, timeout_seconds=SECONDS_TO_START
        )
        if len(started) < self.options.num_env_runners:
            raise StartError(
                f"Ray has started {len(started)} of {self.options.num_env_runners} env runners "
                f"within {SECONDS_TO_START:.0f} s"
            )
        return started

    def train(self, shards: list[str]) -> Result:
        """Learns from all passes, and saves."""
        from serving.learner.events import Events
        from serving.learner.process import write_events

        algorithm, started = self.algorithm, time.monotonic()
        episodes = steps = deaths = 0
        reading_seconds, updates = 0.0, algorithm.counters.updates
        events = Events(self.configure.log_dir)
        progress = Progress(self.options.passes, self.options.quiet)
        next_save, next_events = started + SAVE_EVERY, started

        def now_and_then() -> None:
            nonlocal next_save, next_events
            algorithm.metrics.reduce()
            if time.monotonic() > next_events:
                next_events = time.monotonic() + EVENTS_EVERY
                write_events(events, algorithm)
            if time.monotonic() > next_save:
                self.save()
                next_save = time.monotonic() + SAVE_EVERY

        try:
            for number in range(1, self.options.passes + 1):
                reading = Pass(algorithm.env_runner_group, shards, self.options.may_be_cut_off)
                began = time.monotonic()
                for _ in self._rounds(reading):
                    so_far = steps + reading.steps
                    progress.show(number, reading, so_far, so_far - algorithm.owed, algorithm)
                    now_and_then()
                episodes, steps = episodes + reading.episodes, steps + reading.steps
                deaths += reading.deaths
                reading_seconds += time.monotonic() - began
            while algorithm.owed:
                with uninterrupted():
                    algorithm.training_step(0.5)
                progress.show(number, reading, steps, steps - algorithm.owed, algorithm)
                now_and_then()
        finally:
            progress.close()
            events.close()
        updates = algorithm.counters.updates - updates
        self.save()
        return Result(episodes, steps, updates, deaths, reading_seconds, time.monotonic() - started)

    def _rounds(self, reading: Pass) -> Iterator[None]:
        """Reads and learns until the pass has been read to its end. Reading goes first, as long as
        nothing is forgotten before it was learned from; while nothing comes, it learns."""
        algorithm = self.algorithm
        room = algorithm.settings.replay_capacity - PORTION * self.options.num_env_runners
        while not reading.is_done:
            if algorithm.owed < max(room, 1):
                reading.ask()
            episodes = reading.take(wait=0.05)
            with uninterrupted():
                algorithm.take_over(episodes)
                if algorithm.owed and not episodes:
                    algorithm.training_step(0.2)
            yield

    def save(self) -> None:
        from serving.learner.process import write_checkpoint

        write_checkpoint(self.configure, self.algorithm)


def find_shards(patterns: list[str]) -> list[str]:
    """The files that the patterns name, each once; raises StartError for one that names none."""
    found = []
    for pattern in patterns:
        files = sorted(glob.glob(pattern))
        if not files:
            raise StartError(f"{pattern}: no such log")
        found += [os.path.abspath(file) for file in files]
    return list(dict.fromkeys(found))


def check(options: argparse.Namespace, settings) -> None:
    """Raises StartError for what can be known before anything is started."""
    for name in ("observation_size", "action_size", "num_env_runners", "passes"):
        if getattr(options, name) < 1:
            flag = "--" + name.replace("_", "-")
            raise StartError(f"{flag}={getattr(options, name)}: expected 1 or more")
    if not hasattr(settings, "replay_capacity"):
        raise StartError(
            f"--run={options.run} learns from its own actions only, and a log holds those of "
            "others: it would teach it nothing; --run=DQN learns from everybody's"
        )


def run(options: argparse.Namespace) -> Result:
    """Trains as the options say; the checkpoint is there when it returns."""
    settings = settings_from(options)
    check(options, settings)
    shards = find_shards(options.logs)
    lock = checkpoints.lock(options.checkpoint_file)
    try:
        warnings.simplefilter("ignore")
        if not options.quiet:
            print(f"{len(shards)} shards; waiting for Ray ...", flush=True)
        # Ray's core fears for the arguments of env runners it may have to start again; RLlib keeps
        # them.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        from serving.ray_cluster import attach_ray, without_stderr

        # The env runners find this package where it lies here.
        path = {"PYTHONPATH": str(ROOT)}
        with without_stderr():  # which is where it says that it has read the variable
            attach_ray(options.ray_address, runtime_env={"env_vars": path})
        # They would report every death with a traceback; we replace the dead, and count.
        for name in ("utils.actor_manager", "env.env_runner_group", "algorithms.algorithm_config"):
            logging.getLogger(f"ray.rllib.{name}").setLevel(logging.CRITICAL)
        trainer = Trainer(options, settings)
        try:
            processes = trainer.processes()
            if not options.quiet:
                print(f"read by processes {', '.join(map(str, processes))}", flush=True)
            return trainer.train(shards)
        except KeyboardInterrupt:
            trainer.save()
            raise
        finally:
            trainer.algorithm.stop()
    finally:
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()
        os.close(lock)
