"""The learning curve of a notebook: what is drawn, how often, and how it ends."""

from __future__ import annotations

import time

import numpy as np
import pytest
import tqdm.auto
from matplotlib.backends.backend_agg import FigureCanvasAgg

from serving.notebook import learning_curve
from serving.notebook.learning_curve import LearningCurve, running_mean


class Page:
    """What stands for the notebook's page: the pictures that were shown on it."""

    def __init__(self):
        self.new, self.updated, self.bars = [], [], []

    def display(self, image, display_id):
        self.new.append(image)
        return self

    def update(self, image):
        self.updated.append(image)


@pytest.fixture
def a_page(monkeypatch) -> Page:
    page = Page()
    monkeypatch.setattr("IPython.display.display", page.display)

    def bar(**options):
        page.bars.append(tqdm.tqdm(**options))
        return page.bars[-1]

    monkeypatch.setattr(tqdm.auto, "tqdm", bar)
    return page


def play(curve: LearningCurve, return_of, until, most_episodes: int = 50) -> None:
    with curve.live(until, most_episodes) as episodes:
        for _ in episodes:
            curve.add(return_of(len(curve.returns)))


def test_it_ends_when_the_goal_is_reached(a_page, capsys):
    """Does it stop there, with a bar that is full, and say so?"""
    curve = LearningCurve(target=5)
    play(curve, float, lambda returns: len(returns) == 8)
    assert curve.returns == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    (bar,) = a_page.bars
    assert (bar.n, bar.total) == (8, 8)  # one that ends before its total turns red
    assert capsys.readouterr().out == (
        "Reached after 8 episodes: the mean return of the latest 8 is 3.5.\n"
    )


def test_a_stopped_cell_ends_with_a_sentence_and_goes_on(a_page, capsys):
    """Is ■ no traceback, and does the curve go on from 0 to where it was and beyond?"""
    curve = LearningCurve(target=5)

    def stopped_at_4(number: int) -> float:
        if number == 4:
            raise KeyboardInterrupt
        return 1.0

    play(curve, stopped_at_4, lambda returns: False)
    said = capsys.readouterr().out
    assert said.startswith("Stopped after 4 episodes: ")
    assert said.endswith("; run the cell again to go on.\n")
    play(curve, float, lambda returns: False, most_episodes=6)
    assert curve.returns == [1.0] * 4 + [4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert capsys.readouterr().out.startswith("Not yet reached after 10 episodes")
    assert len(a_page.new) == 2  # a picture below each run of the cell
    assert list(curve._dots.get_xdata()) == list(range(1, 11))


def test_other_errors_are_errors(a_page):
    """Is what goes wrong in an episode, or in the goal, raised as ever?"""
    curve = LearningCurve()
    with pytest.raises(ZeroDivisionError):
        play(curve, lambda number: 1 / number, lambda returns: False)
    with pytest.raises(NotImplementedError):
        play(curve, float, lambda returns: (_ for _ in ()).throw(NotImplementedError))


def test_a_goal_that_is_reached_already_needs_no_episode(a_page):
    """Does running the cell once more after success play nothing?"""
    curve = LearningCurve()
    for _ in range(2):
        play(curve, float, lambda returns: len(returns) >= 5)
    assert len(curve.returns) == 5


def test_the_axis_counts_whole_episodes_from_0(a_page):
    """Does the axis begin at 0, with whole numbers, and the legend cover no dot?"""
    curve = LearningCurve(target=195)
    for number in range(7):
        curve.add(20.0 + number)
    curve.draw()
    axes = curve._axes
    assert axes.get_xlim()[0] == 0
    ticks = axes.get_xticks()
    assert (ticks == np.round(ticks)).all()
    renderer = FigureCanvasAgg(curve._figure).get_renderer()
    assert not axes.get_legend().get_window_extent(renderer).overlaps(axes.get_window_extent())


def test_drawing_takes_little_of_the_time(a_page, monkeypatch):
    """Is it drawn so seldom that drawing takes 2% of the time, however slow the machine is?"""
    now, spent = [100.0], [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    curve = LearningCurve()
    savefig = curve._figure.savefig

    def slow(*arguments, **options):
        savefig(*arguments, **options)
        now[0], spent[0] = now[0] + 0.1, spent[0] + 0.1

    monkeypatch.setattr(curve._figure, "savefig", slow)
    while now[0] < 160.0:
        now[0] += 0.25
        curve.add(1.0)
    assert 0.01 < spent[0] / 60.0 <= 0.021
    assert len(a_page.new) == 1  # each picture takes the place of the one before
    assert len({(image.width, image.height) for image in a_page.new + a_page.updated}) == 1


def test_a_picture_says_its_size(a_page):
    """Does each picture name its width and height, so that the page does not jump?"""
    LearningCurve().draw()
    assert (a_page.new[0].width, a_page.new[0].height) == tuple(
        int(learning_curve.DPI * inches) for inches in learning_curve.INCHES
    )


def test_the_running_mean():
    """Is it the mean of the latest, as computed one by one?"""
    numbers = np.random.default_rng(1).normal(size=30)
    expected = [numbers[max(0, i - 6) : i + 1].mean() for i in range(30)]
    assert np.allclose(running_mean(numbers, 7), expected)
    assert running_mean(np.array([]), 7).shape == (0,)
