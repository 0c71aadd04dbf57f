#!/usr/bin/env python
"""Measures what is promised: start, learning, throughput and latency, beside peers if there are any.

    make bench
    make bench ARGS="--only=start,beside --seeds=3"
    make bench ARGS="--peers=DIR"

DIR holds the peers' drivers (ray29_server.py, ray29_cartpole.py, ray29_replay.py, sb3_cartpole.py,
http_echo.py) and a virtual environment for each: ray29/, sb3/, echo/. Figures drift from machine to machine; the
ratios, measured in one run, are what holds. Leave the machine alone while it measures.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import contextlib
import json
import os
import platform
import re
import socket
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import NamedTuple

import psutil
from playwright.sync_api import sync_playwright

from serving import checkpoints
from serving.evaluation import evaluate, frozen_policy
from serving.logs import check_log, read_log, split_log
from serving.running_server import RunningServer
from tools.bench_players import make_env, play_pong
from tools.bench_table import (
    ENVIRONMENTS,
    LARGE,
    ON_POLICY,
    PONG_STEPS,
    SMALL,
    TARGET,
    Figures,
    pong_curve,
    rows_of,
    show,
)

ROOT = Path(__file__).resolve().parents[1]
PLAYERS = ROOT / "tools" / "bench_players.py"
ROLLOUTS = ROOT / "serving" / "do_rollouts.py"
WEB_SERVER = ROOT / "serving" / "pong_web_server.py"
START_RAY = ROOT / "tools" / "start-ray.sh"
PARTS = (
    "start",
    "cartpole",
    "pong",
    "on-policy",
    "environments",
    "rollouts",
    "page",
    "busy",
    "beside",
    "replay",
    "logs",
    "shards",
)
MARK = "ONLINE_LEARNING_KIT_BENCH"  # environment variable that everything started here inherits
LEARNER_PATIENCE = 60.0  # seconds
MOST_SECONDS = 90.0  # for one seed of CartPole
CHROMIUM = "/usr/bin/chromium"
MOST_PONG_SECONDS = 400.0
MOST_PEER_SECONDS = 400.0
REPLAYS = 3  # of the large log, to measure how fast
MOST_SECONDS_OF_CATCHING_UP = 900.0
PONG_GAMES = 20  # a policy is judged by
ENVIRONMENT_RUNS = ("DQN", "PPO")
ENVIRONMENT_SECONDS = 300.0


class Item(NamedTuple):
    """One thing to measure: `run` writes what it finds into the figures."""

    name: str
    seconds: float  # expected
    run: Callable[[], None]


# -- processes --------------------------------------------------------------------------------------


def started_here(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:  # ended meanwhile, or somebody else's
            continue
    return found


def end_all(mark: str) -> None:
    """Ends every process that was started here, orphans too."""
    for signal_, patience in (("terminate", 5.0), ("kill", 5.0)):
        for process in (processes := started_here(mark)):
            with contextlib.suppress(psutil.Error):
                getattr(process, signal_)()
        psutil.wait_procs(processes, patience)


class Player:
    """A process of tools/bench_players.py, imported and waiting for an address."""

    def __init__(self, role: str, **options):
        flags = [f"--{name}={value}" for name, value in options.items()]
        self.process = subprocess.Popen(
            [sys.executable, str(PLAYERS), role, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"the player '{role}' did not start")

    def play(self, address: str) -> None:
        self.process.stdin.write(f"{address}\n")
        self.process.stdin.flush()

    def result(self, timeout: float) -> dict:
        """What it has seen; tells it to stop if it plays until told."""
        output, _ = self.process.communicate(timeout=timeout)
        return json.loads(output)

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *exception) -> None:
        self.process.kill()
        self.process.wait()


def a_free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        return taken.getsockname()[1]


def wait_for_port(port: int, process: subprocess.Popen, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("localhost", port), 1.0):
            return
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens on port {port} after {seconds:.0f} s")


class Bench:
    """Plans what to measure, and measures it."""

    def __init__(self, options: argparse.Namespace, mark: str):
        self.options = options
        self.mark = mark
        self.figures = Figures()
        self.skipped: list[str] = []

    # -- the plan -----------------------------------------------------------------------------------

    def plan(self) -> list[Item]:
        options, parts = self.options, self.options.only
        items = []
        if "start" in parts:
            items += [
                Item(f"first action, start {i + 1} of {options.starts}", 2.5, self.first_action)
                for i in range(options.starts)
            ]
        if "cartpole" in parts:
            items += [
                Item(f"CartPole, seed {seed}", 20, lambda seed=seed: self.cartpole(seed))
                for seed in range(options.seeds)
            ]
            if self.peer("sb3", "sb3_cartpole.py"):
                runs = options.peer_seeds
                items.append(Item(f"CartPole, SB3, {runs} seeds", 32 * runs, self.sb3))
        if "pong" in parts:
            items += [
                Item(f"Pong, seed {seed}", 80, lambda seed=seed: self.pong(seed))
                for seed in range(options.few_seeds)
            ]
        if "rollouts" in parts:
            items.append(Item("rollouts from one and two workers", 60, self.rollouts))
        if "page" in parts:
            if Path(CHROMIUM).exists():
                items.append(Item("Pong in the browser", 25 + 2 * options.seconds, self.page))
            else:
                self.skipped.append(f"not measured in a browser: there is no {CHROMIUM}")
        if "on-policy" in parts:
            items += [
                Item(f"CartPole, --run={run}, seed {seed}", 30,
                     lambda run=run, seed=seed: self.on_policy(run, seed))
                for run in ON_POLICY
                for seed in range(options.few_seeds)
            ]  # fmt: skip
        if "environments" in parts:
            items += [
                Item(f"{name}, --run={run}, seed {seed}", 90,
                     lambda name=name, run=run, seed=seed: self.environment(name, run, seed))
                for name in ENVIRONMENTS
                for run in ENVIRONMENT_RUNS
                for seed in range(options.few_seeds)
            ]  # fmt: skip
        if "busy" in parts:
            items.append(Item("steps/s while the learner is busy", 15 + options.seconds, self.busy))
        if {"cartpole", "busy"} & set(parts) and self.peer("ray29", "ray29_cartpole.py"):
            seconds = 300 if "cartpole" in parts else max(45.0, 2 * options.seconds)
            items.append(
                Item("CartPole, Ray 2.9.3", 20 + seconds * 0.7, lambda: self.ray29(seconds))
            )
        if "beside" in parts:
            items.append(Item("evaluation beside training", 15 + options.seconds, self.beside))
            if self.peer("echo", "http_echo.py"):
                items.append(Item("bare echo", 2 + options.seconds / 2, self.echo))
        if "replay" in parts:
            items.append(Item("replay of a log over HTTP", 30, self.replay))
            if self.peer("ray29", "ray29_replay.py"):
                items.append(Item("replay of a log, Ray 2.9.3", 80, self.ray29_replay))
        if "logs" in parts:
            for log, seconds in ((SMALL, 20), (LARGE, 110)):
                items += [
                    Item(f"learn from {log.name}, seed {seed}", seconds,
                         lambda log=log, seed=seed: self.learn_from(log, seed))
                    for seed in range(options.few_seeds)
                ]  # fmt: skip
        if "shards" in parts:
            items += [
                Item(f"learn from 8 shards, seed {seed}", 110, lambda seed=seed: self.shards(seed))
                for seed in range(options.few_seeds)
            ]
        return items

    def peer(self, environment: str, driver: str) -> bool:
        """Whether this peer can be measured; says so if not."""
        folder = self.options.peers
        if folder is None:
            reason = "no --peers was given"
        elif not (folder / environment / "bin" / "python").exists():
            reason = f"there is no {environment}/bin/python in {folder}"
        elif not (folder / driver).exists():
            reason = f"there is no {driver} in {folder}"
        else:
            return True
        self.skipped.append(f"not compared with {environment}: {reason}")
        return False

    # -- measuring ----------------------------------------------------------------------------------

    def first_action(self) -> None:
        """Seconds from the command to the answer of a training episode's first get_action."""
        started = time.perf_counter()
        with RunningServer(4, 2) as server:
            client = server.client()
            client.get_action(client.start_episode(), [0.0, 0.0, 0.0, 0.0])
            self.figures.first_actions.append(time.perf_counter() - started)

    def cartpole(self, seed: int) -> None:
        """One seed, from the command that starts the server; then the frozen policy, greedily."""
        found = self.learn("CartPole-200", TARGET, MOST_SECONDS, 4, 2, seed)
        self.figures.cartpole.append(found)

    def on_policy(self, run: str, seed: int) -> None:
        """The same with --run=PPO or PG."""
        found = self.learn("CartPole-200", TARGET, 2 * ON_POLICY[run], 4, 2, seed, run=run)
        self.figures.on_policy.append({"run": run, **found})

    def environment(self, name: str, run: str, seed: int) -> None:
        """An environment that the server knows nothing of but its two sizes."""
        target, observation_size, action_size = ENVIRONMENTS[name]
        found = self.learn(
            name, target, ENVIRONMENT_SECONDS, observation_size, action_size, seed, run=run
        )
        self.figures.environments.append({"environment": name, "run": run, **found})

    def learn(
        self, name: str, target: float, seconds: float, observation_size: int, action_size: int,
        seed: int, **options,
    ) -> dict:  # fmt: skip
        """What one seed of one environment came to."""
        with Player("learn", seed=seed, seconds=seconds, target=target, env=name) as player:
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

    def pong(self, seed: int) -> None:
        """One seed of Pong over HTTP: how the greedy policy's share of points grows."""
        with (
            Player("pong", seed=seed, steps=PONG_STEPS) as player,
            RunningServer(8, 3, seed=seed) as server,
        ):
            started = time.monotonic()
            player.play(server.address)
            found = player.result(MOST_PONG_SECONDS)
        curve = [[steps, at - started, share] for steps, at, share in found["curve"]]
        self.figures.pong.append({"seed": seed, "games_each": found["games_each"], "curve": curve})

    def rollouts(self) -> None:
        """Evaluation games of Pong from one and from two Ray workers, the learner idle; the best of
        two runs each."""
        rates: dict[int, float] = {}
        with RunningServer(8, 3) as server:
            server.wait_until(
                lambda status: status.state == "idle", LEARNER_PATIENCE, "the learner"
            )
            for workers in (1, 2, 1, 2):
                done = subprocess.run(
                    [sys.executable, ROLLOUTS, f"--policy-server={server.address}", "--games=150",
                     "--no-train", "--quiet", f"--num-workers={workers}"],
                    stdout=subprocess.PIPE, text=True, timeout=300, check=True,
                )  # fmt: skip
                rate = float(re.search(r"\(([\d,]+) steps/s\)", done.stdout)[1].replace(",", ""))
                rates[workers] = max(rate, rates.get(workers, 0.0))
        self.figures.rollouts = rates

    def page(self) -> None:
        """Decisions of the Pong page, asked over HTTP: while the server learns from this game, and
        while rollouts keep it busy as well."""
        self.figures.page = {}
        with RunningServer(8, 3) as server, contextlib.ExitStack() as stack:
            web_server = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, WEB_SERVER, "--port=0", f"--policy-server={server.address}"],
                    stdout=subprocess.PIPE, text=True,
                )
            )  # fmt: skip
            stack.callback(web_server.terminate)
            address = web_server.stdout.readline().split()[-1]
            browser = stack.enter_context(sync_playwright()).chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox"]
            )
            stack.callback(browser.close)
            with contextlib.ExitStack() as rollouts:
                self.wait_for_learning_from(server, rollouts)
                self.figures.page["rollouts beside"] = self.decisions(browser, address)
            self.figures.page["this game alone"] = self.decisions(browser, address)

    def decisions(self, browser, address: str) -> dict[str, float]:
        """What the page says of its decisions after --seconds of a game that trains the policy."""
        page = browser.new_page()
        page.goto(address)
        page.click("[data-mode=demo]")
        page.check("#training")
        page.click("#overlay-button")
        page.wait_for_timeout(1000 * self.options.seconds)
        found = page.evaluate("({...document.getElementById('latency').dataset})")
        page.close()
        return {name: float(value) for name, value in found.items() if value}

    def wait_for_learning_from(self, server: RunningServer, stack: contextlib.ExitStack) -> None:
        """Starts rollouts, which end with `stack`, and waits until the learner is busy."""
        rollouts = subprocess.Popen(
            [sys.executable, ROLLOUTS, f"--policy-server={server.address}", "--quiet"]
        )
        stack.callback(rollouts.wait)
        stack.callback(rollouts.kill)
        self.wait_for_learning(server)

    def busy(self) -> None:
        """One training client, at Ray 2.9.3's ratio of one update for four steps; acting may be as
        many updates ahead as by default, 64."""
        with (
            RunningServer(4, 2, updates_per_step=0.25, slack=256) as server,
            Player("train") as player,
        ):
            player.play(server.address)
            self.figures.busy = self.window(server)

    def beside(self) -> None:
        """An evaluation client, which nothing paces, while another one trains."""
        seconds = self.options.seconds
        with (
            RunningServer(4, 2) as server,
            Player("train") as trainer,
            Player("evaluate", seconds=seconds) as evaluator,
        ):
            trainer.play(server.address)
            self.wait_for_learning(server)
            evaluator.play(server.address)
            found = self.window(server)
            found.update(evaluator.result(seconds + 30))
            self.figures.beside = found

    def window(self, server: RunningServer) -> dict:
        """What the server did within --seconds of learning, by its own counters."""
        self.wait_for_learning(server)
        client = server.client()
        before, began = client.status(), time.perf_counter()
        time.sleep(self.options.seconds)
        after, seconds = client.status(), time.perf_counter() - began
        counted = {
            "steps_per_second": after.env_steps - before.env_steps,
            "evaluation_steps_per_second": after.evaluation_steps - before.evaluation_steps,
            "updates_per_second": after.updates - before.updates,
        }
        return {name: count / seconds for name, count in counted.items()}

    def wait_for_learning(self, server: RunningServer) -> None:
        server.wait_until(lambda status: status.updates > 100, LEARNER_PATIENCE, "the learner")

    # -- learning from logs ---------------------------------------------------------------------------

    def replay(self) -> None:
        """The plain loop of one client, while another one asks for actions."""
        with (
            RunningServer(8, 3) as server,
            Player("ask", size=8) as asker,
            Player("replay", log=LARGE, times=REPLAYS) as replayer,
        ):
            server.wait_until(lambda status: status.state in ("idle", "learning"),
                              LEARNER_PATIENCE, "the learner")  # fmt: skip
            used = psutil.Process(server.process.pid).cpu_times()
            asker.play(server.address)
            replayer.play(server.address)
            found = replayer.result(600)
            asked = asker.result(30)
            status = server.client().status()
            now = psutil.Process(server.process.pid).cpu_times()
        found["accepted"] = status.logged_steps
        found["waiting"] = status.steps_waiting
        found["server_cpu_us_per_step"] = (
            1e6 * (now.user + now.system - used.user - used.system) / found["steps"]
        )
        self.figures.replay = {**found, **asked}

    def learn_from(self, log: Path, seed: int) -> None:
        """Replays a log into a fresh server and lets it catch up; then the frozen policy, greedily,
        beside the one that knew nothing and the players of the log."""
        with (
            RunningServer(8, 3, seed=seed) as server,
            Player("replay", log=log) as replayer,
        ):
            server.wait_until(lambda status: status.state in ("idle", "learning"),
                              LEARNER_PATIENCE, "the learner")  # fmt: skip
            untrained = frozen_policy(server.client())
            started = time.monotonic()
            replayer.play(server.address)
            found = replayer.result(600)
            server.wait_until(
                lambda status: (status.logged_steps, status.steps_waiting) == (found["steps"], 0),
                MOST_SECONDS_OF_CATCHING_UP, "learning to catch up",
            )  # fmt: skip
            seconds = time.monotonic() - started
            policy = frozen_policy(server.client())
        self.figures.logs.append(
            {"log": log.name, "seed": seed, "seconds": seconds, **play_pong(policy, PONG_GAMES, 10_000),
             "untrained": play_pong(untrained, PONG_GAMES, 10_000), "behaviour": share_of_points(log)}
        )  # fmt: skip

    def shards(self, seed: int) -> None:
        """The same from 8 shards, read by 2 env runners."""
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            split_log(LARGE, 8, folder)
            command = [
                sys.executable, str(ROOT / "serving" / "train_from_logs.py"),
                f"{folder}/*.gz", "--observation-size=8", "--action-size=3", f"--seed={seed}",
                "--num-env-runners=2", f"--checkpoint-file={folder}/pong", "--quiet",
            ]  # fmt: skip
            started = time.monotonic()
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=MOST_SECONDS_OF_CATCHING_UP
            )
            seconds = time.monotonic() - started
            said = re.search(
                r"read ([\d,]+) episodes, ([\d,]+) steps, in [\d.]+ s \(([\d,]+) steps/s\)",
                done.stdout,
            )
            if done.returncode or not said:
                raise RuntimeError(f"train_from_logs.py failed: {done.stderr[-500:]}")
            _, policy = checkpoints.read(checkpoints.newest(f"{folder}/pong"))
        episodes, steps, per_second = (int(number.replace(",", "")) for number in said.groups())
        log = check_log(LARGE)
        self.figures.shards.append(
            {"seed": seed, "seconds": seconds, "steps_per_second": per_second, **play_pong(policy, PONG_GAMES, 10_000),
             "each_once": (episodes, steps) == (log.episodes, log.steps),
             "behaviour": share_of_points(LARGE)}
        )  # fmt: skip

    # -- peers --------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def peer_process(self, environment: str, driver: str, *arguments) -> Iterator[subprocess.Popen]:
        """A peer's driver in its own environment, with a temporary folder of its own: its Ray must
        not find the one of this kit."""
        folder = self.options.peers
        with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as scratch:
            process = subprocess.Popen(
                [folder / environment / "bin" / "python", folder / driver, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=open(Path(scratch) / "stderr", "w"),
                text=True,
                cwd=scratch,
                env={**os.environ, "RAY_TMPDIR": scratch, "PYTHONWARNINGS": "ignore"},
            )
            try:
                yield process
            finally:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                process.kill()
                process.stdout.close()
                end_all(self.mark)

    def ray29(self, seconds: float) -> None:
        port = a_free_port()
        with self.peer_process("ray29", "ray29_server.py", 4, 2, port) as server:
            # Its output is not read: a few lines a second fit into the pipe for long enough.
            wait_for_port(port, server)
            with self.peer_process("ray29", "ray29_cartpole.py", seconds, port) as player:
                output, _ = player.communicate(timeout=seconds + 60)
        lines = re.findall(
            r"([\d.]+) s, (\d+) episodes, (\d+) steps, mean ([\d.]+), (\d+) steps/s, "
            r"get_action p50 ([\d.]+) ms p99 ([\d.]+) ms", output,
        )  # fmt: skip
        solved = re.search(r"solved: ([\d.]+) s, (\d+) episodes, (\d+) steps", output)
        if not lines:
            raise RuntimeError(f"ray29_cartpole.py printed no figures: {output[-500:]}")
        last = [float(number) for number in lines[-1]]
        self.figures.ray29_cartpole = {
            "solved": bool(solved),
            "seconds": float(solved[1]) if solved else last[0],
            "episodes": int(solved[2]) if solved else int(last[1]),
            "steps": int(solved[3]) if solved else int(last[2]),
            "steps_per_second": last[4],
            "p50_ms": last[5],
            "p99_ms": last[6],
        }

    def ray29_replay(self) -> None:
        port = a_free_port()
        with self.peer_process("ray29", "ray29_server.py", 8, 3, port) as server:
            wait_for_port(port, server)
            with self.peer_process("ray29", "ray29_replay.py", LARGE, 45, port) as player:
                output, _ = player.communicate(timeout=200)
        said = re.search(r"(\d+) steps/s", output)
        if not said:
            raise RuntimeError(f"ray29_replay.py printed no figures: {output[-500:]}")
        self.figures.ray29_replay = float(said[1])

    def sb3(self) -> None:
        seeds = self.options.peer_seeds
        with self.peer_process("sb3", "sb3_cartpole.py", seeds) as process:
            output, _ = process.communicate(timeout=MOST_PEER_SECONDS * seeds)
        for seed, mean, seconds, episodes, steps in re.findall(
            r"seed (\d+): mean ([\d.]+), ([\d.]+) s, (\d+) episodes, (\d+) steps", output
        ):
            self.figures.sb3_cartpole.append(
                {"seed": int(seed), "solved": float(mean) >= TARGET, "seconds": float(seconds),
                 "episodes": int(episodes), "steps": int(steps)}
            )  # fmt: skip

    def echo(self) -> None:
        port = a_free_port()
        with (
            self.peer_process("echo", "http_echo.py", "serve", port) as process,
            Player("echo", seconds=self.options.seconds / 2) as player,
        ):
            wait_for_port(port, process)
            player.play(f"http://127.0.0.1:{port}")
            self.figures.echo = player.result(self.options.seconds + 30)


def share_of_points(log: Path) -> float:
    """That the players of a log won: a point is a reward of 1 or -1."""
    rewards = [step["reward"] for episode in read_log(log) for step in episode]
    won, lost = (sum(round(reward) == point for reward in rewards) for point in (1, -1))
    return won / (won + lost)


# -- running ----------------------------------------------------------------------------------------


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def run(items: list[Item]) -> None:
    """Runs the items in order, and says how long it will take: expected seconds, corrected by how
    long the expected ones have taken so far."""
    started, done = time.monotonic(), 0.0
    for number, item in enumerate(items, 1):
        elapsed = time.monotonic() - started
        pace = elapsed / done if done else 1.0
        left = pace * sum(later.seconds for later in items[number - 1 :])
        print(f"[{number:2}/{len(items)}] {clock(elapsed)} so far, about {clock(left)} left: "
              f"{item.name}", flush=True)  # fmt: skip
        item.run()
        done += item.seconds


@contextlib.contextmanager
def a_running_ray() -> Iterator[None]:
    """Finds Ray, or starts one and stops it in the end."""
    found = subprocess.run([START_RAY, "--check"], capture_output=True, timeout=90).returncode == 0
    if not found:
        print("starting Ray ...", flush=True)
        # Not one of the processes that end_all() ends between two measurements.
        environment = {name: value for name, value in os.environ.items() if name != MARK}
        subprocess.run([START_RAY], check=True, timeout=180, env=environment)
    try:
        yield
    finally:
        if not found:
            subprocess.run([START_RAY, "--stop"], timeout=60)


def machine() -> dict:
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "cpus": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": os.getloadavg()[0],
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", default=",".join(PARTS), metavar="PART,...", help="of %(default)s")
    add("--starts", type=int, default=10, metavar="N", help="starts (default: %(default)s)")
    add("--seeds", type=int, default=20, metavar="N", help="of CartPole (default: %(default)s)")
    add("--few-seeds", type=int, default=5, metavar="N",
        help="of whatever else is played over seeds (default: %(default)s)")  # fmt: skip
    add("--peer-seeds", type=int, default=3, metavar="N", help="of SB3 (default: %(default)s)")
    add("--seconds", type=float, default=20, metavar="S",
        help="to count steps and waits for (default: %(default)s)")  # fmt: skip
    add("--curve", type=Path, metavar="FILE",
        help="where Pong's learning curve goes, of the median seed: images/learning.json")  # fmt: skip
    add("--peers", type=Path, metavar="DIR", help="the peers' drivers and environments")
    add("--out", type=Path, default=Path("build/bench.json"), metavar="FILE",
        help="where the figures go, as JSON (default: %(default)s)")  # fmt: skip
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(PARTS):
        parser.error(f"--only: no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if options.peers:
        options.peers = options.peers.absolute()
    return options


def main() -> int:
    options = parse()
    about = machine()
    if about["load_before"] > 0.5 * about["cpus"]:
        print(f"this machine is busy (load {about['load_before']:.1f}): expect worse figures")
    mark = os.environ[MARK] = uuid.uuid4().hex
    bench = Bench(options, mark)
    try:
        with a_running_ray():
            run(bench.plan())
    except KeyboardInterrupt:
        print("\nstopped", flush=True)
        return 130
    finally:
        end_all(mark)
        rows = list(rows_of(bench.figures))
        if rows:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            written = {"machine": about, "figures": asdict(bench.figures),
                       "rows": [row._asdict() for row in rows]}  # fmt: skip
            options.out.write_text(json.dumps(written, indent=1) + "\n")
            show(rows, bench.skipped, options.out)
        if options.curve and bench.figures.pong:
            options.curve.write_text(json.dumps(pong_curve(bench.figures.pong)) + "\n")
    return 0 if all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
