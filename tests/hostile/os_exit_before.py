"""Ends the kernel before any question."""

import os

os._exit(0)
