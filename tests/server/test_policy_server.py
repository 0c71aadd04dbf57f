"""The policy server as a process: started, used, stopped, killed, started again."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from leftovers import MARK, RAY_TEMP, leftovers
from players import cartpole, log_steps, play_episode, play_steps
from test_checkpoints import write as write_checkpoint

from serving import ROOT, PolicyClient, checkpoints, state_file
from serving.evaluation import frozen_policy
from serving.running_server import SCRIPT, RunningServer
from serving.settings import settings_for

pytestmark = pytest.mark.usefixtures("learners_of_their_own")

READY = 120.0  # seconds a learner may take to start on a busy machine
STOPPED = 120.0  # seconds a server may take to stop there, if its learner has to start first
RATIO, SLACK = 1.0, 64


def is_ready(status) -> bool:
    return status.state in ("learning", "idle")


def is_idle(status) -> bool:
    return status.state == "idle"


def saved(server: RunningServer) -> checkpoints.Meta:
    """What the newest checkpoint says of itself, after checking that it is intact."""
    return checkpoints.read(checkpoints.newest(server.checkpoint_file))[0]


def wait_for_death(pid: int, seconds: float) -> bool:
    """Whether the process, which need not be a child of ours, is gone within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def the_server() -> Iterator[RunningServer]:
    """One server for all tests that do it no harm; its learner is up."""
    with RunningServer(4, 2, updates_per_step=RATIO, slack=SLACK) as server:
        server.wait_until(is_ready, READY, "the learner")
        yield server
        assert server.process.poll() is None, "\n".join(server.lines)


# -- starting --------------------------------------------------------------------------------------


def test_it_answers_at_once(policy_servers):
    """Is the first get_action() answered at once, long before RLlib is imported?"""
    started = time.monotonic()
    server = policy_servers()
    client = server.client()
    episode_id = client.start_episode()
    action = client.get_action(episode_id, [0.0, 0.0, 0.0, 0.0])
    seconds = time.monotonic() - started
    print(f"\nfirst action after {seconds:.2f} s")
    assert action in (0, 1)
    assert seconds < 10  # `make bench` measures it on a quiet machine
    status = client.status()
    assert status.state == "starting"
    assert status.why
    assert (status.policy_version, status.updates, status.exploration) == (0, 0, 1.0)


def test_what_it_prints(the_server):
    """Does it say where it listens, then a readable line, and nothing like an accident?"""
    play_steps(the_server.client(), 5)
    pattern = r"\s*\d+ s  steps +[\d,]+  episodes +[\d,]+  mean return .*exploration .*policy v\d+"
    deadline = time.monotonic() + 30
    while not any(re.match(pattern, line) for line in list(the_server.lines)):
        assert time.monotonic() < deadline, list(the_server.lines)
        time.sleep(0.1)
    lines = list(the_server.lines)
    assert lines[0] == f"policy server listens at {the_server.address}"
    assert "stop it with Ctrl-C" in lines
    assert not [line for line in lines if re.search("warn|error|traceback", line, re.IGNORECASE)]


def test_status_tells_the_state(the_server):
    """Does the status name process, sizes, files and how to watch it?"""
    status = the_server.client().status()
    assert (status.run, status.observation_size, status.action_size) == ("DQN", 4, 2)
    assert "serving.learner" in " ".join(psutil.Process(status.learner_pid).cmdline())
    assert status.tensorboard == f"tensorboard --logdir {status.log_dir}"
    assert Path(status.log_dir, "learner.log").exists()
    assert status.uptime > 0 and status.learner_restarts == 0


