#!/usr/bin/env python
"""Trains a policy from logs of played episodes: nobody plays, and nothing is served meanwhile.

    python -m serving.logs split serving/data_large.gz --shards=8 --out=shards
    python serving/train_from_logs.py 'shards/*.gz' --observation-size=8 --action-size=3 \\
        --checkpoint-file=pong --num-env-runners=2

The shards are read by RLlib's env runners, N processes on the cluster that Ray is attached to or on
this machine; every machine must be able to read them under the same path. It ends in a checkpoint
from which the policy server goes on when it is started with the same options, and so does this
program.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # found from anywhere, also when the package is not installed
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import os

from serving.checkpoints import CheckpointError
from serving.command_line import StartError, parser_of
from serving.learner.log_training import run
from serving.logs import LogError
from serving.settings import RUNS, add_learning_options
from serving.state_file import StateError


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("logs", nargs="+", metavar="SHARDS", help="logs, or patterns such as 'shards/*.gz'")
    add("--observation-size", type=int, required=True, metavar="N",
        help="how many numbers an observation has (Pong: 8)")  # fmt: skip
    add("--action-size", type=int, required=True, metavar="N",
        help="how many actions there are to choose from (Pong: 3)")  # fmt: skip
    add("--run", default="DQN", choices=sorted(RUNS), help="how to learn (default: %(default)s)")
    add("--checkpoint-file", required=True, metavar="NAME",
        help="where to save, and to go on from if it is there")  # fmt: skip
    add("--num-env-runners", type=int, default=2, metavar="N",
        help="processes that read shards (default: %(default)s)")  # fmt: skip
    add("--passes", type=int, default=1, metavar="N",
        help="how often to read all of it (default: %(default)s)")  # fmt: skip
    add("--may-be-cut-off", action="store_true",
        help="a log that breaks off, as a kill of its writer leaves it, just ends there")  # fmt: skip
    add("--log-dir", metavar="DIR", help="for TensorBoard's events (default: NAME.logs)")
    add("--ray-address", default=os.environ.get("RAY_ADDRESS", "auto"), metavar="ADDRESS",
        help="'auto' attaches to a running Ray or starts a small one, 'local' always starts one")  # fmt: skip
    add("--quiet", action="store_true", help="no progress bar, only the result")
    add_learning_options(parser)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        result = run(options)
    except (StartError, CheckpointError, StateError, LogError, ConnectionError) as error:
        print(f"train_from_logs: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped early")
        return 130
    died = f", though env runners died {result.deaths} times" if result.deaths else ""
    print(
        f"read {result.episodes:,} episodes, {result.steps:,} steps, in {result.reading:.1f} s "
        f"({result.steps / max(result.reading, 1e-3):,.0f} steps/s){died}; {result.updates:,} "
        f"updates, {result.seconds:.0f} s in all\n"
        f"saved to {options.checkpoint_file}; serve it with: python serving/simple_policy_server.py "
        f"--observation-size={options.observation_size} --action-size={options.action_size} "
        f"--run={options.run} --checkpoint-file={options.checkpoint_file}",
        flush=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
