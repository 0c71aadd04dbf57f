"""Who watches the watcher: a machine in need, a learner that is silent, a terminal that is held."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest
from players import play_steps

from serving import checkpoints
from serving.link import Configure
from serving.policy import untrained
from serving.running_server import RunningServer, wait_until
from serving.server import console, process, supervisor
from serving.server.episodes import EpisodeBook
from serving.server.supervisor import LearnerSupervisor

READY = 120.0
pytestmark = pytest.mark.usefixtures("learners_of_their_own")
LONG = bool(os.environ.get("LONG_SUPERVISION"))  # `make long-test`: two minutes of silence


def is_idle(status) -> bool:
    return status.state == "idle"


takes_long = pytest.mark.skipif(not LONG, reason="the long form only: LONG_SUPERVISION=1")


def a_server_with(folder, patch: str, **options) -> RunningServer:
    """A real server process, in which `patch` is run before anything else."""
    server = RunningServer(4, 2, folder=folder, **options)
    start = textwrap.dedent(patch) + textwrap.dedent("""
        import sys
        from serving.simple_policy_server import main
        sys.exit(main())
    """)
    server.command = [sys.executable, "-c", start, *server.command[2:]]
    return server


def a_supervisor(tmp_path) -> LearnerSupervisor:
    configure = Configure("s", "DQN", 4, 2, {}, str(tmp_path / "policy"), None, str(tmp_path))
    return LearnerSupervisor(configure, EpisodeBook(4, 2), untrained(4, 2, [8]), 100)


def test_a_task_at_rest_can_be_ended_while_the_server_stops(tmp_path):
    """Does a task that looks for experience end when it is cancelled in the moment in which everything
    is told to stop? (Now and then it went on for ever.)"""

    async def stopped() -> bool:
        supervisor = a_supervisor(tmp_path)
        task = asyncio.create_task(supervisor._keep_what_comes())
        await asyncio.sleep(0.05)
        supervisor._stopping = True
        supervisor._stop_asked.set()
        await asyncio.sleep(0)  # the event has been heard, and its task not yet run
        task.cancel()
        await asyncio.wait([task], timeout=1.0)
        return task.cancelled()

    assert asyncio.run(stopped())


@pytest.mark.slow
def test_a_learner_whose_death_is_noticed_late(tmp_path):
    """If a learner is gone, and what is next for it is written before anybody has seen that it is:
    does the server go on, with a successor that is told all of it?"""
    patch = """
        import asyncio
        from serving.server import supervisor
        async def late(self, reader, writer, listen=supervisor.LearnerSupervisor._listen):
            await listen(self, reader, writer)
            await asyncio.sleep(1)
        supervisor.LearnerSupervisor._listen = late
        supervisor.FEED_INTERVAL = supervisor.REST_INTERVAL = 0.5
    """
    with a_server_with(tmp_path, patch) as server:
        client = server.client()
        pid = server.wait_until(is_idle, READY, "the learner").learner_pid
        os.kill(pid, signal.SIGSTOP)
        play_steps(client, 20)
        time.sleep(0.8)  # it is sent, and not read: the connection will end in a reset
        os.kill(pid, signal.SIGKILL)
        play_steps(client, 20)
        status = server.wait_until(is_idle, READY, "the next learner")
        assert (status.learner_restarts, status.env_steps) == (1, 40)
        assert server.stop() == 0


# -- a machine in need -----------------------------------------------------------------------------


@pytest.mark.slow
def test_no_file_descriptors_for_a_successor(tmp_path):
    """Is a learner that cannot be started again tried until it can, and nothing lost meanwhile?"""
    with RunningServer(4, 2, folder=tmp_path) as server:
        client = server.client()
        pid = wait_until(client, is_idle, READY, "the learner").learner_pid
        play_steps(client, 20)
        us = psutil.Process(server.process.pid)
        before = us.rlimit(psutil.RLIMIT_NOFILE)
        us.rlimit(psutil.RLIMIT_NOFILE, (us.num_fds() - 1, before[1]))
        os.kill(pid, signal.SIGKILL)
        status = wait_until(client, lambda s: "cannot be started" in s.why, 60, "the reason")
        assert status.state == "restarting" and "Too many open files" in status.why
        play_steps(client, 30, training_enabled=False)  # it acts all the same
        us.rlimit(psutil.RLIMIT_NOFILE, before)
        status = server.wait_until(is_idle, READY, "the next learner")
        assert status.learner_restarts == 1
        play_steps(client, 50)
        assert server.stop() == 0
    meta, _ = checkpoints.read(checkpoints.newest(server.checkpoint_file))
    assert meta.counters.env_steps == 70


def test_ctrl_c_while_nothing_can_be_started(tmp_path):
    """Does the server end at once, and say what is lost, if there is no learner to save it?"""
    with RunningServer(4, 2, folder=tmp_path) as server:
        client = server.client()  # its connection stays open: there will be none for another
        pid = client.status().learner_pid
        us = psutil.Process(server.process.pid)
        us.rlimit(psutil.RLIMIT_NOFILE, (us.num_fds() - 1, us.rlimit(psutil.RLIMIT_NOFILE)[1]))
        os.kill(pid, signal.SIGKILL)
        wait_until(client, lambda s: "cannot be started" in s.why, 60, "the reason")
        play_steps(client, 40)
        started = time.monotonic()
        assert server.stop(60) == 1
        assert time.monotonic() - started < 15
    assert "40 steps were not saved: the learner cannot be started" in server.lines[-1]


@pytest.mark.parametrize("error", [OSError(12, "Cannot allocate memory"), BlockingIOError(11, "x")])
def test_starting_is_tried_again_with_patience(tmp_path, monkeypatch, error):
    """Are attempts further and further apart, and is each one's reason there to be read?"""
    learner, pauses, attempts = a_supervisor(tmp_path), [], []

    def start(*arguments):
        attempts.append(learner.why)
        raise error

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 6:
            learner._stopping = True

    monkeypatch.setattr(supervisor, "start_learner", start)
    monkeypatch.setattr(learner, "_pause", pause)
    descriptors = psutil.Process().num_fds()
    asyncio.run(asyncio.wait_for(learner.run(), 20))
    assert pauses == [0.5, 1, 2, 4, 8, 16]  # of which _pause() takes LONGEST_PAUSE at most
    assert len(attempts) >= 6 and "cannot be started" in attempts[-1]
    assert (
        psutil.Process().num_fds() <= descriptors
    )  # what an earlier test left may be closed by now


