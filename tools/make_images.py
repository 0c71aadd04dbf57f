#!/usr/bin/env python
"""Draws the pictures of the lessons into images/.

    python tools/make_images.py [--check] [NAME ...]

`--check` draws into a temporary folder and fails if a picture in images/ differs from what this
program draws. Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), which people
with any kind of colour vision tell apart; every picture is legible at 800 pixels of width.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle
from PIL import Image

IMAGES = Path(__file__).resolve().parents[1] / "images"
WIDTH, DPI = 8.0, 200  # inches, dots per inch: shown at half its 1,600 pixels
TOLERANCE = 0.5  # mean difference of a pixel, of 255: another FreeType renders letters otherwise

BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
VERMILION, PURPLE = "#D55E00", "#CC79A7"
# Too light for words on paper; the same hues, darker.
AS_WORDS = {ORANGE: "#8F5F00", GREEN: "#00704F", PURPLE: "#8E3F6B", VERMILION: "#A84400"}
INK, GREY, PAPER = "#1F2933", "#5F6C7B", "#FFFFFF"


def pale(colour: str, share: float):
    """The colour mixed with paper."""
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    return tuple(1 - share * (1 - rgb))


class Picture:
    """A sheet 100 units wide, `height` units high, drawn on from the lower left corner."""

    def __init__(self, height: float):
        self.figure = plt.figure(figsize=(WIDTH, WIDTH * height / 100), dpi=DPI, facecolor=PAPER)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, 100), ylim=(0, height))
        self.axes.axis("off")

    def text(self, x, y, words, size=8.5, colour=INK, **options):
        options = {"ha": "center", "va": "center", "linespacing": 1.35, **options}
        colour = AS_WORDS.get(colour, colour)
        self.axes.text(x, y, words, fontsize=size, color=colour, **options)

    def panel(self, x, y, width, height, colour, title=""):
        """A pale area that says what belongs together."""
        self._rounded(x, y, width, height, pale(colour, 0.09), pale(colour, 0.5), 1.0, 1.4)
        if title:
            self.text(x + 1.8, y + height - 2.6, title, 9.5, colour, ha="left", weight="bold")

    def box(self, x, y, width, height, words="", colour=INK, size=8.5, **options):
        self._rounded(x, y, width, height, PAPER, colour, 1.3, 0.9)
        if words:
            self.text(x + width / 2, y + height / 2, words, size, **options)

    def arrow(self, start, end, colour=INK, bend=0.0, width=1.5, style="-"):
        self.axes.add_patch(
            FancyArrowPatch(
                start, end, connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>",
                mutation_scale=11, linewidth=width, linestyle=style, color=colour,
                shrinkA=0, shrinkB=0,
            )
        )  # fmt: skip

    def line(self, *points, colour=GREY, width=1.2):
        self.axes.plot(*zip(*points), color=colour, linewidth=width)

    def circle(self, x, y, radius, colour):
        face = pale(colour, 0.3)
        self.axes.add_patch(Circle((x, y), radius, facecolor=face, edgecolor=colour, linewidth=1.2))

    def rectangle(self, x, y, width, height, face, edge=None):
        self.axes.add_patch(
            Rectangle((x, y), width, height, facecolor=face, edgecolor=edge, lw=0.8)
        )

    def save(self, path: Path) -> None:
        self.figure.canvas.draw()
        drawn = Image.fromarray(np.asarray(self.figure.canvas.buffer_rgba())).convert("RGB")
        plt.close(self.figure)
        drawn.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)

    def _rounded(self, x, y, width, height, face, edge, linewidth, radius):
        self.axes.add_patch(
            FancyBboxPatch(
                (x, y), width, height, boxstyle=f"round,pad=0,rounding_size={radius}",
                facecolor=face, edgecolor=edge, linewidth=linewidth,
            )
        )  # fmt: skip


def dqn() -> Picture:
    """How a deep Q-network acts, and how it learns."""
    p = Picture(60)
    p.panel(1.5, 33.5, 97, 25, BLUE, "Acting")
    p.panel(1.5, 1.5, 97, 26.5, ORANGE, "Learning")

    # Acting, from left to right: observation, network, action values, action.
    for i, number in enumerate(("-0.02", " 0.41", " 0.03", "-0.57")):
        p.rectangle(5, 48.4 - 3.4 * i, 9, 3.4, PAPER, BLUE)
        p.text(9.5, 50.1 - 3.4 * i, number, 8.5, family="DejaVu Sans Mono")
    p.text(9.5, 35.6, "observation", 8.8, weight="bold")
    p.arrow((15, 45), (20.4, 45), BLUE)

    columns = [
        (23, np.linspace(40.2, 49.8, 4)),
        (32, np.linspace(38.5, 51.5, 6)),
        (41, np.linspace(38.5, 51.5, 6)),
        (50, np.array([42.4, 47.6])),
    ]
    for (x, ys), (next_x, next_ys) in zip(columns, columns[1:]):
        for y in ys:
            for next_y in next_ys:
                p.line((x, y), (next_x, next_y), colour=pale(BLUE, 0.35), width=0.5)
    for x, ys in columns:
        for y in ys:
            p.circle(x, y, 1.05, BLUE)
    p.text(36.5, 35.6, "network", 8.8, weight="bold")
    p.arrow((52, 45), (56.4, 45), BLUE)

    for y, name, value, width, colour in (
        (47.6, "left", "18.3", 7.4, GREY),
        (42.4, "right", "21.9", 9.0, BLUE),
    ):
        p.text(61.2, y, name, 8.5, ha="right")
        p.rectangle(62, y - 1.5, width, 3, pale(colour, 0.7))
        p.text(71.8, y, value, 8.5, ha="left", family="DejaVu Sans Mono")
    p.text(66, 35.6, "action values", 8.8, weight="bold")
    p.arrow((77, 45), (81.4, 45), BLUE)
    p.box(82, 41, 14.4, 8, "right", BLUE, 10.5, weight="bold")
    p.text(89.2, 53.6, "the largest value wins;\nnow and then a random\naction explores", 7.6, GREY)
    p.text(89.2, 35.6, "action", 8.8, weight="bold")

    # Learning, from right to left: replay, minibatch, prediction and target, loss.
    rng = np.random.default_rng(4)
    drawn = {(1, 2), (3, 0), (4, 4), (0, 3), (2, 1)}
    for column in range(6):
        for row in range(6):
            colour = ORANGE if (column, row) in drawn else GREY
            share = 0.75 if (column, row) in drawn else rng.uniform(0.1, 0.3)
            p.rectangle(83 + 2.1 * column, 8.4 + 2.1 * row, 1.75, 1.75, pale(colour, share))
    p.text(89.2, 4.6, "replay: steps\nof the past", 8, weight="bold")
    p.arrow((82, 14.5), (76.8, 14.5), ORANGE)
    for row in range(5):
        p.rectangle(68, 9.1 + 2.3 * row, 8, 1.8, pale(ORANGE, 0.75))
    p.text(72, 4.6, "minibatch:\na few of them", 8, weight="bold")

    p.arrow((67.2, 16.4), (62.4, 19.4), ORANGE)
    p.arrow((67.2, 12.6), (62.4, 10.2), ORANGE)
    p.box(32.4, 16.8, 29.4, 5.4, "prediction   $Q(s, a)$", ORANGE, 9)
    p.box(32.4, 6.8, 29.4, 6.8, "target   $r + \\gamma\\,\\max_{a'}\\, Q'(s', a')$", ORANGE, 9)
    p.text(47.1, 4.4, "$Q'$: a copy of the network that follows slowly", 7.6, GREY)
    p.arrow((31.8, 19.4), (26.2, 16.6), ORANGE)
    p.arrow((31.8, 10.2), (26.2, 12.8), ORANGE)
    p.box(5, 10.6, 20.6, 8.2, "loss: how far\nthey are apart", VERMILION, 9)
    p.text(15.3, 7.4, "a step downhill makes\nthe prediction better", 7.6, GREY)

    # Between the two: what was lived through goes down, better weights go up.
    p.arrow((89.2, 33.5), (89.2, 22), GREEN, width=2)
    p.text(87.6, 30.7, "each step  $(s, a, r, s')$", 8.4, GREEN, ha="right")
    p.line((20, 18.9), (20, 30.7), (36.5, 30.7), colour=VERMILION, width=2)
    p.arrow((36.5, 30.7), (36.5, 34.2), VERMILION, width=2)
    p.text(38.4, 30.7, "better weights", 8.4, VERMILION, ha="left")
    return p


def client_server() -> Picture:
    """Players, the policy server process, the learner process, and what travels between them."""
    p = Picture(53)
    p.panel(1.5, 6, 21.5, 45.5, GREEN, "Players")
    for i, (name, what) in enumerate(
        (
            ("notebook", "your run_one_episode"),
            ("browser", "a game of Pong"),
            ("do_rollouts", "many games at once"),
            ("curl", "any language"),
        )
    ):
        y = 37.2 - 9.8 * i
        p.box(3.5, y, 17.5, 8.2, colour=GREEN)
        p.text(12.25, y + 5.4, name, 9, weight="bold")
        p.text(12.25, y + 2.4, what, 7.6, GREY)

    p.panel(39, 6, 22, 45.5, BLUE, "Policy server")
    for y, name, what in (
        (35.2, "protocol", "HTTP and JSON, port 8900"),
        (21.6, "episodes", "what was seen, done, paid"),
        (8, "policy", "a few numpy matrices"),
    ):
        p.box(40.8, y, 18.4, 10.2, colour=BLUE)
        p.text(50, y + 6.7, name, 9.2, weight="bold")
        p.text(50, y + 3.1, what, 7.3, GREY)

    p.panel(77, 6, 21.5, 45.5, ORANGE, "Learner")
    for y, name, what in (
        (35.2, "replay", "100,000 steps of the past"),
        (21.6, "RLlib's DQN", "loss, gradients, weights"),
        (8, "checkpoint", "and TensorBoard events"),
    ):
        p.box(78.7, y, 18.1, 10.2, colour=ORANGE)
        p.text(87.75, y + 6.7, name, 9.2, weight="bold")
        p.text(87.75, y + 3.1, what, 7.3, GREY)
    for centre in (50, 87.75):
        for y in (35.2, 21.6):
            colour = BLUE if centre == 50 else ORANGE
            p.line((centre, y - 0.2), (centre, y - 3.2), colour=pale(colour, 0.6), width=1.6)

    p.arrow((23.4, 40.3), (38.6, 40.3), GREEN, width=2)
    p.text(31, 43.9, "observation,\nreward", 8.6, GREEN)
    p.text(31, 27, "one request\na step", 7.8, GREY)
    p.arrow((38.6, 13.1), (23.4, 13.1), BLUE, width=2)
    p.text(31, 15.4, "action", 8.6, BLUE)

    p.arrow((61.4, 26.7), (76.6, 40.3), BLUE, width=2)
    p.text(66.8, 41, "experience,\nnone of it\nlost", 8.4, BLUE)
    p.arrow((76.6, 26.7), (61.4, 13.1), ORANGE, width=2)
    p.text(70.6, 12.4, "newer policy,\nmany times\na second", 8.4, ORANGE)

    p.text(12.25, 3, "play", 9.2, GREEN, weight="bold")
    p.text(50, 3, "a process that answers at once", 9.2, BLUE, weight="bold")
    p.text(87.5, 3, "a process that learns", 9.2, ORANGE, weight="bold")
    return p


def episode() -> Picture:
    """One episode: which calls in which order, whose reward is whose, and the two endings."""
    p = Picture(66)
    lanes = (("environment", 52, GREEN), ("your loop", 36, INK), ("policy server", 20, BLUE))
    for name, y, colour in lanes:
        p.rectangle(1.5, y, 97, 12, pale(colour, 0.08))
        p.rectangle(1.5, y, 0.9, 12, pale(colour, 0.7))
        words = name.replace(" ", "\n")
        p.text(4.9, y + 6, words, 7.8, colour, weight="bold", rotation=90)

    def boxes(y, colour, columns, **options):
        for x, width, words in columns:
            p.box(x - width / 2, y, width, 7, words, colour, **options)

    boxes(54.5, GREEN, [
        (14.5, 12, "reset()"), (44, 14.4, "step(a₀)"), (73, 14.4, "step(a₁)"),
    ], size=8.2, family="DejaVu Sans Mono")  # fmt: skip
    boxes(38.5, INK, [
        (14.5, 13.4, "start_episode()"), (29.4, 12.6, "get_action(\no₀)"),
        (44, 12.6, "log_returns(\nr₀)"), (58.4, 12.6, "get_action(\no₁)"),
        (73, 12.6, "log_returns(\nr₁)"), (90, 14.4, "end_episode(\no₂, truncated)"),
    ], size=7.6, family="DejaVu Sans Mono")  # fmt: skip
    boxes(22.5, BLUE, [
        (14.5, 11.4, "a new id"), (29.4, 11.4, "policy acts"), (44, 11.4, "$r_0$ is for $a_0$"),
        (58.4, 11.4, "policy acts"), (73, 11.4, "$r_1$ is for $a_1$"), (90, 13.4, "all is known"),
    ], size=8)  # fmt: skip

    # Down to the server and back; rewards travel with the next request.
    for x in (14.5, 29.4, 58.4):
        p.arrow((x - 1.6, 38.2), (x - 1.6, 29.9), INK)
        p.arrow((x + 1.6, 29.9), (x + 1.6, 38.2), BLUE)
    p.arrow((90, 38.2), (90, 29.9), INK)
    for x in (44, 73):
        p.arrow((x, 38.2), (x, 29.9), INK, style=(0, (2.5, 1.5)))
    for x, words in ((29.4, "$a_0$"), (58.4, "$a_1$")):
        p.text(x + 3.8, 34, words, 9.5, BLUE)
        p.arrow((x + 2.4, 45.9), (x + 7.2, 57.2), BLUE, bend=-0.25)
        p.text(x + 5.6, 50, words, 9.5, BLUE)
    # What the environment says: a reward for the action before, an observation for the next one.
    p.arrow((20.8, 57), (27.6, 45.9), GREEN, bend=-0.25)
    p.text(23.3, 50, "$o_0$", 9.5, GREEN)
    for x, reward, observation in ((44, "$r_0$", "$o_1$"), (73, "$r_1$", "$o_2$")):
        p.arrow((x, 54.2), (x, 45.9), GREEN)
        p.text(x + 1.9, 50, reward, 9.5, GREEN)
        end = (56.6, 45.9) if x == 44 else (88, 45.9)
        p.arrow((x + 7.5, 57.4), end, GREEN, bend=-0.25)
        p.text(52.6 if x == 44 else 82.6, 50, observation, 9.5, GREEN)
    p.arrow((38, 26), (35.4, 26), BLUE)
    p.arrow((67, 26), (64.4, 26), BLUE)
    p.text(90, 58, "the episode\nis over", 8, GREEN)

    # The two endings.
    p.text(3.5, 16.2, "How did it end?", 8.8, weight="bold", ha="left")
    p.text(96.5, 16.4, "dashed: travels with the next request", 7.6, GREY, ha="right")
    for x, colour, head, words, value in (
        (3.5, VERMILION, "terminated", "the pole fell: nothing comes after", "$r_1$"),
        (51.5, PURPLE, "truncated", "a time limit: it would have gone on",
         "$r_1 + \\gamma\\,\\max_a\\, Q(o_2, a)$"),
    ):  # fmt: skip
        p.box(x, 2, 45, 11.6, colour=colour)
        p.text(x + 2, 10.2, head, 9.4, colour, ha="left", weight="bold")
        p.text(x + 16.5, 10.2, words, 7.8, ha="left")
        p.text(x + 2, 5.2, "the last step is worth", 7.8, GREY, ha="left")
        p.text(x + 22, 5.2, value, 9.4, ha="left")
    return p


def pong_observation() -> Picture:
    """The court of Pong, and which of its lengths the eight numbers of an observation are."""
    p = Picture(56)

    def at(x, y):  # from pixels of the court
        return 6 + x / 10, 49 - y / 10

    def mark(number, x, y, colour):
        face = dict(facecolor=PAPER, edgecolor=colour, linewidth=1.3, zorder=3)
        p.axes.add_patch(Circle((x, y), 1.55, **face))
        p.text(x, y - 0.05, str(number), 8.6, colour, weight="bold", zorder=4)

    def dots(*points, colour=GREY):
        p.axes.plot(*zip(*points), color=colour, linewidth=1.0, linestyle=(0, (1.5, 2)))

    left, top = at(0, 0)
    right, bottom = at(640, 400)
    p.rectangle(left, bottom, right - left, top - bottom, pale(BLUE, 0.06), GREY)
    dots(at(320, 0), at(320, 400))
    for share, words in ((-1, "−1"), (0, "0"), (1, "1")):
        x, y = at(320 + 320 * share, 200 + 200 * share)
        p.text(x, top + 1.7, words, 8, GREY)
        p.text(left - 1.7, y, words, 8, GREY)

    ball, meets, own, other = (230, 90), (604, 277), (615, 345), (25, 170)
    for (x, y), colour in ((own, GREEN), (other, ORANGE)):
        p.rectangle(*at(x - 5, y + 30), 1, 6, colour)
    dots(at(ball[0], 0), at(*ball))
    dots(at(0, ball[1]), at(*ball))
    mark(0, *at(ball[0], 36), BLUE)
    mark(1, *at(112, ball[1]), BLUE)
    dots(at(*ball), at(*meets), colour=BLUE)
    p.circle(*at(*ball), 0.9, BLUE)
    # Speed: the shadow of a step's way along the floor; slope: how steep it is.
    x, y = 390, ball[1] + (390 - ball[0]) / 2
    p.arrow(at(*ball), at(x, y), BLUE, width=2.2)
    p.arrow(at(ball[0] + 6, ball[1]), at(x, ball[1]), BLUE)
    p.arrow(at(x, ball[1]), at(x, y - 4), BLUE)
    mark(2, *at((ball[0] + x) / 2, ball[1] - 24), BLUE)
    mark(3, *at(x + 26, (ball[1] + y) / 2), BLUE)
    mark(5, *at(other[0] + 32, other[1]), ORANGE)
    mark(4, *at(own[0] - 38, own[1]), GREEN)
    # To the right of the court: the two differences.
    for number, target, x in ((7, meets[1], 660), (6, ball[1], 696)):
        start = meets[0] if number == 7 else ball[0]
        dots(at(start, target), at(x, target), colour=VERMILION)
        p.arrow(at(x, own[1]), at(x, target), VERMILION, width=2)
        mark(number, *at(x, (own[1] + target) / 2), VERMILION)
    dots(at(own[0], own[1]), at(696, own[1]), colour=VERMILION)
    p.text(*at(25, 232), "opponent", 7.8, ORANGE, ha="left")
    p.text(*at(545, 388), "policy", 7.8, GREEN)

    for row, (number, colour, what) in enumerate(
        (
            (0, BLUE, "ball x"),
            (1, BLUE, "ball y"),
            (2, BLUE, "ball's speed"),
            (3, BLUE, "ball's slope"),
            (4, GREEN, "own paddle y"),
            (5, ORANGE, "opponent's y"),
            (6, VERMILION, "from own paddle\nto the ball"),
            (7, VERMILION, "from own paddle to\nwhere it is heading"),
        )
    ):
        y = 47.5 - 5.4 * row
        mark(number, 81, y, colour)
        p.text(83.6, y, what, 7.8, ha="left")
    p.text(
        50, 4.4,
        "Positions count from the court's middle, in halves of the court: −1 is the left or upper "
        "edge, 1 the right or lower one.",
        8, GREY,
    )  # fmt: skip
    return p


def pong_servers() -> Picture:
    """Browser, web server, policy server, learner: what goes where in one step of Pong."""
    p = Picture(58)
    p.panel(1.5, 22, 23, 34.5, GREEN, "Browser")
    p.rectangle(4, 36.5, 18, 11.25, pale(BLUE, 0.1), GREY)
    p.rectangle(5, 41, 0.6, 3.4, ORANGE)
    p.rectangle(20.4, 38.6, 0.6, 3.4, GREEN)
    p.circle(14, 43.6, 0.5, BLUE)
    p.text(7.6, 39.2, "you", 7.6, ORANGE)
    p.text(17.3, 46, "policy", 7.6, GREEN)
    p.text(13, 31.7, "moves the ball,\ndraws it, counts", 8.4)
    p.text(13, 26, "60 pictures and\n20 decisions a second", 7.6, GREY)

    p.panel(39.5, 22, 15.5, 34.5, PURPLE, "Web server")
    p.text(47.25, 45.2, "pong_web_\nserver.py", 8.2, family="DejaVu Sans Mono")
    p.text(47.25, 36.8, "hands out the\npage, passes\nits questions on", 8.2)
    p.text(47.25, 26, "port 3000", 8.4, GREY)

    p.panel(69, 22, 29.5, 34.5, BLUE, "Policy server")
    p.text(83.75, 46.6, "simple_policy_server.py", 8.2, family="DejaVu Sans Mono")
    p.box(71, 33.6, 11.5, 9.4, "policy:\nacts", BLUE, 8.6)
    p.box(85, 33.6, 11.5, 9.4, "learner:\nlearns", ORANGE, 8.6)
    p.arrow((82.7, 36.4), (84.8, 36.4), BLUE)
    p.arrow((84.8, 40.2), (82.7, 40.2), ORANGE)
    p.text(83.75, 29.8, "what was seen, done and paid\ngoes in, newer weights come back", 7.4, GREY)
    p.text(83.75, 25, "port 8900", 8.4, GREY)

    for start, end, middle in ((24.9, 39.1, 32), (55.4, 68.6, 62)):
        p.arrow((start, 41), (end, 41), GREEN, width=2)
        p.text(middle, 45, "8 numbers,\nreward", 8, GREEN)
        p.arrow((end, 34), (start, 34), BLUE, width=2)
        p.text(middle, 30.2, "action and\nits values", 8, BLUE)

    p.panel(1.5, 1.5, 53.5, 16, GREEN, "Rollouts")
    p.text(3.4, 9.6, "do_rollouts.py", 8.2, ha="left", family="DejaVu Sans Mono")
    p.text(21.5, 9.6, "the same game with a scripted opponent:", 8.4, ha="left")
    p.text(21.5, 5.6, "no drawing, no waiting, game after game", 8.4, ha="left")
    p.arrow((55.4, 11), (77, 21.6), GREEN, width=2)
    p.arrow((81, 21.6), (55.4, 6.4), BLUE, width=2)
    p.text(85.5, 13, "straight to the policy\nserver, as fast as\nthe learner can learn", 8, GREY)
    return p


def learning() -> Picture:
    """The learning curve of a real run; what was measured stands in learning.json."""
    run = json.loads((IMAGES / "learning.json").read_text())
    steps, shares = np.array(run["points"]).T
    p = Picture(48)
    axes = p.figure.add_axes((0.09, 0.15, 0.88, 0.78))
    axes.plot(steps, 100 * shares, ".-", color=BLUE, linewidth=1.8, markersize=7)
    axes.axhline(50, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.text(steps[-1], 51, "as good as the opponent", fontsize=8.5, color=GREY, ha="right")
    axes.axhline(100 * run["random"], color=VERMILION, linewidth=1, linestyle=(0, (4, 3)))
    axes.text(
        steps[-1], 100 * run["random"] + 1, "random actions", fontsize=8.5,
        color=AS_WORDS[VERMILION], ha="right",
    )  # fmt: skip
    axes.set_xlabel("env steps of training", fontsize=9.5, color=INK)
    axes.set_ylabel("points won, in %", fontsize=9.5, color=INK)
    axes.set(xlim=(0, None), ylim=(0, max(60, 5 + 100 * shares.max())))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axes.tick_params(labelsize=8.5, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    return p


def comparison() -> Picture:
    """Learning curves of DQN, PPO and PG over three seeds each; the returns are in comparison.json.

    The running mean of 20 episodes of every seed, and the mean over the seeds for as long as all of
    them have episodes.
    """
    experiment = json.loads((IMAGES / "comparison.json").read_text())
    p = Picture(48)
    axes = p.figure.add_axes((0.09, 0.15, 0.88, 0.78))
    for (run, curves), colour in zip(experiment["returns"].items(), (BLUE, ORANGE, VERMILION)):
        means = [
            [np.mean(curve[max(0, i - 19) : i + 1]) for i in range(len(curve))] for curve in curves
        ]
        for mean in means:
            axes.plot(mean, color=pale(colour, 0.45), linewidth=1)
        common = min(map(len, means))
        axes.plot(
            np.mean([mean[:common] for mean in means], axis=0), color=colour, linewidth=2.4,
            label=run,
        )  # fmt: skip
    axes.axhline(195, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlabel("episode", fontsize=9.5, color=INK)
    axes.set_ylabel("return, mean of 20 episodes", fontsize=9.5, color=INK)
    axes.set(xlim=(0, None), ylim=(0, 210))
    axes.legend(fontsize=9.5, frameon=False, loc="lower right", labelcolor=INK)
    axes.tick_params(labelsize=8.5, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    return p


def logs() -> Picture:
    """Why who learns from a log can become better than those who wrote it."""
    p = Picture(61)
    p.panel(1.5, 32, 97, 27.5, GREY, "What three players did, game by game")
    p.panel(1.5, 1.5, 97, 27, BLUE, "What DQN makes of it")
    first, second, third = 27, 56, 84  # where the two situations and the endings stand

    def situation(x, y, name, words, colour):
        p.circle(x, y, 2.6, colour)
        p.text(x, y, name, 9.5, weight="bold")
        p.text(x, y - 4, words, 7.6, GREY, va="top")

    def ending(y, reward, words, colour):
        p.box(third - 3.2, y - 2, 6.4, 4, reward, colour, 9, weight="bold")
        p.text(third + 4.2, y, words, 7.8, AS_WORDS.get(colour, colour), ha="left")

    # Above: lanes, one for each game of the log.
    for y, who, colour in (
        (52.2, "careless", ORANGE),
        (45, "clumsy", PURPLE),
        (37.8, "fair", GREEN),
    ):
        p.text(3.4, y, who, 8.8, colour, ha="left", weight="bold")
    p.circle(first, 52.2, 1.9, ORANGE)
    p.text(first, 52.2, "$s_1$", 8.8)
    p.circle(first, 45, 1.9, PURPLE)
    p.text(first, 45, "$s_1$", 8.8)
    p.circle(second, 52.2, 1.9, ORANGE)
    p.text(second, 52.2, "$s_2$", 8.8)
    p.circle(second, 37.8, 1.9, GREEN)
    p.text(second, 37.8, "$s_2$", 8.8)
    p.arrow((first + 2.4, 52.2), (second - 2.4, 52.2), ORANGE, width=2)
    p.text((first + second) / 2, 53.9, "walks down", 7.8)
    p.arrow((second + 2.4, 52.2), (third - 3.6, 52.2), ORANGE, width=2)
    p.text((second + third) / 2, 53.9, "stops half-way", 7.8)
    p.arrow((first + 2.4, 45), (third - 3.6, 45), PURPLE, width=2)
    p.text((first + second) / 2, 46.7, "stays", 7.8)
    p.arrow((12, 37.8), (second - 2.4, 37.8), GREEN, width=2)
    p.text((first + second) / 2, 39.5, "came from elsewhere", 7.8)
    p.arrow((second + 2.4, 37.8), (third - 3.6, 37.8), GREEN, width=2)
    p.text((second + third) / 2, 39.5, "walks on", 7.8)
    for y, reward, words, colour in (
        (52.2, "\u22121", "misses", ORANGE), (45, "\u22121", "misses", PURPLE),
        (37.8, "+1", "scores", GREEN),
    ):  # fmt: skip
        ending(y, reward, words, colour)

    # Between: it is the same situation, whoever was in it.
    p.arrow((first, 32), (first, 21.4), BLUE, style=(0, (2.5, 1.5)))
    p.arrow((second, 32), (second, 21.4), BLUE, style=(0, (2.5, 1.5)))
    p.text((first + second) / 2, 30.2, "the same situations for all", 8, BLUE)

    # Below: values of what was tried, and the way that takes the best of each.
    situation(first, 17.6, "$s_1$", "the ball comes\nfar below", BLUE)
    situation(second, 17.6, "$s_2$", "half-way there", BLUE)
    ending(17.6, "+1", "scores", BLUE)
    p.arrow((first + 3.2, 17.6), (second - 3.2, 17.6), BLUE, width=3)
    p.text((first + second) / 2, 19.7, "walk down", 8.2, weight="bold")
    p.arrow((second + 3.2, 17.6), (third - 3.8, 17.6), BLUE, width=3)
    p.text((second + third) / 2, 19.7, "walk on", 8.2, weight="bold")
    p.text((first + second) / 2, 14, "$Q(s_1,$ down$)$ is high,\nas $s_2$ is worth much", 7.8)
    p.text((second + third) / 2, 14.8, "$Q(s_2,$ on$) \\approx 1$", 7.8)
    p.text(
        50, 5,
        "Nobody played this game from beginning to end. What an action leads to is the same whoever "
        "chose it,\nso the best of each game can be put together: the first half of one, the second "
        "half of another.",
        8, GREY,
    )  # fmt: skip
    return p


def environment() -> Picture:
    """One step of an environment, and the two places where an environment can be."""
    p = Picture(64)
    p.text(3, 61.2, "One step", 9.5, weight="bold", ha="left")
    p.box(12, 46.6, 22, 11, colour=BLUE)
    p.text(23, 53.8, "policy", 9.5, weight="bold")
    p.text(23, 50, "what to do?", 7.8, GREY)
    p.box(66, 46.6, 22, 11, colour=GREEN)
    p.text(77, 53.8, "environment", 9.5, weight="bold")
    p.text(77, 50, "reset(), step(action)", 7.6, GREY, family="DejaVu Sans Mono")
    p.arrow((34.4, 54.2), (65.6, 54.2), BLUE, width=2)
    p.text(50, 56, "action, of Discrete(k)", 7.8, BLUE)
    p.arrow((65.6, 50.4), (34.4, 50.4), GREEN, width=2)
    p.text(50, 47.2, "observation, of Box\nreward \u00b7 terminated \u00b7 truncated", 7.8, GREEN)

    p.panel(1.5, 1.5, 40, 40, ORANGE, "Inside: RLlib plays by itself")
    p.text(21.5, 34.4, "one program, your notebook", 7.8, GREY)
    p.box(5, 21, 33, 10.6, colour=ORANGE)
    p.text(21.5, 28.6, "algo.train()", 9, family="DejaVu Sans Mono", weight="bold")
    p.text(21.5, 24.4, "plays 1,000 steps, learns, again", 7.8, GREY)
    p.box(11, 6.4, 21, 7.6, "MyEnv", GREEN, 9.5, weight="bold")
    p.arrow((17.6, 20.6), (17.6, 14.4), ORANGE, width=2)
    p.arrow((25.4, 14.4), (25.4, 20.6), GREEN, width=2)
    p.text(16.4, 17.5, "step", 7.8, ORANGE, ha="right")
    p.text(26.6, 17.5, "answer", 7.8, GREEN, ha="left")
    p.text(21.5, 3.9, "waits for the learner: right for simulations", 7.6, GREY)

    p.panel(46.5, 1.5, 52, 40, BLUE, "Outside: it asks a policy server")
    p.text(72.5, 34.4, "any place, any language, its own clock", 7.8, GREY)
    p.box(49.5, 15.6, 15.5, 16, colour=GREEN)
    p.text(57.2, 27, "MyEnv", 9.5, weight="bold")
    p.text(57.2, 21.2, "and your loop,\nrun_one_\nepisode", 7.6, GREY)
    p.box(79.5, 15.6, 16.5, 16, colour=BLUE)
    p.text(87.7, 28.2, "policy server", 8.4, weight="bold")
    p.text(87.7, 24.2, "acts at once", 7.6, GREY)
    p.line((81, 21.9), (94.5, 21.9), colour=pale(BLUE, 0.5))
    p.text(87.7, 18.7, "learner (RLlib)", 7.8, ORANGE)
    p.arrow((65.4, 27.6), (79.1, 27.6), GREEN, width=2)
    p.text(72.2, 30.4, "observation,\nreward", 7.6, GREEN)
    p.arrow((79.1, 19.6), (65.4, 19.6), BLUE, width=2)
    p.text(72.2, 21.6, "action", 7.8, BLUE)
    p.text(72.2, 11.6, "over HTTP, at most one request a step", 7.8, GREY)
    p.text(72.5, 3.9, "comes when it needs an answer: right for the rest of the world", 7.6, GREY)
    return p


PICTURES: dict[str, Callable[[], Picture]] = {
    "dqn": dqn,
    "client_server": client_server,
    "episode": episode,
    "pong_observation": pong_observation,
    "pong_servers": pong_servers,
    "learning": learning,
    "comparison": comparison,
    "logs": logs,
    "environment": environment,
}


def difference(path: Path, other: Path) -> float:
    """Mean difference of the pixels of two pictures, of 255; infinite if sizes differ."""
    one, two = (np.asarray(Image.open(file).convert("RGB"), float) for file in (path, other))
    return float("inf") if one.shape != two.shape else float(np.abs(one - two).mean())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}")
    parser.add_argument("--check", action="store_true", help="fail if images/ is out of date")
    options = parser.parse_args()
    names = options.names or list(PICTURES)
    if unknown := set(names) - set(PICTURES):
        parser.error(f"no picture {', '.join(unknown)}: there are {', '.join(PICTURES)}")
    if not options.check:
        for name in names:
            PICTURES[name]().save(IMAGES / f"{name}.png")
        print(f"drew {', '.join(names)} into {IMAGES.name}/")
        return 0
    stale = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            drawn, kept = Path(folder) / f"{name}.png", IMAGES / f"{name}.png"
            PICTURES[name]().save(drawn)
            if not kept.exists() or difference(drawn, kept) > TOLERANCE:
                stale.append(f"{name}.png")
    if stale:
        print(f"images/ is out of date: {', '.join(stale)}; draw with `make images`")
        return 1
    print(f"{len(names)} pictures are up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
