"""What a playing client feels of others: thousands of silent, slow and abandoned connections.

Measured with a policy server that never learns, so that nothing but the server is measured.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import numpy as np

from serving.running_server import RunningServer
from serving.web import peers
from tools.bench.bench import Bench, Item, Row

MEANS = "Whether strangers who only hold the line can spoil the game of somebody who plays."

SECONDS = 5.0  # that a client plays beside each kind of disturbance
MOST_MS = 10.0  # that its slowest answer of a hundred may take
MANY = 2_000  # connections
RETRY = 0.02  # seconds after a connection that was ended is made again
AGAIN = 0.02  # seconds until a slow one sends another byte, all of them in turn
HEAD = b"POST /get_action HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"

DISTURBANCES: dict[str, tuple[bytes, bytes]] = {
    # What each connection begins with, and what it goes on with for ever.
    "silent connections": (b"", b""),
    "slow headers": (b"GET /status HTTP/1.1\r\nX: ", b"y"),
    "slow bodies": (HEAD + b"\r\n{", b" "),
}


def plan(bench: Bench) -> Iterator[Item]:
    yield Item("a client beside strangers", 40, lambda: measure(bench))


def measure(bench: Bench) -> None:
    bench.figures["access"].append(
        {"whose_us": cost_of_knowing_whose(), "beside": beside_disturbances()}
    )


def rows(figures: dict[str, list]) -> Iterator[Row]:
    (found,) = figures["access"]
    for what, answers in found["beside"].items():
        yield Row(f"get_action, p99, {'beside ' if what != 'alone' else ''}{what}",
                  f"{answers['p99 ms']:.2f} ms ({answers['steps/s']:,.0f} steps/s)",
                  f"below {MOST_MS:.0f} ms", answers["p99 ms"] < MOST_MS)  # fmt: skip
    yield Row("to know whose a connection is, once a connection", f"{found['whose_us']:.0f} us",
              "", None)  # fmt: skip


def play(server: RunningServer, seconds: float) -> dict[str, float]:
    """Plays alone for so long; steps a second, and what the slowest of 100 answers took."""
    client, answers = server.client(), []
    observation = np.zeros(4)
    episode = client.start_episode(training_enabled=False)
    stop = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < stop:
        client.get_action(episode, observation)
        answers.append(time.perf_counter() - begun)
    client.end_episode(episode, observation, truncated=True)
    milliseconds = 1e3 * np.array(answers)
    return {
        "steps/s": len(answers) / seconds,
        "p50 ms": float(np.percentile(milliseconds, 50)),
        "p99 ms": float(np.percentile(milliseconds, 99)),
        "max ms": float(milliseconds.max()),
    }


@contextlib.contextmanager
def disturbed(address: str, many: int, begin: bytes, go_on: bytes) -> Iterator[None]:
    """For the length of the block, `many` connections that cost the server what they can; those
    that it ends are made again."""
    place = urlsplit(address)
    stopped = threading.Event()
    lines: list[socket.socket] = []

    def connect() -> socket.socket:
        line = socket.create_connection((place.hostname, place.port), timeout=10)
        line.sendall(begin)
        line.setblocking(False)
        return line

    def disturb() -> None:
        while not stopped.is_set():
            for i, line in enumerate(lines):
                try:
                    if go_on:
                        line.send(go_on)
                    ended = not line.recv(4096)
                except BlockingIOError:
                    ended = False
                except OSError:
                    ended = True
                if ended and not stopped.is_set():
                    line.close()
                    with contextlib.suppress(OSError):
                        lines[i] = connect()
                        stopped.wait(RETRY)
            stopped.wait(AGAIN)

    for _ in range(many):
        with contextlib.suppress(OSError):
            lines.append(connect())
    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        for line in lines:
            line.close()


def beside_disturbances(many: int = MANY, seconds: float = SECONDS) -> dict[str, dict[str, float]]:
    """What a playing client gets beside each kind of disturbance, and beside none."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, many + 500)), hard))
    with RunningServer(4, 2, learner=False, start_timeout=120) as server:
        play(server, 1.0)
        results = {"alone": play(server, seconds)}
        for name, (begin, go_on) in DISTURBANCES.items():
            with disturbed(server.address, many, begin, go_on):
                results[f"{many:,} {name}"] = play(server, seconds)
    return results


def microseconds(call: Callable[[], object], times: int = 2_000) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        call()
    return 1e6 * (time.perf_counter() - begun) / times


def cost_of_knowing_whose() -> float:
    """Microseconds, once a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as line:
            return microseconds(lambda: peers.owner_of(line.getsockname(), listener.getsockname()))
