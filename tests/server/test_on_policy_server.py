"""`--run=PG` and `--run=PPO` over HTTP: with a real learner, one client and four."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from players import cartpole, log_steps, play_episode

from serving import PolicyClient, checkpoints
from serving.evaluation import evaluate, frozen_policy
from serving.running_server import RunningServer

READY = 180.0  # seconds a learner may take to start on a busy machine
RUNS = ["PG", "PPO"]
BATCH = 150
SMALL = {"batch_size": BATCH, "epochs": 2, "seed": 3}


def is_ready(status) -> bool:
    return status.state in ("learning", "idle")


def is_idle(status) -> bool:
    return status.state == "idle"


def play(server: RunningServer, enough: threading.Event, training: bool = True) -> Counter:
    """Plays until told; how many of its steps each policy version took, by the server's record."""
    client, env, taken = server.client(), cartpole(), Counter()
    env.reset(seed=threading.get_ident() % 1000)
    while not enough.is_set():
        observation, _ = env.reset()
        episode_id, done = client.start_episode(training_enabled=training), False
        while not done:
            action = client.get_action(episode_id, observation)
            observation, reward, terminated, truncated, _ = env.step(action)
            client.log_returns(episode_id, reward)
            done = terminated or truncated
        client.end_episode(episode_id, observation, truncated)
        taken.update(client.episode(episode_id).policy_versions)
    client.close()
    return taken


