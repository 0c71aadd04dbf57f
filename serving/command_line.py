"""What the commands of this kit have in common."""

from __future__ import annotations

import argparse
import contextlib
import errno
import re
import signal
import socket
import threading
from collections.abc import Iterator

from serving.settings import RUNS, settings_for


class StartError(Exception):
    """The command cannot start; one sentence says why."""


def parser_of(manual: str) -> argparse.ArgumentParser:
    """A parser whose --help is a module's docstring: the first paragraph above the options, the
    rest as it stands below them."""
    description, _, example = manual.partition("\n\n")
    return argparse.ArgumentParser(
        description=description,
        epilog=example,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def listen(host: str, port: int, who: str) -> socket.socket:
    """A bound socket; raises StartError if the host is not ours or the port is taken, which asks
    whether it is taken by `who`."""
    if not 0 <= port <= 65535:  # getaddrinfo() would take the remainder
        raise StartError(f"--port={port}: expected a number from 0 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
        return listener
    except OSError as error:
        hint = f"; {who}?" if error.errno == errno.EADDRINUSE else ""
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror}{hint}") from None


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until what is in the block is done: it may come between any two operations, and
    half a write or half an update is what no file and no learner recovers from."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield  # it comes to the main thread only, and not if it is ignored
        return
    came = []
    signal.signal(signal.SIGINT, lambda *what: came.append(what))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if came:
        handler(*came[0])


def add_learning_options(parser: argparse.ArgumentParser) -> None:
    """What --run offers to be set."""
    add = parser.add_argument_group("learning (the defaults suit small tasks)").add_argument
    add("--hidden", metavar="N,N",
        help="units of each hidden layer (default: 128,128 for DQN, 64,64 for PG and PPO)")  # fmt: skip
    add("--learning-rate", type=float, metavar="R", help="of Adam")
    add("--gamma", type=float, metavar="G", help="how much a reward is worth one step later")
    add("--batch-size", type=int, metavar="STEPS",
        help="env steps learned from at once; PG and PPO collect so many, and acting waits while "
        "they learn (default: 64 for DQN, 1000 for PG and PPO)")  # fmt: skip
    add("--seed", type=int, help="of the first weights, exploration and replay draws")

    add = parser.add_argument_group("learning with --run=DQN").add_argument
    add("--updates-per-step", type=float, metavar="R",
        help="updates for each env step; acting waits for them, so that it never runs far ahead "
        "of learning: more learns from fewer episodes, less plays faster (default: 0.5)")  # fmt: skip
    add("--slack", type=int, metavar="STEPS",
        help="env steps acting may be ahead before it waits (default: 128)")  # fmt: skip
    add("--n-step", type=int, metavar="N", help="steps of true rewards before bootstrapping")
    add("--exploration-steps", type=int, metavar="STEPS",
        help="env steps over which random actions fade out (default: 2000)")  # fmt: skip
    add("--recent-steps", type=int, metavar="STEPS",
        help="learn from the policy's own steps together with so many before; after twice as many "
        "steps from more and more (default: 5000)")  # fmt: skip
    add("--replay-capacity", type=int, metavar="STEPS", help="steps remembered (default: 100000)")

    add = parser.add_argument_group("learning with --run=PG and --run=PPO").add_argument
    add("--value-learning-rate", type=float, metavar="R", help="of the value function's Adam")
    add("--gae-lambda", type=float, metavar="L",
        help="1 believes in true returns, 0 in the value function's estimates")  # fmt: skip
    add("--epochs", type=int, metavar="N",
        help="passes over each batch (PG: of the value function only)")  # fmt: skip
    add("--entropy-bonus", type=float, metavar="B",
        help="what it is worth to keep acting at random")  # fmt: skip
    add("--clip", type=float, metavar="C",
        help="PPO: how far an action's probability may move from one batch to the next, as a share "
        "(default: 0.2)")  # fmt: skip


def settings_from(options: argparse.Namespace):
    """The settings of --run, as far as the command line overrides them."""
    names = RUNS[options.run].__struct_fields__
    for run, settings in RUNS.items():
        for name in set(settings.__struct_fields__) - set(names):
            if getattr(options, name, None) is not None:
                flag = "--" + name.replace("_", "-")
                raise StartError(
                    f"{flag} is a setting of --run={run}: --run={options.run} has none"
                )
    chosen = {name: getattr(options, name, None) for name in names}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    try:
        if "hidden" in chosen:
            if not re.fullmatch(r"\s*\d{1,5}(\s*,\s*\d{1,5})*\s*", chosen["hidden"], re.ASCII):
                raise ValueError(f"hidden is {chosen['hidden']!r}: expected units such as 128,128")
            chosen["hidden"] = [int(units) for units in chosen["hidden"].split(",")]
        return settings_for(options.run, **chosen)
    except ValueError as error:
        raise StartError(str(error)) from None
