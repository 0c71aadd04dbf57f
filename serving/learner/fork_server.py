"""Imports RLlib once, and forks a learner for each policy server that asks for one.

Not for people to start: `serving.learner_start.learners_are_forked` does. It ends with its standard
input; its children end with their policy servers, as all learners do.
"""

from __future__ import annotations

from serving.forking import Request, serve_forks
from serving.learner import process


def become_a_learner(request: Request, descriptors: list[int]) -> int:
    draw_anew()
    process.run(descriptors[0])
    return 1  # it ends by itself, and says how


def draw_anew() -> None:
    """Other random numbers than all that are forked from the same process; Python's own generator sees
    to that by itself."""
    import numpy as np
    import torch

    np.random.seed()
    torch.seed()


if __name__ == "__main__":
    process.import_rllib()
    serve_forks(become_a_learner)
