"""What the commands of this kit have in common."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import socket
import threading
from collections.abc import Iterator

from serving.web import peers


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


def add_access_options(parser: argparse.ArgumentParser, port: int, who: str, variable: str) -> None:
    """Where a server listens, and to whom; `serving.web.access` makes sense of it."""
    add = parser.add_argument_group("who may use it").add_argument
    add("--host", default="localhost",
        help="address to listen on (default: %(default)s, for this machine's own user only); others "
        "than loopback need a token")  # fmt: skip
    add("--port", type=int, default=port,
        help="port to listen on (default: %(default)s); 0 takes a free one and prints it")  # fmt: skip
    add("--token", default=os.environ.get(variable),
        help=f"what {who} must present (default: the environment variable {variable}); beyond "
        "loopback one is made up if there is none")  # fmt: skip
    add("--allowed-host", action="append", default=[], metavar="NAME",
        help="a name by which a proxy may ask for this server, beside localhost and --host; may "
        "be given more than once")  # fmt: skip


def flags(**options) -> list[str]:
    """Keyword arguments as a command takes them: `updates_per_step=1` is `--updates-per-step=1`,
    `quiet=True` is `--quiet`, `hidden=(64, 64)` is `--hidden=64,64`; None and False leave one out."""
    given = []
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            given.append(flag)
        elif value is not None and value is not False:
            given.append(f"{flag}={_shown(value)}")
    return given


def _shown(value) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


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
        hint = ""
        if error.errno == errno.EADDRINUSE:
            owner = peers.who_listens(port)
            is_ours = owner is None or owner == os.geteuid()
            hint = f"; {who}?" if is_ours else f"; it is {peers.name_of(owner)}'s"
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