def learned_batches(log_dir: str) -> list[dict[str, float]]:
    """What TensorBoard shows of each batch, in order."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(log_dir)
    events.Reload()
    names = [tag for tag in events.Tags()["scalars"] if tag.startswith("batch/")]
    columns = {
        name.removeprefix("batch/"): [e.value for e in events.Scalars(name)] for name in names
    }
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


@pytest.mark.parametrize("clients", [1, 4])
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.slow
def test_a_batch_holds_steps_of_one_policy(policy_servers, tmp_path, run, clients):
    """Is every step of every batch by the policy that learns from it, and all else counted?"""
    server = policy_servers(run=run, folder=tmp_path, **SMALL)
    server.wait_until(is_ready, READY, "the learner")
    enough = threading.Event()
    with ThreadPoolExecutor(clients + 1) as pool:
        players = [pool.submit(play, server, enough) for _ in range(clients)]
        evaluator = pool.submit(play, server, enough, False)
        try:
            server.wait_until(lambda s: s.policy_version >= 10, 240, "nine updates")
        finally:
            enough.set()
        taken = sum((player.result(60) for player in players), Counter())
        evaluated = evaluator.result(60)
    status = server.wait_until(is_idle, 60, "the learner to be idle")
    assert server.stop() == 0
    batches = learned_batches(status.log_dir)

    assert len(batches) == status.policy_version - 1 >= 9
    learned = Counter()
    for number, batch in enumerate(batches):
        # Versions 0 and 1 are the same weights, before the learner was up and after.
        versions = (0, 1) if number == 0 else (number + 1, number + 1)
        assert (batch["oldest_version"], batch["newest_version"]) == versions
        assert BATCH <= batch["steps"] <= BATCH + clients
        assert batch["lowest_importance_ratio"] == pytest.approx(1.0, abs=1e-3)
        assert batch["highest_importance_ratio"] == pytest.approx(1.0, abs=1e-3)
        learned[versions[1]] = int(batch["steps"])
    taken[1] += taken.pop(0, 0)
    unfinished = taken[status.policy_version]
    too_old = {version: taken[version] - learned[version] for version in learned}
    # A client has at most one step that is not complete when the batch is full.
    assert all(0 <= steps <= clients for steps in too_old.values()), too_old
    assert status.outdated_steps == sum(too_old.values())
    assert sum(learned.values()) + status.outdated_steps + unfinished == sum(taken.values())
    assert status.env_steps == sum(taken.values())
    assert status.evaluation_steps >= sum(evaluated.values()) > 0
    assert status.unlearnable_steps == 0


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.slow
def test_logged_steps_are_said_to_teach_nothing(policy_servers, run):
    """Does the server say once that logs are of no use to it, count them, and learn nothing?"""
    server = policy_servers(run=run, **SMALL)
    server.wait_until(is_ready, READY, "the learner")
    client = server.client()
    before = client.policy()
    for _ in range(5):
        log_steps(client, 300)
    status = server.wait_until(
        lambda s: is_idle(s) and s.unlearnable_steps == 1_500, 60, "the logged steps to be counted"
    )
    assert (status.logged_steps, status.env_steps, status.updates) == (1_500, 1_500, 0)
    after = client.policy()
    assert (after.version, after.layers) == (before.version, before.layers)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        said = [line for line in server.lines if "logged steps teach" in line]
        if said:
            break
        time.sleep(0.2)
    log_steps(client, 300)
    time.sleep(2.5)
    said = [line for line in server.lines if "logged steps teach" in line]
    assert len(said) == 1 and f"--run={run}" in said[0] and "--run=DQN" in said[0]
    # The policy's own steps still count.
    play_batches(client, 2)
    assert client.status().updates > 0


def play_batches(client: PolicyClient, batches: int) -> None:
    """Plays CartPole until so many more batches were learned from."""
    env, version = cartpole(), client.status().policy_version
    deadline = time.monotonic() + 200
    while client.status().policy_version < version + batches:
        assert time.monotonic() < deadline, "learning does not go on"
        play_episode(client, env)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.slow
def test_clients_that_stop_in_the_middle(policy_servers, run):
    """Do episodes that nobody goes on with hold up nobody, and count as old when they go on?"""
    server = policy_servers(run=run, **SMALL)
    server.wait_until(is_ready, READY, "the learner")
    client = server.client()
    left = [client.start_episode() for _ in range(20)]
    for episode_id in left:
        for k in range(3):
            client.get_action(episode_id, [k, 0.0, 0.0, 0.0])
    evaluation = client.start_episode(training_enabled=False)
    client.get_action(evaluation, [0.0] * 4)
    play_batches(client, 3)
    # The last step before a new policy is an old one too, and counts when the learner has seen it.
    before = server.wait_until(lambda s: s.steps_waiting == 0, 60, "taking over what was played")
    assert before.open_episodes == 21
    for episode_id in left:
        client.end_episode(episode_id, [9.0, 0.0, 0.0, 0.0])
    after = server.wait_until(lambda s: s.outdated_steps >= before.outdated_steps + 20, 60, "them")
    assert after.outdated_steps == before.outdated_steps + 20  # the latest step of each
    play_batches(client, 1)


def test_acting_waits_while_the_learner_learns(policy_servers):
    """Does a player wait, no longer than asked for, when a batch is full; and does /status say so?"""
    server = policy_servers(run="PPO", **SMALL)
    server.wait_until(is_ready, READY, "the learner")
    client = server.client(quiet=True)
    os.kill(client.status().learner_pid, signal.SIGSTOP)  # it will not learn for now
    try:
        done = threading.Event()

        def act() -> None:
            own = server.client()
            episode_id = own.start_episode()
            for k in range(2 * BATCH):
                own.get_action(episode_id, [0.0, float(k), 0.0, 0.0])
            own.end_episode(episode_id, [0.0] * 4)
            done.set()

        threading.Thread(target=act, daemon=True).start()
        status = server.wait_until(lambda s: s.waiting_clients == 1, 60, "the player to wait")
        time.sleep(1.0)
        assert client.status().env_steps == status.env_steps <= BATCH + 1
        asked = time.monotonic()  # evaluation never waits
        evaluation = client.start_episode(training_enabled=False)
        client.get_action(evaluation, [0.0] * 4)
        assert time.monotonic() - asked < 5
    finally:
        os.kill(client.status().learner_pid, signal.SIGCONT)
    assert done.wait(120)
    assert client.status().updates > 0


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.slow
def test_stop_and_go_on(policy_servers, tmp_path, run):
    """Do weights, counters, versions and the open batch go on after a restart and after kills?"""
    options = {"run": run, "folder": tmp_path, "log_dir": tmp_path / "logs", **SMALL}
    server = policy_servers(**options)
    server.wait_until(is_ready, READY, "the learner")
    play_batches(server.client(), 4)
    before = server.wait_until(is_idle, 60, "the learner to be idle")
    policy = frozen_policy(server.client())
    assert server.stop() == 0

    again = policy_servers(**options)
    client = again.client()
    first = client.status()
    names = ("env_steps", "episodes", "updates", "policy_version", "outdated_steps")
    assert [getattr(first, n) for n in names] == [getattr(before, n) for n in names]
    probe = np.random.default_rng(0).normal(size=(20, 4))
    np.testing.assert_array_equal(frozen_policy(client).values(probe), policy.values(probe))
    play_episode(client, cartpole())  # before the learner is up: counts all the same
    again.wait_until(is_ready, READY, "the learner")
    play_batches(client, 2)
    assert client.status().outdated_steps <= before.outdated_steps + 4

    version = client.status().policy_version
    os.kill(client.status().learner_pid, signal.SIGKILL)
    again.wait_until(lambda s: s.learner_restarts == 1, 60, "a new learner")
    again.wait_until(lambda s: is_ready(s) and s.policy_version > version, READY, "its policy")
    play_batches(client, 2)
    assert client.status().policy_version > version
    assert again.stop() == 0
    counters = checkpoints.read(checkpoints.newest(again.checkpoint_file))[0].counters
    assert counters.updates > before.updates
    for batch in learned_batches(str(tmp_path / "logs")):
        assert batch["lowest_importance_ratio"] == pytest.approx(1.0, abs=1e-3)
        assert batch["highest_importance_ratio"] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("run", RUNS)
def test_it_learns_from_what_it_serves(policy_servers, run):
    """Does the greedy policy come to hold the pole up?"""
    server = policy_servers(run=run, batch_size=500, seed=0)
    server.wait_until(is_ready, READY, "the learner")
    client, env = server.client(), cartpole()
    env.reset(seed=0)
    best, deadline = 0.0, time.monotonic() + 400
    while best < 150 and client.status().env_steps < 40_000 and time.monotonic() < deadline:
        for _ in range(10):
            play_episode(client, env)
        best = max(best, float(np.mean(evaluate(frozen_policy(client), cartpole, 5, seed=1_000))))
    assert best >= 150
