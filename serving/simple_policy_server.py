#!/usr/bin/env python
"""Starts a policy server: it answers get_action() over HTTP and learns from what it serves.

    python serving/simple_policy_server.py --action-size=2 --observation-size=4 \\
        --run=DQN --checkpoint-file=cartpole

How to learn, --run:

    DQN   learns from everybody's steps, also from logged ones, again and again. It needs the
          fewest episodes; start with it, and take it if there are logs.
    PPO   learns only from what its own newest policy did, a batch at a time, and keeps each new
          policy near the one that acted. It needs more episodes, and little work for each.
    PG    the plain policy gradient that PPO improves on: one step for each batch, and nothing that
          keeps it small. The one to read, and to compare with.

Players connect with `serving.PolicyClient("http://localhost:8900")`, or with any program that
speaks HTTP (see README.md for a session with curl). Ctrl-C saves and stops; the same command goes
on from there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":  # found from anywhere, also when the package is not installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    # Matrices here are small. NumPy's second thread would compute nothing, but wait busily at the
    # start: a third of what a start costs.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse

from serving.command_line import add_access_options, parser_of
from serving.protocol import POLICY_SERVER_PORT
from serving.server import process
from serving.settings import RUNS, add_learning_options


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--observation-size", type=int, required=True, metavar="N",
        help="how many numbers an observation has (CartPole: 4)")  # fmt: skip
    add("--action-size", type=int, required=True, metavar="N",
        help="how many actions there are to choose from (CartPole: 2)")  # fmt: skip
    add("--run", default="DQN", choices=sorted(RUNS), help="how to learn (default: %(default)s)")
    add("--checkpoint-file", metavar="NAME",
        help="where to save, and to go on from if it is there; without it nothing is kept")  # fmt: skip
    add("--log-dir", metavar="DIR",
        help="for TensorBoard's events and learner.log (default: NAME.logs)")  # fmt: skip
    add("--write-logs", metavar="DIR",
        help="write the training episodes that end here to DIR/episodes-*.gz, in the format of "
        "serving/logs.py: something to learn from again (default: not written)")  # fmt: skip
    add("--abandon-after", type=float, default=300, metavar="SECONDS",
        help="close episodes nobody has touched for so long (default: %(default)s)")  # fmt: skip
    add("--quiet", action="store_true", help="print where it listens, and no line per iteration")
    add("--no-learner", action="store_true",
        help="act and record, and never learn: to serve a policy as it is, or to check a client")  # fmt: skip
    add("--serve-version", metavar="N|NAME|newest",
        help="go back to a policy that was kept along the way: it acts from now on, also after a "
        "restart, until this says `newest`")  # fmt: skip
    add("--stop-with-stdin", action="store_true",
        help="stop when standard input closes: for programs that start a server of their own")  # fmt: skip

    add_access_options(parser, POLICY_SERVER_PORT, "clients", "POLICY_SERVER_TOKEN")
    add_learning_options(parser)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    return process.run(parse(arguments))


if __name__ == "__main__":
    sys.exit(main())
