"""A million steps, ten thousand episodes, a thousand clients that vanish: what is held stays what it was.

The long form only (LONG_TEST=1), some minutes; `-s` shows the figures.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest

from serving import PolicyClient
from serving.running_server import RunningServer

TESTS = Path(__file__).parents[1]
PLAYERS, EPISODES, LENGTH, VANISHING = 2, 10_000, 100, 1_000
CAPACITY = 100_000  # steps that are remembered: from twice as many on nothing should grow
GROWTH = 1.05
SECONDS = 3_000.0

pytestmark = pytest.mark.skipif(not os.environ.get("LONG_TEST"), reason="LONG_TEST=1: minutes")


def play(address: str, episodes: int, vanishing: int) -> None:
    """So many episodes to their end, and between them clients that leave in the middle of theirs, with
    an answer on the way."""
    client, rng = PolicyClient(address, quiet=True), np.random.default_rng(episodes)
    for number in range(episodes):
        episode_id = client.start_episode()
        for observation in rng.normal(size=(LENGTH, 4)):
            client.get_action(episode_id, observation)
            client.log_returns(episode_id, 1.0)
        client.end_episode(episode_id, rng.normal(size=4), truncated=True)
        if number % (episodes // vanishing) == 0:
            vanish(address, rng.normal(size=4).tolist())


def vanish(address: str, observation: list[float]) -> None:
    client = PolicyClient(address, quiet=True)
    episode_id = client.start_episode()
    for _ in range(2):  # one whole step, and one that will never be complete
        client.get_action(episode_id, observation)
        client.log_returns(episode_id, 1.0)
    client.close()
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    body = json.dumps({"episode_id": episode_id, "observation": observation})
    connection.request("POST", "/get_action", body, {"Content-Type": "application/json"})
    connection.close()


def held(process: psutil.Process) -> float:
    """MiB of its own: what it shares with others counts more when they end."""
    return process.memory_full_info().uss / 2**20


@pytest.mark.timeout(SECONDS + 300)
def test_a_million_steps():
    """Do server and learner hold within 5% of what they held when the memory for replay was full, and
    is every step counted?"""
    options = dict(updates_per_step=0.05, slack=2_000, replay_capacity=CAPACITY, abandon_after=20)
    with RunningServer(4, 2, **options) as server:
        client = server.client()
        code = "import sys, test_endurance as t; t.play(sys.argv[1], *map(int, sys.argv[2:]))"
        arguments = [server.address, str(EPISODES // PLAYERS), str(VANISHING // PLAYERS)]
        players = [
            subprocess.Popen([sys.executable, "-c", code, *arguments],
                             env={**os.environ, "PYTHONPATH": f"{TESTS.parent}:{TESTS / 'server'}"})
            for _ in range(PLAYERS)
        ]  # fmt: skip
        began, rows = time.monotonic(), []
        try:
            processes = {"server": psutil.Process(server.process.pid)}
            while any(player.poll() is None for player in players):
                assert time.monotonic() - began < SECONDS, rows
                time.sleep(5.0)
                status = client.status()
                if status.learner_pid:
                    processes["learner"] = psutil.Process(status.learner_pid)
                rows.append((status.env_steps, {name: held(p) for name, p in processes.items()}))
        finally:
            for player in players:
                player.kill()
                player.wait()
        assert [player.returncode for player in players] == [0] * PLAYERS
        seconds = time.monotonic() - began
        status = server.wait_until(
            lambda s: s.state == "idle" and not s.open_episodes, 300, "all of it to be learned"
        )
    full = [mb for steps, mb in rows if 2 * CAPACITY < steps]
    print(f"\n{status.env_steps:,} steps in {status.episodes:,} episodes, {seconds:.0f} s")
    for name in ("server", "learner"):
        # The most of either half: a checkpoint on its way is there twice.
        half = len(full) // 2
        first, last = (max(mb[name] for mb in part) for part in (full[:half], full[half:]))
        print(f"{name}: {first:.1f} MB at most when the replay was full, {last:.1f} MB later")
        assert last <= GROWTH * first, [(steps, mb[name]) for steps, mb in rows]
    assert status.episodes >= EPISODES + VANISHING
    assert status.env_steps >= EPISODES * LENGTH