def refused(*arguments, timeout: float = 60.0, code: int = 1) -> str:
    """What the command says on standard error when it cannot start: one sentence."""
    done = subprocess.run(
        [
            sys.executable,
            str(SCRIPT),
            "--observation-size=4",
            "--action-size=2",
            *map(str, arguments),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == code, done
    assert "Traceback" not in done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 or code == 2, done.stderr
    return done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def test_a_port_in_use():
    """Is a taken port one sentence that asks the right question?"""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = refused("--host=127.0.0.1", f"--port={port}")
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert "is a policy server running there already?" in said


@pytest.mark.parametrize(("arguments", "expected"), [
    (["--port=99999"], "expected a number from 0 to 65535"),
    (["--host=no-such-host.invalid", "--port=0"], "cannot listen on no-such-host.invalid"),
    (["--action-size=0"], "--action-size=0: expected a number from 1"),
    (["--observation-size=-1"], "--observation-size=-1: expected a number from 1"),
    (["--gamma=2"], "gamma is 2.0: expected 0 to 1"),
    (["--hidden=a"], "hidden is 'a': expected"),
    (["--hidden=99999,99999"], "hidden"),
    (["--seed=-1"], "seed is -1"),
    (["--checkpoint-file=/proc/nobody/policy", "--port=0"], "cannot write there"),
    (["--checkpoint-file=/", "--port=0"], "expected a file"),
    ([f"--checkpoint-file={tempfile.gettempdir()}", "--port=0"], "expected a file"),
])  # fmt: skip
def test_impossible_options(arguments, expected):
    """Is an option that cannot work one sentence and a bad exit code?"""
    assert expected in refused(*arguments)


@pytest.mark.parametrize("arguments", [["--run=DQM"], ["--port=x"], ["--no-such-option"]])
def test_unknown_options(arguments):
    """Does a typing mistake show the usage?"""
    assert "usage:" in refused(*arguments, code=2)


def test_a_missing_package():
    """Is a missing Ray one sentence that says how to get it?"""
    code = (
        "import runpy, sys; sys.modules['ray'] = None; "
        f"sys.argv = ['simple_policy_server.py', '--observation-size=4', '--action-size=2']; "
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert done.returncode == 1
    assert "the package 'ray' is not installed" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


# -- checkpoints that cannot be used ---------------------------------------------------------------


def damage(folder: Path) -> None:
    path = folder / checkpoints.LEARNER
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(("spoil", "arguments", "expected"), [
    (damage, [], "is damaged: learner.npz"),
    (lambda folder: (folder / "meta.json").write_text("{"), [], "is damaged"),
    (lambda folder: (folder / "meta.json").unlink(), [], "there is no such checkpoint"),
    (None, ["--observation-size=8"], "written with --observation-size=4"),
    (None, ["--action-size=3"], "started with --action-size=3"),
    (None, ["--hidden=64,64"], "written with --hidden=16"),
])  # fmt: skip
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, spoil, arguments, expected):
    """Is a checkpoint that cannot be used refused by its name, and left alone?"""
    checkpoint_file = tmp_path / "policy"
    folder = write_checkpoint(checkpoint_file)
    if spoil:
        spoil(folder)
    before = contents(tmp_path)
    arguments = (
        ["--hidden=16", *arguments] if not any("hidden" in a for a in arguments) else arguments
    )
    said = refused(f"--checkpoint-file={checkpoint_file}", "--port=0", *arguments)
    assert expected in said
    assert str(folder if "no such" not in expected else checkpoint_file) in said
    assert contents(tmp_path) == before


@pytest.mark.slow
def test_a_checkpoint_in_use_is_refused(policy_servers, tmp_path):
    """Is a second server on the same checkpoint file refused, while the first one goes on?"""
    server = policy_servers(folder=tmp_path)
    said = refused(f"--checkpoint-file={server.checkpoint_file}", "--port=0")
    assert "is in use by another policy server" in said
    assert server.client().start_episode()


# -- learning --------------------------------------------------------------------------------------


def test_it_learns_from_what_it_serves(the_server):
    """Do updates follow the steps served in the ratio asked for, and change the policy?"""
    client, env = the_server.client(), cartpole()
    play_steps(client, 600)  # whatever other tests did, learning has begun after this
    before = the_server.wait_until(is_idle, 60, "learning to catch up")
    total, steps = 0.0, 0
    while steps < 300:
        total = play_episode(client, env)
        steps += int(total)
    after = the_server.wait_until(is_idle, 60, "learning to catch up")
    assert after.returns[-1] == total
    assert after.env_steps - before.env_steps == steps
    assert after.updates - before.updates == pytest.approx(RATIO * steps, abs=2)
    assert after.policy_version > before.policy_version
    for status in (before, after):
        explores = max(0.03, 1 - 0.97 * status.env_steps / 2_000)  # fades out over 2,000 steps
        assert status.exploration == pytest.approx(explores, abs=0.01)


def test_it_stops_when_there_is_nothing_to_learn(the_server):
    """Is it idle when nobody plays, also in the middle of an episode, and the processor with it?"""
    client = the_server.client()
    episode_id = client.start_episode()
    for k in range(7):
        client.get_action(episode_id, [k, 0.0, 0.0, 0.0])
    before = the_server.wait_until(is_idle, 60, "learning to catch up")
    time.sleep(1.5)
    used = psutil.Process(before.learner_pid).cpu_times()
    time.sleep(1.5)
    after = client.status()
    assert after.state == "idle"
    assert (after.updates, after.policy_version) == (before.updates, before.policy_version)
    now = psutil.Process(before.learner_pid).cpu_times()
    assert now.user + now.system - used.user - used.system < 0.5
    client.end_episode(episode_id, [0.0] * 4)


@pytest.mark.slow
def test_it_catches_up_after_a_burst(the_server):
    """Is a long log accepted without a wait, and learned from afterwards, all of it?"""
    client = the_server.client()
    play_steps(client, 600)
    before = the_server.wait_until(is_idle, 60, "learning to catch up")
    started = time.monotonic()
    log_steps(client, 3_000)
    seconds = time.monotonic() - started
    status = client.status()
    assert status.logged_steps - before.logged_steps == 3_000
    assert status.steps_waiting > 1_000 and status.state == "learning"
    after = the_server.wait_until(is_idle, 120, "learning to catch up")
    assert after.updates - before.updates == pytest.approx(RATIO * 3_000, abs=2)
    assert seconds < 5


def test_acting_is_paced_by_learning(the_server):
    """Does training never run ahead by more than the slack, while evaluation never waits?"""
    client = the_server.client()
    play_steps(client, 600)
    the_server.wait_until(is_idle, 60, "learning to catch up")
    stop, trained, latencies, errors = threading.Event(), [0], [], []

    @contextlib.contextmanager
    def noted():
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a thread's error is the test's
            errors.append(error)

    def train() -> None:
        with noted():
            own = the_server.client()
            episode_id = own.start_episode()
            while not stop.is_set():
                own.get_action(episode_id, np.random.normal(size=4))
                trained[0] += 1
            own.end_episode(episode_id, [0.0] * 4)

    def evaluate() -> None:
        with noted():
            own = the_server.client()
            episode_id = own.start_episode(training_enabled=False)
            while not stop.is_set():
                began = time.monotonic()
                own.get_action(episode_id, np.random.normal(size=4))
                latencies.append(time.monotonic() - began)
            own.end_episode(episode_id, [0.0] * 4)

    threads = [threading.Thread(target=target) for target in (train, train, evaluate)]
    ahead = []
    for thread in threads:
        thread.start()
    until = time.monotonic() + 3.0
    while time.monotonic() < until:
        ahead.append(client.status().steps_waiting)
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert not errors
    print(f"\nahead: at most {max(ahead)} of {SLACK}; trained {trained[0]}, evaluated "
          f"{len(latencies)} steps; p99 {1000 * np.percentile(latencies, 99):.1f} ms")  # fmt: skip
    assert max(ahead) <= SLACK + 4  # rounding, and a step each player has in hand
    assert max(ahead) > SLACK / 2  # they did meet the limit
    assert len(latencies) > 2 * trained[0]
    assert statistics.median(latencies) < 0.02
    assert max(latencies) < 2.0  # `make bench` measures it on a quiet machine


def test_evaluation_teaches_nothing(the_server):
    """Does nothing of an evaluation episode reach the learner?"""
    client, env = the_server.client(), cartpole()
    before = the_server.wait_until(is_idle, 60, "learning to catch up")
    for _ in range(5):
        play_episode(client, env, training_enabled=False)
    time.sleep(1.0)
    after = client.status()
    for name in ("env_steps", "episodes", "updates", "policy_version", "returns", "exploration"):
        assert getattr(after, name) == getattr(before, name), name
    assert after.evaluation_steps > before.evaluation_steps
    assert is_idle(after)


@pytest.mark.slow
def test_many_players_at_once(the_server):
    """Do many threads with hundreds of open episodes all get answers and all count?"""
    before = the_server.wait_until(is_idle, 60, "learning to catch up")
    threads, episodes, steps = 20, 15, 4
    barrier = threading.Barrier(threads)

    def play(number: int) -> None:
        own = the_server.client()
        ids = [own.start_episode() for _ in range(episodes)]
        barrier.wait(60)  # all episodes are open now
        for k in range(steps):
            for episode_id in ids:
                own.get_action(episode_id, [number, k, 0.0, 0.0])
                own.log_returns(episode_id, 1.0)
        for episode_id in ids:
            own.end_episode(episode_id, [0.0] * 4)
        own.close()

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(play, number) for number in range(threads)]:
            future.result(120)
    after = the_server.wait_until(is_idle, 120, "learning to catch up")
    assert after.env_steps - before.env_steps == threads * episodes * steps
    assert after.episodes - before.episodes == threads * episodes
    assert after.open_episodes == before.open_episodes
    assert after.returns == [float(steps)] * 20
    assert after.learner_restarts == before.learner_restarts


@pytest.mark.slow
def test_abandoned_episodes_are_closed(policy_servers):
    """Is an episode that nobody goes on with closed after --abandon-after, and learned from?"""
    server = policy_servers(abandon_after=1)
    client = server.client()
    episode_id = client.start_episode()
    for k in range(5):
        client.get_action(episode_id, [k, 0.0, 0.0, 0.0])
    status = server.wait_until(lambda s: s.open_episodes == 0, 30, "the episode to be closed")
    assert (status.episodes, status.env_steps) == (1, 4)
    assert client.episode(episode_id).ending == "abandoned"
    server.wait_until(is_idle, READY, "the learner")


# -- stopping and going on -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.slow
def test_stop_and_go_on(policy_servers, tmp_path, name):
    """Does stopping save all, and the same command go on with weights, counters, replay?"""
    options = {"folder": tmp_path, "exploration_steps": 1_500, "log_dir": tmp_path / "logs"}
    server = policy_servers(**options)
    client, env = server.client(), cartpole()
    server.wait_until(is_ready, READY, "the learner")
    steps = episodes = 0
    while steps < 800:
        steps += int(play_episode(client, env))
        episodes += 1
    log_steps(client, 200)
    before = server.wait_until(is_idle, 60, "learning to catch up")
    assert before.env_steps == steps + 200
    policy = frozen_policy(client)
    began = time.monotonic()
    server.process.send_signal(signal.Signals[name])
    assert server.process.wait(STOPPED) == 0
    print(f"\nstopped after {time.monotonic() - began:.1f} s")
    assert wait_for_death(before.learner_pid, 1)
    meta = saved(server)
    assert (meta.counters.env_steps, meta.counters.logged_steps) == (steps + 200, 200)
    assert meta.counters.episodes == episodes + 1
    assert meta.counters.updates == before.updates
    assert "stopped" in server.lines[-1]

    again = policy_servers(**options)
    client = again.client()
    first = client.status()
    for field in (
        "env_steps",
        "logged_steps",
        "episodes",
        "updates",
        "policy_version",
        "exploration",
    ):
        assert getattr(first, field) == getattr(before, field), field
    seen = np.random.default_rng(0).normal(size=(100, 4))
    assert (frozen_policy(client).values(seen) == policy.values(seen)).all()
    assert any(f"goes on from {tmp_path}" in line for line in again.lines)
    ready = again.wait_until(is_idle, READY, "the learner")
    for field in ("env_steps", "episodes", "updates", "exploration"):
        assert getattr(ready, field) == getattr(before, field), field
    assert ready.policy_version >= before.policy_version
    assert (frozen_policy(client).values(seen) == policy.values(seen)).all()
    more = int(play_episode(client, env))
    after = again.wait_until(is_idle, 60, "learning to catch up")
    assert after.env_steps == before.env_steps + more
    assert after.policy_version >= ready.policy_version
    assert again.stop() == 0
    meta = saved(again)
    assert meta.counters.env_steps == steps + 200 + more
    state = state_file.read(Path(checkpoints.newest(again.checkpoint_file)) / checkpoints.LEARNER)
    assert len(state["online"]["replay"]["columns"]["actions"]) == steps + 200 + more
    check_events(tmp_path / "logs", episodes)


def check_events(log_dir: Path, episodes: int) -> None:
    """TensorBoard's event files tell of the episodes that were played."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(log_dir)).Reload()
    assert len(events.Scalars("episode/return")) >= episodes
    assert events.Scalars("learning/updates")[-1].value > 0


def test_stopped_while_the_learner_starts(policy_servers, tmp_path):
    """Is what was played in the first seconds, before there was a learner, saved too?"""
    server = policy_servers(folder=tmp_path)
    client = server.client()
    play_steps(client, 50)
    log_steps(client, 100)
    assert client.status().state == "starting"
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(STOPPED) == 0
    assert (saved(server).counters.env_steps, saved(server).counters.episodes) == (150, 2)


def test_stopped_at_once(policy_servers, tmp_path):
    """Does a server that has nothing to save end at once, while its learner starts?"""
    for options in ({"folder": tmp_path}, {}):
        server = policy_servers(**options)
        pid = server.client().status().learner_pid
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 5
        assert wait_for_death(pid, 5)


def test_asked_twice(policy_servers, tmp_path):
    """Does a second Ctrl-C end a server that still waits for its learner to save, and does the
    server say what that has cost?"""
    server = policy_servers(folder=tmp_path)
    play_steps(server.client(), 50)
    pid = server.client().status().learner_pid
    os.kill(pid, signal.SIGSTOP)  # it would take for ever
    try:
        server.process.send_signal(signal.SIGINT)
        time.sleep(1.0)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == 1
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    assert wait_for_death(pid, 5)
    assert "simple_policy_server: 50 steps were not saved" in server.lines[-1]


def test_stopped_while_a_player_waits(policy_servers, tmp_path):
    """Does a player who waits for the learner get an error, and the server end in bounded time?"""
    server = policy_servers(folder=tmp_path, slack=1)
    os.kill(server.client().status().learner_pid, signal.SIGSTOP)
    outcome = []

    def play() -> None:
        try:
            play_steps(server.client(), 100_000)
        except Exception as error:  # noqa: BLE001 - which one, the test asks
            outcome.append(error)

    player = threading.Thread(target=play)
    player.start()
    server.wait_until(lambda s: s.waiting_clients == 1, 30, "the player to wait")
    os.kill(server.client().status().learner_pid, signal.SIGCONT)
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(STOPPED) == 0
    player.join(30)
    assert not player.is_alive()
    assert isinstance(outcome[0], ConnectionError)
    assert not any("Traceback" in line for line in server.lines)


@pytest.mark.slow
def test_the_terminal_was_closed(tmp_path):
    """Is all saved when the terminal goes away, with a SIGHUP and with the output?"""
    command = [
        sys.executable, str(SCRIPT), "--observation-size=4", "--action-size=2", "--port=0",
        f"--checkpoint-file={tmp_path / 'policy'}",
    ]  # fmt: skip
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Where the tests run under nohup, it would not care.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    try:
        client = PolicyClient(server.stdout.readline().split()[-1], quiet=True)
        server.stdout.close()
        play_steps(client, 30)
        time.sleep(1.5)  # it prints its line, to nobody
        play_steps(client, 20)
        server.send_signal(signal.SIGHUP)
        assert server.wait(STOPPED) == 0
    finally:
        server.kill()
        server.wait()
    meta, _ = checkpoints.read(checkpoints.newest(tmp_path / "policy"))
    assert meta.counters.env_steps == 50


def test_it_ends_with_whoever_started_it(policy_servers):
    """With --stop-with-stdin, does the server end when the process that started it dies?"""
    code = (
        "import time\nfrom serving.running_server import RunningServer\n"
        "server = RunningServer(4, 2).start()\n"
        "print(server.process.pid, server.client().status().learner_pid, flush=True)\n"
        "time.sleep(60)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    try:
        pids = [int(pid) for pid in owner.stdout.readline().split()]
        assert len(pids) == 2
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
    for pid in pids:
        assert wait_for_death(pid, 20)


# -- killed ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_learner_loses_no_episode(policy_servers, tmp_path):
    """After kills of the learner, was every acknowledged step learned from, once?"""
    server = policy_servers(folder=tmp_path)
    client, env = server.client(), cartpole()
    pid = server.wait_until(is_ready, READY, "the learner").learner_pid
    steps, episodes, kills = 0, 0, 0
    began = time.monotonic()
    while kills < 2 or steps < 2_000:
        steps += int(play_episode(client, env))
        episodes += 1
        if kills < 2 and steps > 500 * (kills + 1):
            log_steps(client, 300)
            steps, episodes, kills = steps + 300, episodes + 1, kills + 1
            os.kill(client.status().learner_pid, signal.SIGKILL)
            asked = time.monotonic()
            evaluation = client.start_episode(training_enabled=False)
            client.get_action(evaluation, [0.0] * 4)
            client.end_episode(evaluation, [0.0] * 4)
            assert time.monotonic() - asked < 2  # serving goes on
            server.wait_until(lambda s, k=kills: s.learner_restarts == k, 30, "a new learner")
        assert time.monotonic() - began < 240
    status = server.wait_until(is_idle, READY, "learning to catch up")
    assert status.learner_restarts == 2
    assert status.learner_pid != pid
    assert (status.env_steps, status.episodes) == (steps, episodes)
    assert server.stop() == 0
    counters = saved(server).counters
    assert (counters.env_steps, counters.episodes, counters.logged_steps) == (steps, episodes, 600)
    ratio = settings_for("DQN").updates_per_step
    expected = ratio * (steps - settings_for("DQN").learning_starts)
    assert counters.updates == pytest.approx(expected, abs=3)


@pytest.mark.slow
def test_a_learner_killed_just_before_the_stop(policy_servers, tmp_path):
    """Is nothing lost if the learner is killed and the server stopped at once?"""
    server = policy_servers(folder=tmp_path)
    client = server.client()
    server.wait_until(is_ready, READY, "the learner")
    play_steps(client, 100)
    os.kill(client.status().learner_pid, signal.SIGKILL)
    play_steps(client, 60)
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(STOPPED) == 0
    assert (saved(server).counters.env_steps, saved(server).counters.episodes) == (160, 2)


@pytest.mark.slow
def test_a_killed_server_leaves_a_loadable_state_and_no_learner(policy_servers, tmp_path):
    """If the server is killed, does its learner save and go, and does the next server go on?"""
    server = policy_servers(folder=tmp_path)
    client, env = server.client(), cartpole()
    server.wait_until(is_ready, READY, "the learner")
    while client.status().env_steps < 800:
        play_episode(client, env)
    before = server.wait_until(is_idle, 60, "learning to catch up")
    server.kill()
    with pytest.raises(ConnectionError):
        client.status()
    assert wait_for_death(before.learner_pid, 30)
    counters = saved(server).counters
    # The learner had learned from all of it, and had the time to save.
    assert (counters.env_steps, counters.updates) == (before.env_steps, before.updates)
    again = policy_servers(folder=tmp_path)
    ready = again.wait_until(is_idle, READY, "the learner")
    assert (ready.env_steps, ready.updates) == (before.env_steps, before.updates)
    play_episode(again.client(), env)


@pytest.mark.slow
def test_both_killed(policy_servers, tmp_path):
    """If server and learner are killed at once, is the state of a few seconds ago there?"""
    server = policy_servers(folder=tmp_path)
    client, env = server.client(), cartpole()
    server.wait_until(is_ready, READY, "the learner")
    while client.status().env_steps < 800:
        play_episode(client, env)
    server.wait_until(lambda s: is_idle(s) and s.checkpoint_age is not None, 60, "a checkpoint")
    first = saved(server).counters
    play_episode(client, env)
    os.kill(client.status().learner_pid, signal.SIGKILL)
    server.kill()
    counters = saved(server).counters
    assert counters.env_steps >= first.env_steps
    again = policy_servers(folder=tmp_path)
    assert again.client().status().env_steps == counters.env_steps
    again.wait_until(is_idle, READY, "the learner")


@pytest.mark.slow
def test_a_learner_that_always_fails(policy_servers, tmp_path):
    """Is a learner that cannot live given up with a reason, while acting goes on?"""
    server = policy_servers(folder=tmp_path)
    client, killed = server.client(), set()
    deadline = time.monotonic() + 120
    while (status := client.status()).state != "failed" and time.monotonic() < deadline:
        if status.learner_pid and status.learner_pid not in killed:
            killed.add(status.learner_pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(status.learner_pid, signal.SIGKILL)
        time.sleep(0.05)
    assert status.state == "failed"
    assert "signal 9" in status.why and "learner.log" in status.why
    assert 3 <= len(killed) <= 10
    play_steps(client, 2_000)  # far more than the learner would have allowed: nobody waits for it
    assert server.stop() == 1
    assert "2,000 steps were not saved: the learner ended with signal 9" in server.lines[-1]


def test_a_checkpoint_spoilt_while_it_runs(policy_servers, tmp_path):
    """Is a checkpoint that was scribbled over while it ran named, and not overwritten?"""
    server = policy_servers(folder=tmp_path)
    server.checkpoint_file.write_text("nonsense\n")
    os.kill(server.client().status().learner_pid, signal.SIGKILL)
    assert server.process.wait(STOPPED) == 1
    assert any("points at 'nonsense'" in line for line in server.lines)
    assert server.checkpoint_file.read_text() == "nonsense\n"


@pytest.mark.slow
def test_a_learner_that_stands_still(policy_servers):
    """Do players wait for a learner that gets no time, and evaluation go on meanwhile?"""
    server = policy_servers(slack=16)
    client = server.client()
    pid = server.wait_until(is_ready, READY, "the learner").learner_pid
    with ThreadPoolExecutor(1) as pool:
        os.kill(pid, signal.SIGSTOP)
        try:
            player = pool.submit(play_steps, server.client(), 700)
            server.wait_until(lambda s: s.waiting_clients == 1, 30, "the player to wait")
            evaluation = client.start_episode(training_enabled=False)
            client.get_action(evaluation, [0.0] * 4)
            assert not player.done()
        finally:
            os.kill(pid, signal.SIGCONT)
        player.result(60)
    assert client.status().env_steps == 700


# -- what is left ----------------------------------------------------------------------------------


def test_the_last_look_around_sees_what_is_left(nothing_left_behind, tmp_path):
    """Does the last look around notice an orphan, its port and a temporary folder?"""
    mark, folder = nothing_left_behind
    assert os.environ[MARK] == mark and os.environ["TMPDIR"] == str(folder)
    assert not os.environ[RAY_TEMP].startswith(str(folder))
    orphan = (
        "import os, socket, sys, time\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "print(os.getpid(), listener.getsockname()[1], flush=True)\n"
        "time.sleep(60)"
    )
    parent = (
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', {orphan!r}], start_new_session=True)"
    )
    read, write = os.pipe()
    subprocess.run([sys.executable, "-c", parent], stdout=write, check=True, timeout=30)
    os.close(write)
    with os.fdopen(read) as answer:
        pid, port = answer.readline().split()
    left = folder / "policy-server-left"
    left.mkdir()
    try:
        found = "\n".join(leftovers(mark, folder))
        assert f"process {pid} " in found
        assert f"listening on [{port}]" in found
        assert f"folder {left}" in found
        assert leftovers("another mark", tmp_path) == []
    finally:
        left.rmdir()
        os.kill(int(pid), signal.SIGKILL)
    assert wait_for_death(int(pid), 10)
