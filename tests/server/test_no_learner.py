"""A policy server without a learner: for checks, and to serve a policy as it is."""

from __future__ import annotations

import contextlib

import numpy as np
import psutil
import pytest
from players import log_steps, play_steps
from test_calls import wait_for
from test_checkpoints import write as write_checkpoint

from serving.policy import untrained
from serving.running_server import RunningServer, servers_are_forked


@pytest.fixture
def a_server():
    with RunningServer(4, 2, learner=False) as server:
        yield server


def test_it_acts_and_records(a_server):
    """Does it play, by the policy and by a log, and remember what happened?"""
    client = a_server.client()
    played, logged = play_steps(client, 2_000), log_steps(client, 30)
    assert client.episode(played).ending == "terminated"
    assert len(client.episode(played).actions) == 2_000
    assert client.episode(logged).sources == ["log"] * 30
    status = client.status()
    assert (status.env_steps, status.logged_steps, status.episodes) == (2_030, 30, 2)


def test_nobody_learns(a_server):
    """Is there no other process, no update, and nothing to wait for?"""
    play_steps(a_server.client(), 500)
    status = a_server.client().status()
    assert (status.state, status.updates, status.policy_version) == ("idle", 0, 0)
    assert (status.steps_waiting, status.waiting_clients) == (0, 0)
    assert status.learner_pid is None
    assert not psutil.Process(a_server.process.pid).children(recursive=True)


@pytest.mark.parametrize("forked", [False, True])
def test_one_that_has_ended_leaves_nothing_open(forked):
    """May a process that outlives its servers, as a kernel does, start as many as it likes?"""
    us, ended = psutil.Process(), [RunningServer(4, 2, learner=False) for _ in range(3)]
    with servers_are_forked() if forked else contextlib.nullcontext():
        with ended[0]:
            pass  # it opens what all of them share
        before = us.num_fds()
        for server in ended[1:]:
            with server:
                assert us.num_fds() > before
            wait_for(lambda: us.num_fds() <= before, "its pipes to be closed", 10)


def test_it_serves_a_checkpoint_as_it_is(tmp_path):
    """Does it act by the checkpoint's policy, and leave the checkpoint alone?"""
    folder = write_checkpoint(tmp_path / "policy", 7)
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    with RunningServer(4, 2, folder=tmp_path, learner=False, hidden=16) as server:
        client, expected = server.client(), untrained(4, 2, [16], seed=7)
        episode_id = client.start_episode(training_enabled=False)
        for observation in np.random.default_rng(1).normal(size=(20, 4)):
            assert (
                client.get_action(episode_id, observation) == expected.values(observation).argmax()
            )
        assert server.stop() == 0
        assert not [line for line in server.lines if "save" in line], list(server.lines)
    assert before == sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
