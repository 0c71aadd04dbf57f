"""Serve a policy that learns from the very episodes it serves."""

from pathlib import Path

from serving.client import PolicyClient
from serving.first_connection import connect

ROOT = Path(__file__).resolve().parents[1]

__all__ = ["ROOT", "PolicyClient", "connect"]
