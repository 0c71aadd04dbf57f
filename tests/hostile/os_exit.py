"""Ends the kernel in the middle of a question."""

import os


def importance_weight(pi, mu):
    os._exit(0)
