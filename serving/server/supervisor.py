"""The learner as the policy server sees it: starts it, feeds it, starts it again.

A learner may die, hang, or find no room on the machine to be started in. None of that is a reason
to lose a step or to stop acting, and all of it is said in `why`. Times are monotonic: what the clock
says does not matter.

Experience is numbered and kept until a checkpoint holds it, so a learner that dies loses none:
its successor starts from the checkpoint and is sent what comes after.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from serving import checkpoints
from serving.learner_start import start_learner
from serving.link import (
    Configure,
    Counters,
    Fatal,
    NewPolicy,
    NotSaved,
    Progress,
    Ready,
    Report,
    Saved,
    Stop,
    frame,
    receive_async,
    socket_pair,
    write,
)
from serving.policy import Policy
from serving.server.episodes import EpisodeBook

FEED_INTERVAL = 0.01  # seconds between two looks for experience while somebody plays
REST_INTERVAL = 0.1  # ... and once nobody has for REST_AFTER: looking takes a share of the CPU
REST_AFTER = 1.0  # seconds
SILENCE_SAID = 10.0  # seconds without a word from the learner before people are told
SILENCE_TOLERATED = 60.0  # seconds before nobody waits for it any more
SILENCE_FATAL = 180.0  # seconds before it is taken for hung, and replaced
FAILURES_TOLERATED = 4  # in a row, without a checkpoint in between
SECONDS_TO_PROVE = 60.0  # a learner that has lived so long is well even if it had nothing to learn
LONGEST_PAUSE = 8.0  # seconds between two attempts to start a learner
SECONDS_TO_STOP = 90.0  # a learner that is just starting has to be up before it can save


class LearnerSupervisor:
    """Owns the learner process, the newest policy and the experience not yet checkpointed.

    allowed
        how many env steps the policy may have acted in this session (`book.acted`) before
        `get_action` waits; see `serving.server.pacing`
    """

    def __init__(
        self, configure: Configure, book: EpisodeBook, policy: Policy, allowed: int, inherit=()
    ):
        self.configure = configure
        self.book = book
        self.policy = policy
        self.allowed = allowed
        self._phase = "starting"  # starting | serving | restarting | failed
        self._why = "starting the learner process"
        self.fatal: str | None = None  # set when starting again would not help
        self.counters = Counters(
            env_steps=book.env_steps, logged_steps=book.logged_steps, episodes=book.episodes
        )
        self.owed = 0
        self.updates_per_second = 0.0
        self.restarts = 0
        self.on_change: Callable[[], None] = lambda: None
        self.on_policy: Callable[[Policy], None] = lambda policy: None
        self.highest_version = 0  # of earlier policies: newer ones get a higher number
        self.saved_at: float | None = None
        self.iteration = asyncio.Event()  # set at each of the learner's reports
        self._inherit = list(inherit)  # file descriptors the learner holds open too
        self._failures = 0
        self._sequence = 0
        self._last_came = 0.0  # when there was last any experience to take
        self._kept: deque[tuple[int, int, bytes]] = deque()  # sequence, steps, frame
        self.steps_kept = 0  # waiting for the learner, or for its next checkpoint
        self.bytes_kept = 0
        self._sent = 0
        self._last_heard = time.monotonic()
        self._writer: asyncio.StreamWriter | None = None
        self._process = None  # a `subprocess.Popen`, or what is like it
        self._socket = None
        self._is_well = False  # the present process
        self._is_hung = False
        self._not_saved = ""  # why the latest checkpoint could not be written
        self._started = 0.0
        self._stopping = False
        self._stop_by = 0.0
        self._stop_asked = asyncio.Event()
        self._is_over = False  # whether `run` has ended
        self._cpu = (time.monotonic(), 0.0)

    # -- for the players ----------------------------------------------------------------------

    @property
    def why(self) -> str:
        """What keeps the learner from learning, in words; "" if nothing does."""
        silent = time.monotonic() - self._last_heard
        if self._phase == "serving" and silent > SILENCE_SAID:
            return f"the learner has said nothing for {silent:.0f} s"
        return self._why or self._not_saved

    @property
    def slack(self) -> int:
        """Env steps acting may be ahead of learning."""
        return self.configure.options.get("slack", 0)

    @property
    def nobody_learns(self) -> bool:
        """Whether there is no use in waiting for the learner: it is silent, or there is none."""
        silent = time.monotonic() - self._last_heard > SILENCE_TOLERATED
        return self._stopping or silent or self._phase == "failed"

    @property
    def state(self) -> str:
        """Of learning, for `protocol.Status`: idle exactly while no step waits."""
        if self._phase != "serving":
            return self._phase
        return "learning" if self.steps_waiting else "idle"

    @property
    def steps_waiting(self) -> int:
        """Complete steps accepted, and not learned from yet."""
        complete = self.book.env_steps - self.book.incomplete_steps
        return max(0, complete - self.counters.env_steps) + self.owed

    @property
    def unsaved_steps(self) -> int:
        """Complete steps that are in no checkpoint yet."""
        self._collect()
        return self.steps_kept

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    def cpus(self) -> float:
        """Share of CPU time the learner took since the last call that lies a second back."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
            used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError, ValueError):
            return 0.0
        (then, before), now = self._cpu, time.monotonic()
        if now - then >= 1.0:
            self._cpu = (now, used)
        return max(0.0, (used - before) / max(now - then, 1e-3))

    # -- for the server -----------------------------------------------------------------------

    def start(self) -> bool:
        """Starts the process; `run` does the talking. Its output goes to learner.log. False if the
        machine has no room for it now: `why` says so, and `run` tries again."""
        try:
            if self._process is not None:  # where the checkpoint now stands, there it goes on
                self.configure.restore = checkpoints.newest(self.configure.checkpoint_file)
            self._start()
        except checkpoints.CheckpointError as error:
            self.fatal = self._why = str(error)
            return False
        except OSError as error:
            self._why = f"the learner cannot be started: {error.strerror or error}; trying again"
            return False
        self._last_heard = self._started = time.monotonic()
        self._is_well = False
        return True

    def _start(self) -> None:
        Path(self.configure.log_dir).mkdir(parents=True, exist_ok=True)
        ours, theirs = socket_pair()
        try:
            with open(self.log_file, "ab") as log:
                self._process = start_learner(theirs, log, self._inherit)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        self._socket = ours

    @property
    def log_file(self) -> Path:
        return Path(self.configure.log_dir) / "learner.log"

    async def run(self) -> None:
        """Talks to the learner, and to its successors, until `stop` has had its way."""
        try:
            while await self._is_started():
                try:
                    await self._talk()
                except OSError:
                    pass  # it died while we wrote: the reader has seen, or will see, the same
                await self._bury()
                if self._has_stopped():
                    return
                if self.fatal or self._failures > FAILURES_TOLERATED:
                    break
                self._phase, self.restarts = "restarting", self.restarts + 1
                self.on_change()
                if self._failures > 1:
                    await self._pause(2.0 ** (self._failures - 2))
            if not self._has_stopped():
                self._phase = "failed"
                self.on_change()
                await self._keep_what_comes()
        finally:
            self._is_over = True

    async def _is_started(self) -> bool:
        """Whether there is a process to talk to. Starting one is tried as long as it takes; once
        the server stops, once only."""
        pause = 0.5
        while self._socket is None and not self.fatal:
            if self._has_stopped() or self.start():
                break
            self.on_change()
            if self._stopping:
                break
            await self._pause(pause)
            pause *= 2
        return self._socket is not None and not self.fatal

    async def _pause(self, seconds: float) -> None:
        """Sleeps, but not while somebody waits for the end."""
        # Not wait_for: until Python 3.12 it forgets a cancellation that comes together with the event.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, LONGEST_PAUSE)):
                await self._stop_asked.wait()

    async def stop(self) -> None:
        """Lets the learner save what it has got, and ends it; bounded by SECONDS_TO_STOP.

        `run` does the talking still: a learner that is starting gets what waits for it first, and
        so does the successor of one that dies now.
        """
        if self._stopping:
            return
        self._collect()
        self._stopping, self._stop_by = True, time.monotonic() + SECONDS_TO_STOP
        self._stop_asked.set()
        self.on_change()
        while not self._has_stopped() and time.monotonic() < self._stop_by:
            if self._writer is None and not self._kept:
                break  # it is starting, and would have nothing to save
            await asyncio.sleep(0.02)
        self.kill()

    def kill(self) -> None:
        """Ends the learner at once and for good; what it has not saved is lost."""
        self._stopping, self._stop_by = True, 0.0
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _has_stopped(self) -> bool:
        """Whether `stop` was called, and there is no process nor any need of another one."""
        if not self._stopping or self.pid is not None:
            return False
        in_vain = self._is_over or self._phase == "failed" or bool(self._not_saved)
        return not self._kept or in_vain or time.monotonic() >= self._stop_by

    async def _talk(self) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=self._socket, limit=2**24)
        self.configure.newest_version = max(self.policy.version, self.highest_version)
        self._writer, self._sent = None, 0
        tasks = []
        try:
            write(writer, frame(self.configure))
            for part in (self._listen(reader, writer), self._feed(), self._watch()):
                tasks.append(asyncio.create_task(part))
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._writer = self._socket = None
            writer.close()

    async def _listen(self, reader, writer) -> None:
        while (message := await receive_async(reader)) is not None:
            self._last_heard = time.monotonic()
            match message:
                case NewPolicy():
                    self.policy = Policy.unpack(message.policy)
                    self.on_policy(self.policy)
                case Report():
                    self._is_well |= message.counters.updates > self.counters.updates
                    self._is_well |= time.monotonic() - self._started > SECONDS_TO_PROVE
                    self.counters = message.counters
                    self.allowed, self.owed = message.allowed, message.owed
                    self.updates_per_second = message.updates_per_second
                    self._phase, self._why = "serving", ""
                    self.iteration.set()
                    self.on_change()
                case Saved():
                    self.saved_at = time.monotonic()
                    self._failures, self._not_saved = 0, ""
                    self._forget(message.consumed)
                case NotSaved():
                    self._not_saved = message.why
                case Progress():
                    self._why = message.doing
                case Ready():
                    self.counters = message.counters
                    self._sent = message.counters.consumed
                    self._writer = writer
                    self.on_change()
                case Fatal():
                    self.fatal = message.why

    async def _feed(self) -> None:
        while True:
            self._collect()  # also while nobody listens: it is numbered and counted here
            if self._writer is not None:
                self._send_unsent()
                if self._stopping:
                    write(self._writer, frame(Stop()))
                    await self._writer.drain()
                    return await asyncio.Event().wait()  # it saves, and goes
                await self._writer.drain()
            await self._until_next_look()

    async def _keep_what_comes(self) -> None:
        while True:
            self._collect()
            await self._until_next_look()

    async def _until_next_look(self) -> None:
        at_rest = time.monotonic() - self._last_came > REST_AFTER and not self._stopping
        if at_rest:
            await self._pause(REST_INTERVAL)
        else:
            await asyncio.sleep(FEED_INTERVAL)

    async def _watch(self) -> None:
        while time.monotonic() - self._last_heard < SILENCE_FATAL:
            await asyncio.sleep(min(1.0, SILENCE_FATAL / 4))
        self._process.kill()
        self._why = f"the learner had said nothing for {SILENCE_FATAL:.0f} s, and was ended"
        self._is_hung = True

    def _collect(self) -> None:
        for experience in self.book.take_experience():
            self._last_came = time.monotonic()
            self._sequence += 1
            experience.sequence = self._sequence
            message = frame(experience)
            self._kept.append((self._sequence, experience.steps, message))
            self.steps_kept += experience.steps
            self.bytes_kept += len(message)

    def _send_unsent(self) -> None:
        self._collect()
        for sequence, _, message in self._unsent():
            write(self._writer, message)
            self._sent = sequence

    def _unsent(self) -> list[tuple[int, int, bytes]]:
        if not self._kept or self._kept[-1][0] <= self._sent:
            return []
        first = max(0, self._sent - self._kept[0][0] + 1)
        return [self._kept[i] for i in range(first, len(self._kept))]

    def _forget(self, consumed: int) -> None:
        while self._kept and self._kept[0][0] <= consumed:
            _, steps, message = self._kept.popleft()
            self.steps_kept -= steps
            self.bytes_kept -= len(message)
        self.on_change()

    async def _bury(self) -> None:
        """Makes sure the process is gone, and says why it went."""
        if self._process.poll() is None:
            for _ in range(50):  # its socket closes a moment before the process is gone
                await asyncio.sleep(0.02)
                if self._process.poll() is not None:
                    break
            else:
                self._process.kill()
        code = self._process.wait()
        if self._has_stopped():
            return
        # Somebody may kill a learner as often as they like, as long as it gets anywhere at all. One
        # that ends by itself would do so again.
        self._failures = 1 if code < 0 and self._is_well else self._failures + 1
        reason = f"signal {-code}" if code < 0 else f"exit code {code}"
        if not self._is_hung:
            self._why = self.fatal or f"the learner ended with {reason}; see {self.log_file}"
        self._is_hung = False


class NoLearner(LearnerSupervisor):
    """For a server that acts and records, and never learns: there is no process, and nobody waits."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._phase = "serving"

    @property
    def why(self) -> str:
        return ""

    def start(self) -> bool:
        return True

    async def run(self) -> None:
        while True:
            if self.book.take_experience():
                self._last_came = time.monotonic()
            await self._until_next_look()

    @property
    def nobody_learns(self) -> bool:
        return True

    @property
    def state(self) -> str:
        return "idle"

    @property
    def steps_waiting(self) -> int:
        return 0
