"""Pong, twice the same: here in Python, and in javascript-pong/static/physics.js for the page."""

from serving.pong.env import PongEnv

__all__ = ["PongEnv"]
