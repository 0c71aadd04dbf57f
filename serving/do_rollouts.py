#!/usr/bin/env python
"""Plays many games of Pong against the live policy, which learns from them.

    python serving/do_rollouts.py                          until Ctrl-C
    python serving/do_rollouts.py --steps=60000            train for 60,000 steps
    python serving/do_rollouts.py --games=50 --no-train    how good is the policy now?
    python serving/do_rollouts.py --num-workers=4          play from four Ray workers

The policy plays the right paddle of serving.pong.PongEnv, a scripted opponent the left one.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # found from anywhere, also when the package is not installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import os

import numpy as np

from serving.command_line import parser_of
from serving.pong import rollouts
from serving.pong.court import COURT
from serving.protocol import POLICY_SERVER_PORT

NICENESS = 10  # whoever plays the page goes first


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = parser_of(__doc__)

    def many(text: str) -> int:
        if not text.isdecimal() or int(text) < 1:
            raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 1 on")
        return int(text)

    add = parser.add_argument
    add("--policy-server", default=f"http://localhost:{POLICY_SERVER_PORT}", metavar="ADDRESS",
        help="where the policy server listens (default: %(default)s)")  # fmt: skip
    add("--games", type=many, metavar="N", help="stop after so many games")
    add("--steps", type=many, metavar="N",
        help="stop after the game in which this many steps are reached")  # fmt: skip
    add("--no-train", action="store_true",
        help="only evaluate: greedy actions, and nothing of the games reaches the learner")  # fmt: skip
    add("--off-policy", action="store_true",
        help="take random actions and log them: the policy learns from watching")  # fmt: skip
    add("--out", metavar="FILE.gz",
        help="write the games there, one a line (see serving/logs.py)")  # fmt: skip
    add("--num-workers", type=many, metavar="N",
        help="play from N Ray workers, on the cluster that Ray is attached to or on this machine")  # fmt: skip
    add("--level", default=COURT.default_level, choices=COURT.levels,
        help="of the scripted opponent (default: %(default)s)")  # fmt: skip
    add("--seed", type=int, help="of the games' chances")
    add("--ray-address", default=os.environ.get("RAY_ADDRESS", "auto"), metavar="ADDRESS",
        help="'auto' attaches to a running Ray or starts a small one, 'local' always starts one")  # fmt: skip
    add("--quiet", action="store_true", help="no progress bar, only the result")
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = int(np.random.default_rng().integers(2**31))
    elif options.seed < 0:
        parser.error(f"--seed={options.seed}: expected a whole number from 0 on")
    return options


def main(arguments: list[str] | None = None) -> int:
    return rollouts.run(parse(arguments))


def command() -> int:
    os.nice(NICENESS)
    return main()


if __name__ == "__main__":
    sys.exit(command())
