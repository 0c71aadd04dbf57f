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

from serving.command_line import add_access_options, parser_of
from serving.pong import web_server
from serving.protocol import POLICY_SERVER_PORT, WEB_SERVER_PORT


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--policy-server", default=f"http://localhost:{POLICY_SERVER_PORT}", metavar="ADDRESS",
        help="where the policy server listens (default: %(default)s); its token, if it needs one, "
        "is taken from the environment variable POLICY_SERVER_TOKEN")  # fmt: skip
    add_access_options(parser, WEB_SERVER_PORT, "browsers", "PONG_WEB_SERVER_TOKEN")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    return web_server.run(parse(arguments))


if __name__ == "__main__":
    sys.exit(main())
