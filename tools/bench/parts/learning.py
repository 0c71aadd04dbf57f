"""One seed of one environment, played over HTTP from the command on: what several parts measure."""

from __future__ import annotations

import statistics
import time

from serving.evaluation import evaluate, frozen_policy
from serving.running_server import RunningServer
from tools.bench.players import make_env
from tools.bench.processes import Player


def learn(
    name: str, target: float, seconds: float, observation_size: int, action_size: int, seed: int,
    says_truncated: bool = True, **options,
) -> dict:  # fmt: skip
    """From the command that starts the server to a 20-episode mean of `target`, at most `seconds`;
    then the frozen policy, greedily, in 20 episodes that nobody has seen.

    says_truncated: False plays as the old lesson did, whose episodes all end as terminated.
    """
    flags = {"seed": seed, "seconds": seconds, "target": target, "env": name}
    with Player("learn" if says_truncated else "learn-as-of-old", **flags) as player:
        started = time.monotonic()
        with RunningServer(observation_size, action_size, seed=seed, **options) as server:
            player.play(server.address)
            found = player.result(seconds + 60)
            policy = frozen_policy(server.client())
        found["seconds"] = found.pop("at") - started
        found["evaluation"] = statistics.mean(
            evaluate(policy, lambda: make_env(name), 20, 10_000 + 100 * seed)
        )
        return {"seed": seed, **found}
