#!/usr/bin/env python
"""Serves the Pong page, and relays what the page says to the policy server and back.

    python serving/simple_policy_server.py --observation-size=8 --action-size=3 \\
        --run=DQN --checkpoint-file=pong
    python serving/pong_web_server.py

Then open the address it prints; behind Jupyter the page is at proxy/3000/. The policy server may
come, go and come again meanwhile: page and terminal say so, and go on when it is back.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # found from anywhere, also when the package is not installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse

from serving.command_line import parser_of
from serving.pong import web_server
from serving.protocol import POLICY_SERVER_PORT, WEB_SERVER_PORT


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--policy-server", default=f"http://localhost:{POLICY_SERVER_PORT}", metavar="ADDRESS",
        help="where the policy server listens (default: %(default)s); its token, if it needs one, "
        "is taken from the environment variable POLICY_SERVER_TOKEN")  # fmt: skip
    add("--host", default="localhost",
        help="address to listen on (default: %(default)s); others than loopback need a token")  # fmt: skip
    add("--port", type=int, default=WEB_SERVER_PORT,
        help="port to listen on (default: %(default)s); 0 takes a free one and prints it")  # fmt: skip
    add(
        "--token",
        help="what browsers must present; beyond loopback one is made up if there is none",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    return web_server.run(parse(arguments))


if __name__ == "__main__":
    sys.exit(main())
