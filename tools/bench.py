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
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import psutil
from playwright.sync_api import sync_playwright

from serving import checkpoints
from serving.logs import check_log, read_log, split_log
from serving.testing import RunningServer, evaluate, frozen_policy
from tools.bench_players import GAMES, make_env, play_pong

ROOT = Path(__file__).resolve().parents[1]
PLAYERS = ROOT / "tools" / "bench_players.py"
ROLLOUTS = ROOT / "serving" / "do_rollouts.py"
WEB_SERVER = ROOT / "serving" / "pong_web_server.py"
START_RAY = ROOT / "tools" / "start-ray.sh"
SMALL, LARGE = (ROOT / "serving" / name for name in ("data_small.gz", "data_large.gz"))
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
TARGET = 195.0
LEARNER_PATIENCE = 60.0  # seconds
MOST_SECONDS = 90.0  # for one seed of CartPole
CHROMIUM = "/usr/bin/chromium"
PONG_STEPS = 60_000
MOST_PONG_SECONDS = 400.0
MOST_PEER_SECONDS = 400.0
REPLAYS = 3  # of the large log, to measure how fast
MOST_SECONDS_OF_CATCHING_UP = 900.0
PONG_GAMES = 20  # a policy is judged by
ON_POLICY = {"PPO": 90.0, "PG": 240.0}  # seconds that the median seed of CartPole may take
# Environments that nothing here was tuned for, the return at which gymnasium calls them solved, and
# the sizes of observation and action: all that the server is told.
ENVIRONMENTS = {"Acrobot-v1": (-100.0, 6, 3), "CartPole-v1": (475.0, 4, 2)}
ENVIRONMENT_RUNS = ("DQN", "PPO")
ENVIRONMENT_SECONDS = 300.0


class Row(NamedTuple):
    """One line of the table. `met` is None where there is nothing to compare with."""

    what: str
    measured: str
    wanted: str
    met: bool | None


class Item(NamedTuple):
    """One thing to measure: `run` writes what it finds into the figures."""

    name: str
    seconds: float  # expected
    run: Callable[[], None]