def test_the_first_failure_of_a_task_is_said(tmp_path):
    """Does the server say that a part of it has failed, save what it has, and end with a 1?"""
    with a_server_with(
        tmp_path,
        """
        from serving.server import process
        async def tidy(book):
            import asyncio
            while book.env_steps < 30:
                await asyncio.sleep(0.05)
            raise ZeroDivisionError("an accident")
        process.tidy = tidy
        """,
    ) as server:
        server.wait_until(is_idle, READY, "the learner")
        play_steps(server.client(), 30)
        assert server.process.wait(60) == 1
    said = "\n".join(server.lines)
    assert "closing abandoned episodes failed: ZeroDivisionError('an accident')" in said
    assert "Traceback" in said and "not saved" not in said
    meta, _ = checkpoints.read(checkpoints.newest(server.checkpoint_file))
    assert meta.counters.env_steps == 30


@takes_long
def test_the_supervising_task_fails(tmp_path):
    """If the very task that feeds the learner fails, is that said, and are the steps counted?"""
    with a_server_with(
        tmp_path,
        """
        from serving.server.supervisor import LearnerSupervisor
        whole = LearnerSupervisor._send_unsent
        def send(self):
            if self.book.env_steps >= 30:
                raise ZeroDivisionError("an accident")
            whole(self)
        LearnerSupervisor._send_unsent = send
        """,
    ) as server:
        server.wait_until(is_idle, READY, "the learner")
        play_steps(server.client(), 30)
        assert server.process.wait(60) == 1
    assert "supervising the learner failed" in server.lines[-1]
    assert "steps were not saved" in server.lines[-1]


