"""A running Pong web server, for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from serving import pong_web_server

SCRIPT = Path(pong_web_server.__file__)


class WebServer:
    """A real web server process on a free port; `lines` is what it has printed."""

    def __init__(self, policy_server: str, *options: str, port: int = 0, environment=None):
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [
                sys.executable,
                str(SCRIPT),
                f"--port={port}",
                f"--policy-server={policy_server}",
                *options,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        threading.Thread(target=self._read, daemon=True).start()
        self.says("play Pong at")
        self.address = self.lines[0].split()[-1]

    def says(self, words: str, seconds: float = 60.0) -> str:
        """The first line with these words, once it has been printed."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in self.lines:
                if words in line:
                    return line
            time.sleep(0.05)
        raise TimeoutError(f"the web server has not said {words!r}; it said {self.lines}")

    def stop(self, number: int = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
