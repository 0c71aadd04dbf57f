"""How returns went along: a point for each episode that has ended, thinned out as they grow many."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import msgspec

RETURNS_AVERAGED = 20
MOST_POINTS = 240


class Point(NamedTuple):
    """When a training episode had ended: `mean` is of the latest 20 returns, `version` the policy's
    that chose the episode's last action."""

    env_steps: int
    episode_return: float
    mean: float
    version: int


class KeptHistory(msgspec.Struct):
    """What the next server of a run goes on from."""

    points: list[Point]
    returns: list[float]
    best: float | None


class History:
    """Points in order, at most MOST_POINTS; the older ones lie farther apart."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.returns: deque[float] = deque(maxlen=RETURNS_AVERAGED)
        self.best: float | None = None  # return of all episodes

    @property
    def curve(self) -> list[tuple[int, float]]:
        """(env steps, mean return)."""
        return [(point.env_steps, point.mean) for point in self.points]

    def add(self, env_steps: int, episode_return: float, version: int) -> None:
        """Step counts grow, whoever is still playing meanwhile."""
        self.returns.append(episode_return)
        self.best = episode_return if self.best is None else max(self.best, episode_return)
        points, mean = self.points, sum(self.returns) / len(self.returns)
        if points and points[-1].env_steps >= env_steps:
            points.pop()
        points.append(Point(env_steps, round(episode_return, 3), round(mean, 3), version))
        if len(points) > MOST_POINTS:
            del points[1:-1:2]  # half as dense, as long as before

    def kept(self) -> KeptHistory:
        return KeptHistory(list(self.points), list(self.returns), self.best)

    def go_on_from(self, kept: KeptHistory, env_steps: int) -> None:
        """Takes the place of what there is. Points after `env_steps` are of experience that was lost."""
        self.points = [point for point in kept.points if point.env_steps <= env_steps]
        returns = kept.returns
        if len(self.points) < len(kept.points):
            returns = [point.episode_return for point in self.points]
        self.returns = deque(returns, maxlen=RETURNS_AVERAGED)
        self.best = kept.best
