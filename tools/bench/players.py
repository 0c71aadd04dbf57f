#!/usr/bin/env python
"""The players of the bench: each is a process of its own, as a student's notebook is.

    python tools/bench/players.py learn | learn-as-of-old | pong | train | evaluate | echo | replay | ask | crowd

A player says `ready` once it is imported, reads the address to play against from standard input,
and prints what it has seen as one line of JSON. `train` and `ask` go on until standard input is
closed.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import argparse
import asyncio
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import gymnasium as gym
import numpy as np

from serving.client import PolicyClient
from serving.evaluation import frozen_policy
from serving.logs import Episode, read_log
from serving.notebook import experiment
from serving.policy import Policy
from serving.pong import PongEnv

AVERAGED = 20  # episodes
GAMES = 30  # that a copy of a policy plays, of 5 to 9 points each


def make_env(name: str = "CartPole-200") -> gym.Env:
    """A gymnasium environment; CartPole-200 is CartPole as it was first, with 200 steps at most."""
    if name == "CartPole-200":
        return gym.make("CartPole-v1", max_episode_steps=200)
    return gym.make(name)


def play(
    client: PolicyClient, env: gym.Env, training: bool, waits: list[float], says_truncated=True
) -> tuple[float, int]:
    """One episode; its return and its steps. Appends the seconds each get_action took to `waits`.

    says_truncated: False ends every episode as terminated, as the old lesson did.
    """
    observation, _ = env.reset()
    episode_id = client.start_episode(training_enabled=training)
    total, steps, terminated, truncated = 0.0, 0, False, False
    while not (terminated or truncated):
        asked = time.perf_counter()
        action = client.get_action(episode_id, observation)
        waits.append(time.perf_counter() - asked)
        observation, reward, terminated, truncated, _ = env.step(action)
        client.log_returns(episode_id, reward)
        total, steps = total + reward, steps + 1
    client.end_episode(episode_id, observation, truncated and says_truncated)
    return total, steps


def learn(
    client: PolicyClient, seed: int, seconds: float, target: float, name: str, says_truncated=True
) -> dict:
    """Plays until the mean of 20 episodes is `target`. `at` is a time.monotonic(), which all
    processes of a machine share."""
    env, returns, steps, solved = make_env(name), [], 0, False
    env.reset(seed=seed)
    give_up = time.monotonic() + seconds
    while not solved and time.monotonic() < give_up:
        total, length = play(client, env, True, [], says_truncated)
        returns.append(total)
        steps += length
        solved = len(returns) >= AVERAGED and np.mean(returns[-AVERAGED:]) >= target
    return {"solved": bool(solved), "at": time.monotonic(), "episodes": len(returns),
            "steps": steps, "mean": float(np.mean(returns[-AVERAGED:]))}  # fmt: skip


def pong(client: PolicyClient, seed: int, steps: int, every: int) -> dict:
    """Plays Pong for so many steps, and keeps a copy of the policy `every` so many. Afterwards each
    copy plays GAMES games greedily; `curve` holds [steps, time.monotonic(), share of points won]."""
    env, copies, played, training = PongEnv(), [], 0, True
    chances = np.random.default_rng(seed)
    copies.append((0, time.monotonic(), frozen_policy(client)))
    while training:
        observation, _ = env.reset(seed=int(chances.integers(2**31)))
        episode_id, done, truncated = client.start_episode(), False, False
        while training and not done:
            action = client.get_action(episode_id, observation)
            observation, reward, terminated, truncated, _ = env.step(action)
            client.log_returns(episode_id, reward)
            played, done = played + 1, terminated or truncated
            if played % every == 0:
                copies.append((played, time.monotonic(), frozen_policy(client)))
                training = played < steps
        client.end_episode(episode_id, observation, truncated=truncated or not done)
    return {
        "games_each": GAMES,
        "curve": [
            [at, when, play_pong(policy, GAMES, 1_000_000)["won"]] for at, when, policy in copies
        ],
    }


def play_pong(policy: Policy, games: int, seed: int) -> dict[str, float]:
    """Greedy games against the default opponent: `won`, the share of points, and `returned`, balls
    for each point."""
    env, won, lost, returned = PongEnv(), 0, 0, 0
    for game in range(games):
        observation, _ = env.reset(seed=seed + game)
        done = False
        while not done:
            action = policy.act(observation, 0, None).action
            observation, _, terminated, truncated, info = env.step(action)
            done = terminated or truncated
            won += info["event"] == "right scores"
            lost += info["event"] == "left scores"
            returned += info["event"] == "right hits"
    points = max(1, won + lost)
    return {"won": won / points, "returned": returned / points}


def nobody_listens() -> threading.Event:
    """Is set when standard input is closed."""
    closed = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), closed.set()), daemon=True).start()
    return closed


def train(client: PolicyClient, seed: int) -> dict:
    """Plays and trains until nobody listens any more."""
    closed = nobody_listens()
    env, steps = make_env(), 0
    env.reset(seed=seed)
    while not closed.is_set():
        steps += play(client, env, True, [])[1]
    return {"steps": steps}


def evaluate(client: PolicyClient, seed: int, seconds: float, training: bool = False) -> dict:
    """Plays greedy episodes that train nobody (or such that do), and measures."""
    env, waits = make_env(), []
    env.reset(seed=seed)
    play(client, env, training, [])  # warm
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        play(client, env, training, waits)
    return {"per_second": len(waits) / (time.perf_counter() - started), **quantiles(waits)}


def ask(client: PolicyClient, size: int) -> dict:
    """An evaluation client that asks for an action, and again, until nobody listens any more."""
    closed, waits = nobody_listens(), []
    observation, episode_id = np.zeros(size), client.start_episode(training_enabled=False)
    while not closed.is_set():
        asked = time.perf_counter()
        client.get_action(episode_id, observation)
        waits.append(time.perf_counter() - asked)
    return quantiles(waits)


def replay(client: PolicyClient, episodes: list[Episode], times: int) -> dict:
    """The plain loop of a student who replays a log."""
    started, used = time.perf_counter(), time.process_time()
    for _ in range(times):
        experiment.replay(client, episodes)
    seconds = time.perf_counter() - started
    steps = times * sum(map(len, episodes))
    return {"steps": steps, "seconds": seconds, "steps_per_second": steps / seconds,
            "cpu_us_per_step": 1e6 * (time.process_time() - used) / steps}  # fmt: skip


def echo(address: str, seconds: float) -> dict:
    """Asks the bare echo server what `evaluate` asks a policy server, over the same connection."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    message = {"episode_id": "e" * 32, "observation": [0.1, 0.2, -0.3, 0.4], "reward": 1.0}
    waits, started = [], time.perf_counter()
    while time.perf_counter() - started < seconds:
        asked = time.perf_counter()
        body = json.dumps(message)
        connection.request("POST", "/action", body, {"Content-Type": "application/json"})
        json.loads(connection.getresponse().read())
        waits.append(time.perf_counter() - asked)
    return {"per_second": len(waits) / (time.perf_counter() - started), **quantiles(waits)}


