"""Empties the outputs of cells from a thread, again and again."""

import threading
import time

from IPython.display import clear_output


def erase():
    while True:
        clear_output(wait=False)
        time.sleep(0.01)


threading.Thread(target=erase, daemon=True).start()
