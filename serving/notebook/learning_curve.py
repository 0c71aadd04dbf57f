"""A learning curve that grows while the policy learns, for notebooks."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator

import numpy as np

REDRAW_EVERY = 0.5  # seconds at least; ...
SHARE_OF_TIME = 0.019  # ... and so seldom that drawing takes no more of the time than this
INCHES, DPI = (7.0, 3.2), 100


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
        self.returns: list[float] = []
        self._xs: list[float] = []
        self._window = window
        self._display = None
        self._next_draw = 0.0
        self._prepare(target, title, x, y, dot)

    @property
    def mean(self) -> float:
        """Of the latest `window` returns; NaN before the first."""
        return float(np.mean(self.returns[-self._window :])) if self.returns else float("nan")

    def add(self, episode_return: float, x: float | None = None) -> None:
        """One dot more, at `x`: the first, the second, ... episode if that is left out."""
        self.returns.append(float(episode_return))
        self._xs.append(len(self.returns) if x is None else float(x))
        if time.monotonic() > self._next_draw:
            self.draw()

    @contextlib.contextmanager
    def live(
        self, until: Callable[[list[float]], bool], most_episodes: int = 600
    ) -> Iterator[Iterator[int]]:
        """Episodes to play until `until(curve.returns)`, with a bar, or until somebody presses ■:

            with curve.live(until=solved) as episodes:
                for episode in episodes:
                    curve.add(run_one_episode(env))

        Says at the end how far it has come. The curve stays: the same lines again go on with it.
        """
        from tqdm.auto import tqdm

        self._display = None  # below the cell that runs now
        bar = tqdm(total=most_episodes, unit="episode")

        def episodes() -> Iterator[int]:
            for episode in range(most_episodes):
                if until(self.returns):
                    return
                yield episode
                bar.update()

        stopped = False
        try:
            yield episodes()
        except KeyboardInterrupt:
            stopped = True
        finally:
            bar.total = bar.n  # a bar that ends before its total turns red, and nothing went wrong
            bar.refresh()
            bar.close()
        if self.returns:
            self.draw()
        reached = "Stopped" if stopped else "Reached" if until(self.returns) else "Not yet reached"
        again = "" if reached == "Reached" else "; run the cell again to go on"
        print(
            f"{reached} after {len(self.returns)} episodes: the mean return of the latest "
            f"{min(self._window, len(self.returns))} is {self.mean:.1f}{again}."
        )

    def draw(self) -> None:
        """Draws now; `add` does so from time to time."""
        from IPython.display import Image, display

        began = time.monotonic()
        returns, xs = np.array(self.returns), np.array(self._xs)
        self._dots.set_data(xs, returns)
        self._means.set_data(xs, running_mean(returns, self._window))
        self._axes.relim()
        self._axes.autoscale_view()
        self._axes.set_xlim(0, max([1.05 * xs.max(initial=0.0), 10.0]))
        picture = io.BytesIO()
        self._figure.savefig(picture, format="png", dpi=DPI)
        width, height = (int(DPI * inches) for inches in INCHES)
        # Its size is said, so that the page does not jump while one picture follows another.
        image = Image(picture.getvalue(), width=width, height=height)
        if self._display is None:
            self._display = display(image, display_id=True)
        else:
            self._display.update(image)
        cost = time.monotonic() - began
        self._next_draw = began + max(REDRAW_EVERY, cost / SHARE_OF_TIME)

    def _prepare(self, target: float | None, title: str, x: str, y: str, dot: str) -> None:
        """The picture, of which later only the points change: that is ten times faster than anew."""
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        self._figure = Figure(figsize=INCHES)
        self._axes = axes = self._figure.subplots()
        self._figure.subplots_adjust(left=0.1, right=0.97, bottom=0.16, top=0.8)
        (self._dots,) = axes.plot([], [], ".", color="0.7", label=dot)
        (self._means,) = axes.plot([], [], color="C0", linewidth=2, label=self._meaning())
        if target is not None:
            axes.axhline(target, color="C1", linestyle="--", label=f"target {target:g}")
        axes.set(xlabel=x, ylabel=y)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True))
        axes.set_title(title, loc="left", pad=26)
        # Above the axes, where there are no dots.
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, borderaxespad=0.2
        )

    def _meaning(self) -> str:
        return f"mean of the latest {self._window}" if self._window > 1 else "in order"


def running_mean(numbers: np.ndarray, window: int) -> np.ndarray:
    """At each place the mean of the latest `window` numbers, of fewer at the beginning.

    numbers: (n,) -> (n,)"""
    sums = np.cumsum(np.concatenate([[0.0], numbers]))  # (n + 1,)
    ends = np.arange(1, len(numbers) + 1)
    begins = np.maximum(0, ends - window)
    return (sums[ends] - sums[begins]) / (ends - begins)