@pytest.mark.slow
def test_a_full_disk(tmp_path):
    """Is a disk without room said in words, learned on, and saved to when there is room again?"""
    with RunningServer(4, 2, folder=tmp_path) as server:
        client = server.client()
        pid = server.wait_until(is_idle, READY, "the learner").learner_pid
        play_steps(client, 60)
        learner = psutil.Process(pid)
        before = learner.rlimit(psutil.RLIMIT_FSIZE)
        learner.rlimit(psutil.RLIMIT_FSIZE, (2_000, before[1]))
        play_steps(client, 40)
        status = server.wait_until(lambda s: "cannot save" in s.why, 60, "the reason")
        assert "File too large" in status.why
        play_steps(client, 40)
        server.wait_until(is_idle, 60, "learning to go on")
        assert not list(tmp_path.glob("policy.checkpoints/.writing-*"))
        learner.rlimit(psutil.RLIMIT_FSIZE, before)
        status = server.wait_until(lambda s: is_idle(s) and not s.why, 60, "a checkpoint")
        assert (status.learner_pid, status.learner_restarts) == (pid, 0)
        learner.rlimit(psutil.RLIMIT_FSIZE, (2_000, before[1]))
        play_steps(client, 30)
        assert server.stop() == 1
    assert "30 steps were not saved: cannot save to" in server.lines[-1]
    meta, _ = checkpoints.read(checkpoints.newest(server.checkpoint_file))
    assert meta.counters.env_steps == 140


# -- silence ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_learner_that_is_stopped_for_a_while(tmp_path):
    """Is its silence said in words, does it go on where it was, and is nothing lost?"""
    seconds, patch = (120.0, "") if LONG else (6.0, "from serving.server import supervisor\n"
                                               "supervisor.SILENCE_SAID = 2.0\n"
                                               "supervisor.SILENCE_TOLERATED = 4.0")  # fmt: skip
    with a_server_with(tmp_path, patch) as server:
        pid = server.wait_until(is_idle, READY, "the learner").learner_pid
        client = server.client()
        os.kill(pid, signal.SIGSTOP)
        try:
            until = time.monotonic() + seconds
            play_steps(client, 200)
            status = server.wait_until(lambda s: "has said nothing for" in s.why, 60, "a word")
            assert status.learner_pid == pid
            time.sleep(max(0.0, until - time.monotonic()))
        finally:
            os.kill(pid, signal.SIGCONT)
        status = server.wait_until(lambda s: is_idle(s) and not s.why, 60, "learning to catch up")
        assert (status.learner_pid, status.learner_restarts) == (pid, 0)
        assert server.stop() == 0
    assert any("has said nothing for" in line for line in server.lines)
    meta, _ = checkpoints.read(checkpoints.newest(server.checkpoint_file))
    assert meta.counters.env_steps == 200


@takes_long
def test_a_learner_that_is_silent_for_good_is_replaced(tmp_path):
    """Is a hung learner ended, is that said, and does its successor get everything?"""
    patch = "from serving.server import supervisor\nsupervisor.SILENCE_FATAL = 12.0"
    with a_server_with(tmp_path, patch) as server:
        pid = server.wait_until(is_idle, READY, "the learner").learner_pid
        os.kill(pid, signal.SIGSTOP)
        play_steps(server.client(), 50)
        status = server.wait_until(lambda s: s.learner_restarts == 1, 60, "another learner")
        assert "had said nothing for 12 s" in status.why or status.state != "restarting"
        status = server.wait_until(is_idle, READY, "it to learn")
        assert status.learner_pid != pid
        assert server.stop() == 0
    meta, _ = checkpoints.read(checkpoints.newest(server.checkpoint_file))
    assert meta.counters.env_steps == 50


