"""Leaves a process behind that would outlive the grading."""

import os
import time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        import sys

        os.execv(sys.executable, [sys.executable, "-c",
                                  "import time; left_behind = 1; time.sleep(600)"])
    os._exit(0)
