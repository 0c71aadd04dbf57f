"""A learning curve that grows while the policy learns, for notebooks."""

from __future__ import annotations

import io
import time

import numpy as np

REDRAW_EVERY = 0.5  # seconds


class LearningCurve:
    """Shows returns as they come: `curve.add(episode_return)` after each episode.

    target
        draws a line to aim at
    window
        how many dots the bold mean takes in
    x, y, dot
        what is along the axes, and what a dot stands for: `curve.add(share, steps)` adds anything
    """

    def __init__(
        self,
        target: float | None = None,
        window: int = 20,
        title: str = "Learning curve",
        x: str = "episode",
        y: str = "return",
        dot: str = "one episode",
    ):
        from matplotlib.figure import Figure

        self.returns: list[float] = []
        self._xs: list[float] = []
        self._words = x, y, dot
        self._target, self._window = target, window
        self._figure = Figure(figsize=(7, 3), layout="constrained")
        self._axes = self._figure.subplots()
        self._title = title
        self._display = None
        self._drawn = 0.0

    @property
    def mean(self) -> float:
        """Of the latest `window` returns; NaN before the first."""
        return float(np.mean(self.returns[-self._window :])) if self.returns else float("nan")

    def add(self, episode_return: float, x: float | None = None) -> None:
        self._xs.append(len(self.returns) if x is None else float(x))
        self.returns.append(float(episode_return))
        if time.monotonic() - self._drawn > REDRAW_EVERY:
            self.draw()

    def draw(self) -> None:
        """Draws now; `add` does so twice a second at most."""
        from IPython.display import Image, display

        axes, returns = self._axes, np.array(self.returns)
        x, y, dot = self._words
        axes.clear()
        axes.plot(self._xs, returns, ".", color="0.7", label=dot)
        means = [returns[max(0, i - self._window + 1) : i + 1].mean() for i in range(len(returns))]
        axes.plot(
            self._xs, means, color="C0", linewidth=2, label=f"mean of the latest {self._window}"
        )
        if self._target is not None:
            axes.axhline(self._target, color="C1", linestyle="--", label=f"target {self._target:g}")
        axes.set(xlabel=x, ylabel=y, title=self._title)
        axes.legend(loc="upper left")
        picture = io.BytesIO()
        self._figure.savefig(picture, format="png")
        image = Image(picture.getvalue())
        if self._display is None:
            self._display = display(image, display_id=True)
        else:
            self._display.update(image)
        self._drawn = time.monotonic()
