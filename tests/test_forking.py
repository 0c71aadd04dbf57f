"""How learners and policy servers come to be: a Python of their own, or forked from one that has
imported what they need."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import msgspec
import psutil
import pytest
from players import play_steps

from serving import ROOT, forking, learner_start, running_server
from serving.forking import OURS, ForkedProcess, can_fork
from serving.learner_start import FORK_SERVER, learners_are_forked
from serving.running_server import RunningServer, servers_are_forked

READY = 120.0

pytestmark = pytest.mark.skipif(not can_fork(), reason="this system forks no learners")


def fork_server() -> str:
    return forking.fork_server(FORK_SERVER)


def wait_for_fork_server(variable: str = FORK_SERVER) -> bool:
    return forking.wait_for_fork_server(variable, READY)


def is_idle(status) -> bool:
    return status.state == "idle"


@pytest.fixture
def forks_of_learners():
    """A fork server of learners that is ready."""
    with learners_are_forked():
        assert wait_for_fork_server()
        yield


@pytest.fixture
def another_fork_server(monkeypatch):
    """One of this test's own, which it may end; its process."""
    monkeypatch.delenv(FORK_SERVER, raising=False)
    with learners_are_forked():
        assert wait_for_fork_server()
        path = fork_server()
        (found,) = (p for p in psutil.Process().children() if path in p.cmdline())
        yield found


def parent_of(pid: int) -> psutil.Process:
    return psutil.Process(pid).parent()


def is_forked(server: RunningServer) -> bool:
    """Whether the server's learner is a child of the fork server's, and not the server's own."""
    pid = server.wait_until(is_idle, READY, "the learner").learner_pid
    forked = fork_server() in parent_of(pid).cmdline() if fork_server() else False
    assert forked or parent_of(pid).pid == server.process.pid
    return forked


@pytest.mark.parametrize("way", ["forks_of_learners", "learners_of_their_own"])
@pytest.mark.slow
def test_a_learner_lives_and_dies_alike_in_both_ways(way, request, tmp_path):
    """Does it learn, is its death noticed, does a successor go on, is all saved at the end, and what
    it prints in the log?"""
    request.getfixturevalue(way)
    with RunningServer(4, 2, folder=tmp_path) as server:
        assert is_forked(server) == (way == "forks_of_learners")
        client = server.client()
        play_steps(client, 600)
        server.wait_until(lambda status: status.updates > 0 and is_idle(status), 60, "updates")
        os.kill(client.status().learner_pid, signal.SIGKILL)
        server.wait_until(lambda status: status.learner_restarts, 60, "its end to be seen")
        assert is_forked(server) == (way == "forks_of_learners")
        play_steps(client, 100)
        learned = lambda status: is_idle(status) and status.env_steps == 700  # noqa: E731
        pid = server.wait_until(learned, 60, "what came after").learner_pid
        assert server.stop() == 0
        assert not psutil.pid_exists(pid)
    with RunningServer(4, 2, folder=tmp_path) as server:
        assert server.wait_until(is_idle, READY, "the learner").env_steps == 700
    assert "WARNING" in (tmp_path / "policy.logs" / "learner.log").read_text()  # RLlib has some


@pytest.mark.parametrize("way", ["forks_of_learners", "learners_of_their_own"])
def test_how_a_learner_ended_is_known(way, request, tmp_path):
    """By which signal, and with which exit code?"""
    request.getfixturevalue(way)
    for end, code in (("killed", -signal.SIGKILL), ("left alone", 1)):
        ours, theirs = socket.socketpair()
        with ours, theirs, open(tmp_path / "log", "wb") as log:
            process = learner_start.start_learner(theirs, log)
            assert process.poll() is None
            if end == "killed":
                process.kill()
        assert process.wait() == process.poll() == code
        process.kill()  # which is nobody's any more


def test_a_forked_learner_ends_after_its_server(forks_of_learners, tmp_path):
    """Where the server is killed: does the learner save, hold the folder until then, and go?"""
    with RunningServer(4, 2, folder=tmp_path) as server:
        assert is_forked(server)
        play_steps(server.client(), 600)
        status = server.wait_until(lambda s: s.updates > 0 and is_idle(s), 60, "updates")
        server.kill()
        psutil.wait_procs([psutil.Process(status.learner_pid)], 30)
        assert not psutil.pid_exists(status.learner_pid)
    with RunningServer(4, 2, folder=tmp_path) as server:
        assert server.wait_until(is_idle, READY, "the learner").env_steps == 600


def test_learners_draw_each_for_itself(forks_of_learners, tmp_path):
    """Does not each begin with the weights of the one before, as the process has them that both were
    forked from?"""
    weights = []
    for _ in range(2):
        with RunningServer(4, 2) as server:
            assert is_forked(server)
            weights.append(server.client().policy().layers[0].weights)
    assert weights[0] != weights[1]


@pytest.mark.slow
def test_a_fork_server_that_is_gone_is_done_without(another_fork_server):
    """Does a server whose fork server was killed notice its learner's end, and start one itself?"""
    with RunningServer(4, 2) as server:
        assert is_forked(server)
        another_fork_server.kill()
        another_fork_server.wait(30)
        pid = server.client().status().learner_pid
        assert psutil.pid_exists(pid)  # the learner does not need it any more
        os.kill(pid, signal.SIGKILL)
        server.wait_until(lambda status: status.learner_restarts, 60, "its end to be seen")
        assert not is_forked(server)
        assert server.stop() == 0


