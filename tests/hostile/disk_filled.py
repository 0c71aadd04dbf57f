"""Fills whatever disk it can write to."""

import os

for folder in ("/tmp", ".", "/dev/shm", "/var/tmp", "/"):
    try:
        with open(os.path.join(folder, "full"), "wb") as file:
            for _ in range(20 * 1024):
                file.write(b"x" * 2**20)
    except OSError as error:
        print(folder, error)
