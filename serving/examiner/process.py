"""The examiner's process: it asks, it decides, and it keeps the ledger.

    python -m serving.examiner --lesson=01-serve-and-learn --socket=PATH --seed=7

It is told on standard input, a JSON object a line, which graded cell begins and which one is over:

    {"begin": "test_calls"}    {"over": "test_calls"}

and answers each `over` with what it knows of that cell, on standard output:

    {"question": "test_calls", "sentence": null, "seconds": 1.2}

Between these it says {"event": "listens"}, once, and "ready" and "decided" of each cell.

A cell that begins lets the notebook say that it is ready, on the socket, and then it is the examiner
that asks, about this cell and about nothing else. It ends with its standard input.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import select
import socket
import sys
from pathlib import Path
from typing import TextIO

import msgspec

from serving import evaluation
from serving.examiner.examination import NOT_ASKED, Examination, Verdict
from serving.examiner.lessons import examination_of
from serving.examiner.line import Gone
from serving.examiner.stand_ins import Notebook
from serving.examiner.tape import Recorder

PATIENCE = 3.0  # how many times longer than a check cell's the examiner's time limits are


class Examiner:
    """Waits for graded cells to begin, and has a verdict on each of them when it is over."""

    def __init__(self, lesson: str, path: str, seed: int, answers: TextIO):
        self.notebook, self.tape = Notebook(), Recorder(seed)
        self.examination: Examination = examination_of(lesson)(self.notebook, seed)
        self.ledger: dict[str, Verdict] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(4)
        self._commands, self._answers = b"", answers

    def run(self, commands: int) -> None:
        """Serves until there are no more commands."""
        self._tell({"event": "listens"})
        current = None
        while True:
            line = self.notebook.line
            sources = [commands, self._listener, *([line] if line else [])]
            ready, _, _ = select.select(sources, [], [])
            if commands in ready:
                for command in self._read(commands):
                    if command is None:
                        return
                    if "begin" in command:
                        current = command["begin"]
                    elif "over" in command:
                        self._tell(dataclasses.asdict(self.verdict_on(command["over"])))
                        current = None
                continue  # what the notebook says is heard in the order of the cells
            if self._listener in ready:
                connection, _ = self._listener.accept()
                self._hang_up()
                self.notebook.connected(connection)
                self.tape.connected()
            elif line in ready:
                self._hear(current)

    def verdict_on(self, question: str) -> Verdict:
        return self.ledger.get(question) or Verdict(question, NOT_ASKED, 0.0)

    def close(self) -> None:
        self._hang_up()
        self.examination.close()
        self._listener.close()

    def _hear(self, current: str | None) -> None:
        """The notebook says that it is ready: the question of the cell that has begun is asked,
        once."""
        line = self.notebook.line
        try:
            kind, number, what, *_ = line.receive()
            if kind != "ask" or number != 0 or what != "ready":
                raise Gone("it speaks without being asked")
            if current is not None and current not in self.ledger:
                # What is decided first holds: nobody is asked twice.
                self._tell({"event": "ready"})
                self.ledger[current] = self.tape.asked(self.examination, current)
                self._tell({"event": "decided"})
            verdict = self.ledger.get(current)
            line.send("answer", 0, verdict.sentence if verdict else NOT_ASKED)
        except Gone:
            self._hang_up()

    def _tell(self, what: dict) -> None:
        print(json.dumps(what), file=self._answers, flush=True)

    def _hang_up(self) -> None:
        if self.notebook.line is not None:
            self.notebook.line.close()
            self.notebook.line = None

    def _read(self, commands: int) -> list[dict | None]:
        more = os.read(commands, 65536)
        if not more:
            return [None]
        *lines, self._commands = (self._commands + more).split(b"\n")
        return [json.loads(line) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lesson", required=True)
    parser.add_argument(
        "--socket", required=True, help="where graded cells say that they are ready"
    )
    parser.add_argument("--tape", type=Path, help="where the tape of it all is kept")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn for this submission")
    options = parser.parse_args()
    evaluation.patience = PATIENCE
    answers, sys.stdout = sys.stdout, sys.stderr  # what anything prints is no verdict
    examiner = Examiner(options.lesson, options.socket, options.seed, answers)
    try:
        with examiner.tape.running():
            examiner.run(sys.stdin.fileno())
        if options.tape and examiner.tape.is_whole:
            options.tape.write_bytes(msgspec.msgpack.encode(examiner.tape.events))
    finally:
        examiner.close()