def test_nonsense_is_no_request(another_fork_server):
    """Does the fork server hang up on what it does not understand, and fork the next one all the same?"""
    path = fork_server()
    for nonsense, descriptors in (
        (b"\xc1", [0, 1, 2]),
        (b"\x80", [0, 1, 2]),
        (b"", [0]),
        (b"\x93\1\2\3", [0, 1, 2]),
        (msgspec.msgpack.encode(forking.Request({})), [0, 1]),
    ):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
            line.settimeout(10)
            line.connect(path)
            socket.send_fds(line, [nonsense], descriptors)
            assert line.recv(32) == b""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)) as line:
        line.connect(path)  # and says nothing
        with RunningServer(4, 2) as server:
            assert is_forked(server)
    assert another_fork_server.num_fds() < 20


def test_it_is_this_kits_own(monkeypatch, tmp_path):
    """Is another kit's fork server, or another Python's, let alone? Is one that is not ready not
    waited for?"""
    for said in (
        f"/elsewhere:{sys.prefix}:/tmp/x",
        f"{tmp_path}:{tmp_path}:/tmp/x",
        "nonsense",
        "",
    ):
        monkeypatch.setenv(FORK_SERVER, said)
        assert fork_server() == ""
    monkeypatch.setenv(FORK_SERVER, f"{OURS}{tmp_path}/not-ready")
    ours, theirs = socket.socketpair()
    started = time.monotonic()
    with open(tmp_path / "log", "wb") as log:
        process = learner_start.start_learner(theirs, log)
    assert isinstance(process, subprocess.Popen) and time.monotonic() - started < 2
    theirs.close()
    ours.close()  # there is no policy server after all
    assert process.wait(60) != 0


def test_a_fork_server_ends_with_its_owner(tmp_path):
    """Also if that is killed?"""
    code = (
        "import time; from serving.forking import *; from serving.learner_start import *\n"
        "with learners_are_forked():\n"
        f"    assert wait_for_fork_server(FORK_SERVER, {READY}); print(fork_server(FORK_SERVER), flush=True)\n"
        "    time.sleep(600)"
    )
    environment = {name: value for name, value in os.environ.items() if name != FORK_SERVER}
    owner = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env=environment,
    )  # fmt: skip
    path = owner.stdout.readline().strip()
    (server,) = (p for p in psutil.Process(owner.pid).children() if path in p.cmdline())
    owner.kill()
    owner.wait()
    psutil.wait_procs([server], 30)
    assert not server.is_running()
    os.unlink(path)
    os.rmdir(os.path.dirname(path))


# -- policy servers --------------------------------------------------------------------------------


@pytest.fixture
def forks_of_servers():
    """A fork server of policy servers that is ready."""
    with servers_are_forked():
        assert wait_for_fork_server(running_server.FORK_SERVER)
        yield


def test_a_forked_policy_server_is_as_any_other(forks_of_servers, tmp_path):
    """Does it serve and learn, stop at Ctrl-C with everything saved, and go on from there?"""
    for steps in (600, 700):
        with RunningServer(4, 2, folder=tmp_path) as server:
            assert isinstance(server.process, ForkedProcess)
            play_steps(server.client(), 600 if steps == 600 else 100)
            learned = lambda status: is_idle(status) and status.env_steps == steps  # noqa: B023, E731
            pid = server.wait_until(learned, READY, "all to be learned").learner_pid
            assert server.stop() == 0
            assert not psutil.pid_exists(pid)
            assert any("listens at" in line for line in server.lines)


def test_how_a_forked_policy_server_ended_is_known(forks_of_servers, tmp_path):
    """Where it is refused, killed, asked to end by a signal, or left alone by who started it?"""
    with pytest.raises(RuntimeError, match="expected a number from 1"):
        RunningServer(0, 2).start()
    ends = [
        (lambda server: server.kill(), -signal.SIGKILL),
        (lambda server: server.process.terminate(), 0),
        (lambda server: server.process.stdin.close(), 0),
    ]
    for end, code in ends:
        server = RunningServer(4, 2, learner=False, folder=tmp_path).start()
        assert isinstance(server.process, ForkedProcess) and server.process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(0.01)
        server.client().status()  # it has its handlers of signals by then
        end(server)
        assert server.process.wait(30) == server.process.poll() == code
        server.process.terminate()  # which is nobody's any more


def test_a_fork_server_that_says_nothing_is_done_without(monkeypatch, tmp_path):
    """Does a policy server start all the same where its fork server hangs?"""
    monkeypatch.setattr(forking, "SECONDS_TO_FORK", 0.2)
    monkeypatch.setenv(running_server.FORK_SERVER, f"{OURS}{tmp_path}/hangs")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(f"{tmp_path}/hangs")
        listener.listen()
        with RunningServer(4, 2, learner=False) as server:
            assert isinstance(server.process, subprocess.Popen)
            assert server.client().status().episodes == 0


def test_a_forked_policy_server_ends_with_its_owner(forks_of_servers):
    """Also if that is killed?"""
    code = (
        "import time; from serving.running_server import RunningServer\n"
        "server = RunningServer(4, 2, learner=False).start()\n"
        "print(server.process.pid, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    server = psutil.Process(int(owner.stdout.readline()))
    assert server.ppid() != owner.pid
    owner.kill()
    owner.wait()
    psutil.wait_procs([server], 30)
    assert not server.is_running()


def test_in_a_session_of_its_own_where_that_is_wanted(forks_of_servers):
    """Does what interrupts the owner's group pass it by?"""

    class Apart(RunningServer):
        in_own_session = True

    for kind, apart in ((RunningServer, False), (Apart, True)):
        with kind(4, 2, learner=False) as server:
            assert (os.getsid(server.process.pid) == server.process.pid) == apart
