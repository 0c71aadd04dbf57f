"""kill -9 of the learner, of the server, of both, at random instants in the middle of learning.

RESTARTS says how often (3 by default, 20 for the record); `-s` shows the figures.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Iterator

import pytest
from leftovers import free_port
from players import cartpole, play_episode

from serving import PolicyClient, checkpoints
from serving.evaluation import evaluate, frozen_policy
from serving.protocol import PolicyServerError
from serving.running_server import RunningServer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("learners_of_their_own")]
RESTARTS = int(os.environ.get("RESTARTS", "3"))
READY = 120.0  # seconds a learner may take to start on a busy machine
BEHIND = 12.0  # seconds: a checkpoint every five, the time to write one, and a busy machine
NOISE = 60.0  # of a return of 200: what the median of a few greedy evaluations may be off by
# Return from which on it makes sense to compare: a policy that is still on its way up may have been
# half as good at its latest checkpoint.
GOOD_ENOUGH = 190.0


class Player(threading.Thread):
    """Plays CartPole without end, whether there is a server just now or not."""

    def __init__(self, address: str):
        super().__init__(daemon=True)
        self.client = PolicyClient(address, quiet=True)
        self.done = threading.Event()
        self.errors: list[Exception] = []

    def run(self) -> None:
        env = cartpole()
        while not self.done.is_set():
            try:
                play_episode(self.client, env)
            except PolicyServerError:
                self.done.wait(0.1)  # the server has gone, or has forgotten the episode
            except Exception as error:  # noqa: BLE001 - the test asks for it at its end
                self.errors.append(error)
                return
        env.close()


@pytest.fixture
def a_server_to_kill(tmp_path) -> Iterator[RunningServer]:
    server = RunningServer(4, 2, folder=tmp_path, port=free_port()).start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def a_player(a_server_to_kill) -> Iterator[Player]:
    player = Player(a_server_to_kill.address)
    player.start()
    try:
        yield player
    finally:
        player.done.set()
        player.join(60)
        assert not player.is_alive()


def greedy_return(client: PolicyClient) -> float:
    return statistics.mean(evaluate(frozen_policy(client), cartpole, episodes=10, seed=1_000))


def watch(client: PolicyClient, seconds: float, history: list, samples: int = 5) -> float:
    """Lets learning go on for `seconds`, noting how far it is; the median greedy return."""
    returns = []
    for _ in range(samples):
        time.sleep(seconds / samples)
        returns.append(greedy_return(client))
        status = client.status()
        history.append((time.monotonic(), status.env_steps, status.policy_version))
    return statistics.median(returns)


def test_restarts(a_server_to_kill, a_player):
    """Does every restart load, lose only the latest seconds, and act as well as before?"""
    server, rng = a_server_to_kill, random.Random(20)
    client = server.client()
    server.wait_until(lambda s: s.updates > 0, READY, "learning to begin")
    began = time.monotonic()
    while watch(client, 2.0, []) < GOOD_ENOUGH and time.monotonic() - began < 240:
        pass
    rows, kinds = [], [("learner",), ("server",), ("learner", "server")]
    for number in range(RESTARTS):
        victims, history = kinds[number % len(kinds)], []
        before = watch(client, rng.uniform(2.0, 9.0), history)
        status = client.status()
        if "learner" in victims:
            os.kill(status.learner_pid, signal.SIGKILL)
        killed = time.monotonic()
        if "server" in victims:
            server.kill()
            server.start()  # raises if it does not load
            loaded = client.status()
            meta, policy = checkpoints.read(checkpoints.newest(server.checkpoint_file))
            if loaded.state == "starting" and meta.counters.env_steps == loaded.env_steps:
                assert loaded.policy_version == policy.version
        else:
            loaded = server.wait_until(
                lambda s, r=status.learner_restarts: s.learner_restarts > r, 30, "a new learner"
            )
        answered = time.monotonic() - killed
        ready = server.wait_until(
            lambda s: s.state in ("learning", "idle"), READY, "the learner after a kill"
        )
        after = watch(client, 5.0, [])
        learns = time.monotonic() - killed - 5.0
        gained = loaded.env_steps - status.env_steps
        rows.append((number + 1, "+".join(victims), before, after, gained, answered, learns))

        # Nothing that was acknowledged is lost with the learner, and no more than what came since
        # the last checkpoint with the server.
        old = [entry for entry in history if entry[0] < killed - BEHIND]
        steps, version = old[-1][1:] if old else (0, 0)
        if victims == ("learner",):
            assert loaded.env_steps >= status.env_steps
        assert loaded.env_steps >= steps
        assert ready.policy_version >= version
        assert ready.updates > 0
        assert not a_player.errors
    print("\n  #  killed          return before  after   steps lost  answers again   learns again")
    for number, victims, before, after, gained, answered, learns in rows:
        print(f"{number:3}  {victims:14} {before:12.0f} {after:7.0f} {max(0, -gained):11} "
              f"{answered:12.1f} s {learns:12.1f} s")  # fmt: skip
    differences = [after - before for _, _, before, after, *_ in rows]
    print(f"mean difference of the return: {statistics.mean(differences):+.1f}")
    assert min(differences) > -NOISE, rows
    assert statistics.mean(differences) > -NOISE / 2, rows
    assert server.stop() == 0
    counters = checkpoints.read(checkpoints.newest(server.checkpoint_file))[0].counters
    assert counters.env_steps >= ready.env_steps
