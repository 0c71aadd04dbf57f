"""A progress bar for notebooks, with the time left."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from serving.client import PolicyClient


@contextlib.contextmanager
def progress(
    total: int, unit: str, what: str | None = None, stopped: str = "run the cell again to go on"
) -> Iterator:
    """A bar that the block moves with `bar.update(n)`:

        with progress(15_000, "steps", "training") as bar:
            while made < 15_000:
                ...

    A block may leave early, as when a goal is reached: then the bar ends where it is. ■ in the
    toolbar ends the block with a sentence, of which `stopped` is the second half.
    """
    from tqdm.auto import tqdm

    bar = tqdm(total=total, unit=f" {unit}", desc=what, smoothing=0.1)
    try:
        yield bar
    except KeyboardInterrupt:
        print(f"Stopped at {bar.n:,} of {total:,} {unit}; {stopped}.")
    finally:
        bar.total = bar.n  # one that ends before its total turns red, and nothing went wrong
        bar.refresh()
        bar.close()


def catch_up(client: PolicyClient, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Waits until the server has learned from everything, with a bar; calls `meanwhile` now and
    then."""
    waiting = client.status().steps_waiting
    with progress(waiting, "steps", "learning", "the server goes on learning") as bar:
        while (status := client.status()).state != "idle":
            bar.update(max(0, waiting - status.steps_waiting - bar.n))
            meanwhile()
            time.sleep(0.2)
        bar.update(max(0, waiting - bar.n))