@dataclass
class Figures:
    """Everything that was measured; build/bench.json holds the same."""

    first_actions: list[float] = field(default_factory=list)  # seconds
    cartpole: list[dict] = field(default_factory=list)  # a seed each
    pong: list[dict] = field(default_factory=list)  # a seed each
    rollouts: dict | None = None  # steps/s by number of workers
    page: dict | None = None
    on_policy: list[dict] = field(default_factory=list)  # a run and a seed each
    environments: list[dict] = field(default_factory=list)  # an environment, a run and a seed each
    ray29_cartpole: dict | None = None
    sb3_cartpole: list[dict] = field(default_factory=list)
    busy: dict | None = None
    beside: dict | None = None
    echo: dict | None = None
    replay: dict | None = None
    ray29_replay: float | None = None  # steps/s
    logs: list[dict] = field(default_factory=list)  # a log and a seed each
    shards: list[dict] = field(default_factory=list)  # a seed each


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
    """Plans what to measure, measures it, and makes the table."""

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

    # -- the table ----------------------------------------------------------------------------------

    def rows(self) -> Iterator[Row]:
        figures = self.figures
        if figures.first_actions:
            seconds = statistics.median(figures.first_actions)
            worst = max(figures.first_actions)
            yield Row("first action after the command, median", f"{seconds:.2f} s (worst {worst:.2f} s)",
                      "at most 1.0 s", seconds <= 1.0)  # fmt: skip
        if figures.cartpole:
            yield from self.cartpole_rows()
        if figures.pong:
            yield from self.pong_rows()
        if figures.rollouts:
            one, two = figures.rollouts[1], figures.rollouts[2]
            yield Row("rollouts from two Ray workers beside one",
                      f"{two / one:.2f} times ({two:,.0f} and {one:,.0f} steps/s)",
                      "more than 1", two > one)  # fmt: skip
        for what, page in (figures.page or {}).items():
            yield Row(f"browser decision, there and back, learning, {what}: p99",
                      f"{page['p99']:.1f} ms (p50 {page['p50']:.1f} ms, {page['fps']:.0f} frames/s)",
                      "at most 20 ms", page["p99"] <= 20)  # fmt: skip
        for run in dict.fromkeys(run["run"] for run in figures.on_policy):
            yield from self.on_policy_rows(run)
        if figures.environments:
            yield from self.environment_rows()
        if figures.busy:
            yield from self.busy_rows()
        if figures.beside:
            yield from self.beside_rows()
        if figures.replay:
            yield from self.replay_rows()
        yield from self.log_rows()
        if figures.shards:
            yield from self.shard_rows()

    def cartpole_rows(self) -> Iterator[Row]:
        runs, ray29, sb3 = (
            self.figures.cartpole, self.figures.ray29_cartpole, self.figures.sb3_cartpole
        )  # fmt: skip
        solved = [run for run in runs if run["solved"]]
        seconds = [run["seconds"] for run in runs]
        median, worst = statistics.median(seconds), max(seconds)
        episodes = statistics.median(run["episodes"] for run in runs)
        evaluations = [run["evaluation"] for run in runs]
        good = sum(evaluation >= TARGET for evaluation in evaluations)
        name = f"CartPole to a mean of {TARGET:.0f}"
        yield Row(f"{name}, seeds that get there", f"{len(solved)} of {len(runs)}", "all",
                  len(solved) == len(runs))  # fmt: skip
        yield Row(f"{name}, median", f"{median:.1f} s", "at most 20 s", median <= 20)
        yield Row(f"{name}, slowest", f"{worst:.1f} s", "at most 45 s", worst <= 45)
        yield Row(f"{name}, median", f"{episodes:.0f} episodes", "at most 150", episodes <= 150)
        yield Row("greedy evaluation, 20 fresh episodes",
                  f"{good} of {len(runs)} seeds at least {TARGET:.0f} (lowest {min(evaluations):.0f})",
                  "all", good == len(runs))  # fmt: skip
        if ray29:
            ratio = ray29["seconds"] / median
            more = "" if ray29["solved"] else "more than "
            yield Row("... faster than Ray 2.9.3",
                      f"{more}{ratio:.1f} times ({more}{ray29['seconds']:.0f} s)",
                      "at least 10 times", ratio >= 10)  # fmt: skip
        if sb3:
            theirs = statistics.median(run["seconds"] for run in sb3)
            reached = sum(run["solved"] for run in sb3)
            yield Row("... faster than Stable-Baselines3, in-process",
                      f"{theirs / median:.1f} times ({theirs:.0f} s, {reached} of {len(sb3)} seeds)",
                      "more than 1", theirs > median)  # fmt: skip

    def pong_rows(self) -> Iterator[Row]:
        curves = [{steps: share for steps, _, share in run["curve"]} for run in self.figures.pong]
        for steps, wanted, which in (
            (15_000, 0.50, "median"), (30_000, 0.50, "lowest"), (60_000, 0.65, "lowest")
        ):  # fmt: skip
            shares = [curve[steps] for curve in curves]
            counts = statistics.median(shares) if which == "median" else min(shares)
            each = " ".join(f"{share:.0%}" for share in shares)
            yield Row(f"Pong, points won greedily after {steps:,} steps, {which}",
                      f"{counts:.0%} (seeds: {each})", f"at least {wanted:.0%}",
                      counts >= wanted)  # fmt: skip
        seconds = [run["curve"][-1][1] for run in self.figures.pong]
        yield Row(f"Pong, {PONG_STEPS:,} steps, slowest",
                  f"{max(seconds):.0f} s (median {statistics.median(seconds):.0f} s)",
                  "at most 120 s", max(seconds) <= 120)  # fmt: skip

    def pong_curve(self) -> dict:
        """The seed that is the median after all steps, as tools/make_images.py draws it."""
        runs = sorted(self.figures.pong, key=lambda run: run["curve"][-1][2])
        median = runs[len(runs) // 2]
        return {
            "run": "python serving/simple_policy_server.py --action-size=3 --observation-size=8 "
            f"--run=DQN --seed={median['seed']}",
            "measured": f"share of points in {GAMES} games, the policy frozen and greedy, the "
            "opponent at its default level",
            "seeds": len(runs),
            "random": 0.07,  # of 2,150 points
            "points": [[steps, round(share, 3)] for steps, _, share in median["curve"]],
        }

    def on_policy_rows(self, run: str) -> Iterator[Row]:
        runs, most = [r for r in self.figures.on_policy if r["run"] == run], ON_POLICY[run]
        seconds = [r["seconds"] for r in runs]
        solved = sum(r["solved"] for r in runs)
        steps = statistics.median(r["steps"] for r in runs)
        episodes = statistics.median(r["episodes"] for r in runs)
        name = f"CartPole to a mean of {TARGET:.0f}, --run={run}"
        yield Row(f"{name}, seeds within {2 * most:.0f} s", f"{solved} of {len(runs)}", "all",
                  solved == len(runs))  # fmt: skip
        yield Row(f"{name}, median", f"{statistics.median(seconds):.1f} s (slowest {max(seconds):.1f} s), "
                  f"{steps:,.0f} steps, {episodes:.0f} episodes",
                  f"at most {most:.0f} s", statistics.median(seconds) <= most)  # fmt: skip

    def environment_rows(self) -> Iterator[Row]:
        """A row for each algorithm; an environment is learned if one of them always gets there."""
        every = self.figures.environments
        for name in dict.fromkeys(run["environment"] for run in every):
            of_name = [run for run in every if run["environment"] == name]
            of_run = {
                run: [found for found in of_name if found["run"] == run]
                for run in dict.fromkeys(found["run"] for found in of_name)
            }
            learned = any(all(run["solved"] for run in runs) for runs in of_run.values())
            for run, runs in of_run.items():
                solved = sum(found["solved"] for found in runs)
                seconds = statistics.median(found["seconds"] for found in runs)
                steps = statistics.median(found["steps"] for found in runs)
                evaluation = statistics.median(found["evaluation"] for found in runs)
                yield Row(f"{name} to a mean of {ENVIRONMENTS[name][0]:.0f}, --run={run}",
                          f"{solved} of {len(runs)} seeds, median {seconds:.0f} s, {steps:,.0f} steps; "
                          f"greedy {evaluation:.0f}",
                          "all seeds of one algorithm", learned)  # fmt: skip

    def busy_rows(self) -> Iterator[Row]:
        busy, ray29 = self.figures.busy, self.figures.ray29_cartpole
        measured = f"{busy['steps_per_second']:.0f} steps/s"
        name = "served to one client, one update per four steps"
        if ray29 is None:
            yield Row(name, measured, "", None)
            return
        ratio = busy["steps_per_second"] / ray29["steps_per_second"]
        yield Row(name, f"{measured}: {ratio:.0f} times Ray 2.9.3 ({ray29['steps_per_second']:.0f})",
                  "at least 40 times", ratio >= 40)  # fmt: skip

    def beside_rows(self) -> Iterator[Row]:
        beside, echo = self.figures.beside, self.figures.echo
        measured = f"{beside['per_second']:.0f} steps/s"
        name = "evaluation client beside a training client"
        if echo is None:
            yield Row(name, measured, "", None)
        else:
            ratio = beside["per_second"] / echo["per_second"]
            yield Row(name, f"{measured}: {ratio:.2f} of the bare echo ({echo['per_second']:.0f}/s)",
                      "at least 0.50", ratio >= 0.5)  # fmt: skip
        yield Row("... and the training client beside it", f"{beside['steps_per_second']:.0f} steps/s",
                  "", None)  # fmt: skip
        yield Row("... get_action while the learner is busy, p99",
                  f"{beside['p99_ms']:.2f} ms (p50 {beside['p50_ms']:.2f} ms)",
                  "at most 3 ms", beside["p99_ms"] <= 3)  # fmt: skip

    def replay_rows(self) -> Iterator[Row]:
        replay, ray29 = self.figures.replay, self.figures.ray29_replay
        rate = replay["steps_per_second"]
        yield Row("replay of a log by the plain loop", f"{rate:,.0f} steps/s", "at least 20,000 steps/s",
                  rate >= 20_000)  # fmt: skip
        if ray29:
            yield Row("... beside Ray 2.9.3", f"{rate / ray29:,.0f} times ({ray29:.0f} steps/s)", "",
                      None)  # fmt: skip
        lost = replay["steps"] - replay["accepted"]
        yield Row("... steps lost", f"{lost} of {replay['steps']:,}", "none", lost == 0)
        yield Row("... CPU of client and server",
                  f"{replay['cpu_us_per_step'] + replay['server_cpu_us_per_step']:.1f} us a step",
                  "", None)  # fmt: skip
        yield Row("... get_action of another client meanwhile, p99",
                  f"{replay['p99_ms']:.2f} ms (p50 {replay['p50_ms']:.2f} ms)",
                  "under 10 ms", replay["p99_ms"] < 10)  # fmt: skip

    def log_rows(self) -> Iterator[Row]:
        large = [run for run in self.figures.logs if run["log"] == LARGE.name]
        small = [run for run in self.figures.logs if run["log"] == SMALL.name]
        if large:
            yield self.points_row(
                f"points won after {LARGE.name}, greedily, {len(large)} seeds", large
            )
            seconds = statistics.median(run["seconds"] for run in large)
            yield Row("... replayed and learned from, median", f"{seconds:.0f} s", "", None)
        if small:
            times = [run["returned"] / max(run["untrained"]["returned"], 1e-3) for run in small]
            yield Row(f"balls returned after {SMALL.name}, beside an untrained policy",
                      f"{min(times):.1f} to {max(times):.1f} times", "at least 2 times",
                      min(times) >= 2)  # fmt: skip

    def shard_rows(self) -> Iterator[Row]:
        shards, replay = self.figures.shards, self.figures.replay
        yield self.points_row(
            f"points won after 8 shards, 2 env runners, {len(shards)} seeds", shards
        )
        rate = statistics.median(run["steps_per_second"] for run in shards)
        faster = None if replay is None else rate > replay["steps_per_second"]
        yield Row("... read, median", f"{rate:,.0f} steps/s", "more than over HTTP", faster)
        once = all(run["each_once"] for run in shards)
        yield Row("... every episode counted once", "yes" if once else "no", "yes", once)

    def points_row(self, what: str, runs: list[dict]) -> Row:
        won, behaviour = [run["won"] for run in runs], runs[0]["behaviour"]
        return Row(what, f"{min(won):.0%} to {max(won):.0%} (the log: {behaviour:.0%})",
                   "at least 30%, and more than the log's", min(won) >= max(0.3, behaviour + 0.1))  # fmt: skip


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


def show(rows: list[Row], skipped: list[str], out: Path) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    print()
    for row in rows:
        verdict = {True: "met", False: "NOT MET", None: ""}[row.met]
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths))
        print("  " + "   ".join((*cells, verdict)).rstrip())
    for sentence in dict.fromkeys(skipped):
        print(f"  {sentence}")
    print(f"\nwritten to {out}", flush=True)


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
        rows = list(bench.rows())
        if rows:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            written = {"machine": about, "figures": asdict(bench.figures),
                       "rows": [row._asdict() for row in rows]}  # fmt: skip
            options.out.write_text(json.dumps(written, indent=1) + "\n")
            show(rows, bench.skipped, options.out)
        if options.curve and bench.figures.pong:
            options.curve.write_text(json.dumps(bench.pong_curve()) + "\n")
    return 0 if all(row.met is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
