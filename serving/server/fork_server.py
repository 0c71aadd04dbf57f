"""Imports once what a policy server needs, and forks one for each `RunningServer` that asks.

Not for people to start: `serving.running_server.servers_are_forked` does. It ends with its standard
input; its children end as their owners have it.
"""

from __future__ import annotations

import importlib
import signal
import sys

from serving.forking import Request, serve_forks

COMMAND = "serving.simple_policy_server"  # which is above this room, and is looked up for that


def become_a_policy_server(request: Request, descriptors: list[int]) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = request.arguments
    return importlib.import_module(COMMAND).main(request.arguments[1:])


if __name__ == "__main__":
    importlib.import_module(COMMAND)
    serve_forks(become_a_policy_server)