def crowd(address: str, clients: int, seconds: float, training: bool) -> dict:
    """So many clients at once, each with a connection and an episode of its own; one process of
    coroutines that write plain HTTP, as Python clients would take the machine away from the server.
    `steps`: how many each was answered."""

    async def ask(connection, path: str, message: dict) -> dict:
        reader, writer = connection
        body = json.dumps(message).encode()
        writer.write(b"POST /%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
                     % (path.encode(), len(body), body))  # fmt: skip
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(None, 2)[1])
        length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])
        answer = json.loads(await reader.readexactly(length))
        if status >= 400:
            raise RuntimeError(f"{path} was refused: {answer}")
        return answer

    async def play_one(ends: float) -> int:
        parts, steps = urlsplit(address), 0
        connection = await asyncio.open_connection(parts.hostname, parts.port)
        started = await ask(connection, "start_episode", {"training_enabled": training})
        message = {**started, "observation": [0.1, 0.2, -0.3, 0.4]}
        while time.perf_counter() < ends:
            answer = await ask(connection, "get_action", message)
            if "action" in answer:  # else the learner has to catch up first
                steps += 1
                message["reward"] = 1.0
        await ask(connection, "end_episode", {**message, "truncated": True})
        connection[1].close()
        return steps

    async def play_all() -> list[int]:
        ends = time.perf_counter() + seconds
        return await asyncio.gather(*(play_one(ends) for _ in range(clients)))

    started = time.perf_counter()
    steps = asyncio.run(play_all())
    return {"steps": steps, "seconds": time.perf_counter() - started}


def quantiles(waits: list[float]) -> dict:
    p50, p99 = 1e3 * np.quantile(waits, (0.5, 0.99))
    return {"requests": len(waits), "p50_ms": float(p50), "p99_ms": float(p99)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("role")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--target", type=float, default=195.0)
    parser.add_argument("--steps", type=int, default=60_000)
    parser.add_argument("--every", type=int, default=5_000)
    parser.add_argument("--size", type=int, default=8, help="of an observation")
    parser.add_argument("--log", help="to replay")
    parser.add_argument("--times", type=int, default=1, help="to replay it")
    parser.add_argument("--env", default="CartPole-200")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--training", type=int, default=0)
    options = parser.parse_args()
    episodes = list(read_log(options.log)) if options.log else []
    print("ready", flush=True)
    address = sys.stdin.readline().strip()
    if not address:
        return 1
    client = PolicyClient(address, quiet=True)
    roles: dict[str, Callable[[], dict]] = {
        "learn": lambda: learn(client, options.seed, options.seconds, options.target, options.env),
        "learn-as-of-old": lambda: learn(
            client, options.seed, options.seconds, options.target, options.env, False
        ),
        "crowd": lambda: crowd(address, options.clients, options.seconds, bool(options.training)),
        "pong": lambda: pong(client, options.seed, options.steps, options.every),
        "train": lambda: train(client, options.seed),
        "evaluate": lambda: evaluate(client, options.seed, options.seconds, bool(options.training)),
        "echo": lambda: echo(address, options.seconds),
        "ask": lambda: ask(client, options.size),
        "replay": lambda: replay(client, episodes, options.times),
    }
    print(json.dumps(roles[options.role]()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