@pytest.mark.slow
def test_a_clock_that_jumps(tmp_path):
    """Does nothing notice that the clock jumps by a year, forth and back again?"""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        textwrap.dedent("""
        import time
        real, began = time.time, time.monotonic()
        def jumping():
            year = 365 * 86_400.0
            return real() + (0.0, year, -year)[int((time.monotonic() - began) / 2) % 3]
        time.time = jumping
    """)
    )
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        server = RunningServer(4, 2, folder=tmp_path).start()
    try:
        server.wait_until(is_idle, READY, "the learner")
        client, until, steps = server.client(), time.monotonic() + 8, 0
        open_episode = client.start_episode()
        while time.monotonic() < until:
            play_steps(client, 20)
            steps += 20
        client.get_action(open_episode, [0.0] * 4)  # nobody took it for abandoned
        status = server.wait_until(is_idle, 60, "learning to catch up")
        assert (status.learner_restarts, status.why) == (0, "")
        assert 0 < status.uptime < 600
        assert server.stop() == 0
    finally:
        server.stop()
    meta, _ = checkpoints.read(checkpoints.newest(server.checkpoint_file))
    assert meta.counters.env_steps == steps


# -- a terminal that is held -----------------------------------------------------------------------


def test_a_terminal_that_is_held_holds_nobody():
    """Does printing into a full pipe wait for nothing, and say later what it left out?"""
    reader, writer = os.pipe()
    printer = console.Console(writer)
    started = time.monotonic()
    for k in range(5_000):
        printer.say(f"{k} " + "x" * 100)
    printer.flush(0.2)
    assert time.monotonic() - started < 5
    assert 0 < printer._open <= console.MOST_LINES + 1  # and some more fill the pipe
    said = b""

    def read():
        nonlocal said
        while received := os.read(reader, 2**16):
            said += received

    thread = threading.Thread(target=read)
    thread.start()
    printer.flush(20)
    printer.say("and on")
    printer.flush(20)
    os.close(writer)
    thread.join()
    os.close(reader)
    lines = said.decode().splitlines()
    assert [line.split()[0] for line in lines[:900]] == [str(k) for k in range(900)]
    left_out = re.findall(r"\(([\d,]+) lines were left out: the terminal was held\)", said.decode())
    assert left_out and lines[-1] == "and on"
    assert len(lines) - len(left_out) + sum(int(n.replace(",", "")) for n in left_out) == 5_001


def test_a_terminal_that_was_closed():
    """Is a line that nobody can read no failure?"""
    reader, writer = os.pipe()
    os.close(reader)
    printer = console.Console(writer)
    for _ in range(5):
        printer.say("to nobody")
    printer.flush(5)
    assert printer._open == 0
    os.close(writer)


@pytest.mark.slow
def test_players_of_a_server_whose_terminal_is_held(tmp_path):
    """Do players get their answers from a real server that nobody reads, and does it end?"""
    server = RunningServer(4, 2, folder=tmp_path, learner=False)
    reader, writer = os.pipe()
    process_, lines = None, b""
    try:
        process_ = subprocess.Popen(server.command, stdin=subprocess.PIPE, stdout=writer)
        while b"stop it with Ctrl-C" not in lines:
            lines += os.read(reader, 4096)
        # From here on nobody reads, and the pipe is full.
        os.set_blocking(writer, True)
        filler = threading.Thread(target=os.write, args=(writer, b"x" * 2**20), daemon=True)
        filler.start()
        server.address = lines.decode().split("listens at ")[1].split()[0]
        client = server.client(timeout=10)
        until = time.monotonic() + 4
        while time.monotonic() < until:
            play_steps(client, 10)
        process_.send_signal(signal.SIGINT)
        assert process_.wait(20) == 0
    finally:
        if process_ and process_.poll() is None:
            process_.kill()
        if process_:
            process_.stdin.close()
        os.close(reader)
        os.close(writer)


def test_first_failure_is_a_sentence():
    """Is nothing said of tasks that run, have ended or were cancelled?"""

    async def look():
        async def fails():
            raise KeyError("x")

        good = asyncio.create_task(asyncio.sleep(0), name="good")
        bad = asyncio.create_task(fails(), name="bad")
        late = asyncio.create_task(asyncio.sleep(60), name="late")
        await asyncio.sleep(0.01)
        assert process.first_failure({good, late}) is None
        assert "bad failed: KeyError('x')" in process.first_failure({good, bad, late})
        late.cancel()

    asyncio.run(look())
