"""What the policy server prints, without ever waiting for who reads it."""

from __future__ import annotations

import os
import queue
import threading

MOST_LINES = 1_000  # that wait for the terminal


class Console:
    """Standard output for lines that nobody may have to wait for.

    A terminal can be held, by Ctrl-S or a marked piece of text, and a pipe be full: then a print
    waits, and with it everything in the same thread. Here a thread of its own writes. What comes
    while a thousand lines wait is counted and left out. A terminal that was closed is no failure.
    """

    def __init__(self, descriptor: int = 1):
        self._descriptor = descriptor
        self._lines: queue.Queue[str] = queue.Queue(MOST_LINES)
        self._left_out = 0
        self._written = threading.Condition()
        self._open = 0  # lines that were said, and are not written yet
        threading.Thread(target=self._write, daemon=True, name="console").start()

    def say(self, text: str) -> None:
        with self._written:
            if self._lines.full():
                self._left_out += 1
                return
            if self._left_out:
                text = f"({self._left_out:,} lines were left out: the terminal was held)\n{text}"
                self._left_out = 0
            self._open += 1
            self._lines.put_nowait(text)

    def flush(self, seconds: float = 2.0) -> None:
        """Waits until all is written, but not for a terminal that is held."""
        with self._written:
            self._written.wait_for(lambda: not self._open, seconds)

    def _write(self) -> None:
        while True:
            rest = (self._lines.get() + "\n").encode(errors="replace")
            try:
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError:  # the terminal was closed
                pass
            with self._written:
                self._open -= 1
                self._written.notify_all()
