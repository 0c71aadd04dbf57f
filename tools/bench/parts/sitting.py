"""A sitting with lesson 01: JupyterLab, a notebook, the policy server, its learner, TensorBoard."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
from jupyter_client.manager import start_new_kernel

from serving import ROOT
from serving.running_server import RunningServer
from tools.bench.bench import Bench, Item, Row, wait_for_learner
from tools.bench.parts.memory import MOST_IDLE_CPU, cpu_at_rest
from tools.bench.processes import a_free_port, memory, wait_for_port

MEANS = (
    "Whether a student's hour fits on a machine that the web lends out: what everything holds "
    "together that lesson 01 has running, and what it takes while the student reads."
)

MOST_MB = 700
EPISODES = 60
# As the lesson's cells have it: the client, an environment, the curve.
NOTEBOOK = """
import gymnasium as gym
from serving import PolicyClient
from serving.notebook.learning_curve import LearningCurve

client = PolicyClient({address!r}, quiet=True)
env = gym.make("CartPole-v1", max_episode_steps=200)
returns = []
for _ in range({episodes}):
    observation, _ = env.reset()
    episode_id = client.start_episode()
    total, terminated, truncated = 0.0, False, False
    while not (terminated or truncated):
        action = client.get_action(episode_id, observation)
        observation, reward, terminated, truncated, _ = env.step(action)
        client.log_returns(episode_id, reward)
        total += reward
    client.end_episode(episode_id, observation, truncated=truncated)
    returns.append(total)
import matplotlib.pyplot as plt
plt.plot(returns)
plt.gcf().canvas.draw()
"""


def plan(bench: Bench) -> Iterator[Item]:
    yield Item("a sitting with lesson 01", 60, lambda: bench.figures["sitting"].append(a_sitting()))


def a_sitting() -> dict[str, float]:
    """MB (PSS) of each process with its descendants after EPISODES of CartPole, and the CPU seconds
    a second that all of them take afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-") as home, contextlib.ExitStack() as stack:
        environment = {**os.environ, "HOME": home, "MPLBACKEND": "agg"}
        server = stack.enter_context(RunningServer(4, 2, checkpoint_file=f"{home}/cartpole"))
        wait_for_learner(server)
        lab, board = (
            stack.enter_context(started(command(port, home), port, environment))
            for command, port in ((lab_command, a_free_port()), (board_command, a_free_port()))
        )
        manager, client = start_new_kernel(cwd=str(ROOT), env=environment)
        stack.callback(manager.shutdown_kernel, now=True)
        stack.callback(client.stop_channels)
        code = NOTEBOOK.format(address=server.address, episodes=EPISODES)
        reply = client.execute_interactive(code, timeout=180, output_hook=lambda message: None)
        if reply["content"]["status"] != "ok":
            raise RuntimeError(f"the notebook failed: {reply['content']}")
        server.wait_until(lambda status: status.state == "idle", 60, "the learner to be done")
        processes = {
            "policy server and learner": psutil.Process(server.process.pid),
            "JupyterLab": psutil.Process(lab.pid),
            "TensorBoard": psutil.Process(board.pid),
            "notebook": psutil.Process(manager.provisioner.pid),
        }
        held = {name: memory(process) for name, process in processes.items()}
        return {**held, "idle_cpu": cpu_at_rest(*processes.values())}


def lab_command(port: int, home: str) -> list[str]:
    return [
        sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", "--allow-root",
        f"--ServerApp.root_dir={ROOT}",
    ]  # fmt: skip


def board_command(port: int, home: str) -> list[str]:
    return [sys.executable, "-m", "tensorboard.main", f"--port={port}", f"--logdir={home}"]


@contextlib.contextmanager
def started(command: list[str], port: int, environment: dict) -> Iterator[subprocess.Popen]:
    """The process, once it listens; ended with the block, its children too."""
    process = subprocess.Popen(
        command, env=environment, cwd=Path(environment["HOME"]),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for_port(port, process)
        yield process
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        for one in family:
            with contextlib.suppress(psutil.Error):
                one.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()


def rows(figures: dict[str, list]) -> Iterator[Row]:
    (found,) = figures["sitting"]
    held = {name: mb for name, mb in found.items() if name != "idle_cpu"}
    parts = ", ".join(f"{name} {mb:.0f}" for name, mb in held.items())
    total = sum(held.values())
    yield Row("memory of a sitting with lesson 01 (PSS)", f"{total:.0f} MB ({parts})",
              f"at most {MOST_MB} MB", total <= MOST_MB)  # fmt: skip
    yield Row("... CPU of all while nobody plays", f"{found['idle_cpu']:.1%} of a core",
              f"at most {2 * MOST_IDLE_CPU:.0%}", found["idle_cpu"] <= 2 * MOST_IDLE_CPU)  # fmt: skip
