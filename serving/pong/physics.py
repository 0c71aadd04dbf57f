"""The game of Pong as pure functions: a state and two moves in, the next state out.

`serving/javascript-pong/static/physics.js` says the same in JavaScript. Both use nothing but sums,
products, quotients and comparisons of doubles, in the same order, so that they agree to the last
bit. Chance comes in from outside: `draw()` returns the next number of [0, 1).

Lengths are pixels, speeds pixels a step; x grows to the right, y downwards; x and y are those of
a thing's middle. The policy plays the right paddle; the left one belongs to a person or to the
scripted opponent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from serving.pong.court import COURT, Level

STAY, DOWN, UP = range(3)  # the actions ...
MOVES = (0.0, 1.0, -1.0)  # ... and what they do: shares of the paddle's speed

HIGHEST = COURT.paddle_height / 2  # where a paddle's y can be
LOWEST = COURT.height - HIGHEST
CEILING = COURT.ball_radius  # where the ball's y can be
FLOOR = COURT.height - COURT.ball_radius
LEFT_LINE = COURT.paddle_gap + COURT.paddle_width + COURT.ball_radius  # the ball's x at a hit
RIGHT_LINE = COURT.width - LEFT_LINE
REACH = COURT.paddle_height / 2 + COURT.ball_radius  # from a paddle's y to a ball it just hits


class State(NamedTuple):
    """Everything there is to know of a game.

    `misjudged`, in [-1, 1], is how wrong the scripted opponent is about the volley under way, as a
    share of its level's error.
    """

    ball_x: float
    ball_y: float
    ball_vx: float
    ball_vy: float
    left_y: float
    right_y: float
    misjudged: float
    left_score: int
    right_score: int


def start(draw: Callable[[], float]) -> State:
    """A new game: paddles in the middle; chance decides who serves."""
    middle = COURT.height / 2
    direction = 1.0 if draw() < 0.5 else -1.0
    return _serve(direction, middle, middle, 0, 0, draw)


def step(
    state: State, left_move: float, right_move: float, draw: Callable[[], float]
) -> tuple[State, str]:
    """One step. Moves are shares of the paddle's speed, from -1 (up) to 1 (down).

    Returns the next state and what happened: `left hits`, `right hits`, `left scores`,
    `right scores`, or an empty string. Who scores serves the next ball, at once.
    """
    x, y, vx, vy, left_y, right_y, misjudged, left_score, right_score = state
    left_y = within(left_y + left_move * COURT.paddle_speed, HIGHEST, LOWEST)
    right_y = within(right_y + right_move * COURT.paddle_speed, HIGHEST, LOWEST)

    line, paddle_y = (LEFT_LINE, left_y) if vx < 0 else (RIGHT_LINE, right_y)
    part = (line - x) / vx  # of this step, until the ball is at the paddle's line
    if 0 < part <= 1:
        y_there = bounced(y + vy * part)
        if abs(y_there - paddle_y) <= REACH:
            event = "left hits" if vx < 0 else "right hits"
            speed = min(abs(vx) * COURT.speed_gain, COURT.top_speed)
            vx = speed if vx < 0 else -speed
            vy = speed * COURT.steepest * ((y_there - paddle_y) / REACH)
            x = line + vx * (1 - part)
            y, vy = _fly(y_there, vy, 1 - part)
            misjudged = 2 * draw() - 1
            return State(x, y, vx, vy, left_y, right_y, misjudged, left_score, right_score), event

    x = x + vx
    if x < 0:
        return _serve(-1.0, left_y, right_y, left_score, right_score + 1, draw), "right scores"
    if x > COURT.width:
        return _serve(1.0, left_y, right_y, left_score + 1, right_score, draw), "left scores"
    y, vy = _fly(y, vy, 1.0)
    return State(x, y, vx, vy, left_y, right_y, misjudged, left_score, right_score), ""


def finished(state: State) -> bool:
    """Whether somebody has won the game."""
    return max(state.left_score, state.right_score) >= COURT.points_to_win


def reward(event: str) -> float:
    """What the right paddle is paid for what happened in a step."""
    if event == "right scores":
        return 1.0
    if event == "left scores":
        return -1.0
    return COURT.hit_reward if event == "right hits" else 0.0


def observe(state: State) -> list[float]:
    """What the right paddle sees: eight numbers; the table is in `PongEnv`'s docstring."""
    heading = state.right_y
    if state.ball_vx > 0:
        slope = state.ball_vy / state.ball_vx
        heading = state.ball_y + slope * (RIGHT_LINE - state.ball_x)
    return [
        2 * state.ball_x / COURT.width - 1,
        2 * state.ball_y / COURT.height - 1,
        state.ball_vx / COURT.top_speed,
        state.ball_vy / abs(state.ball_vx) / COURT.steepest,
        2 * state.right_y / COURT.height - 1,
        2 * state.left_y / COURT.height - 1,
        2 * (state.ball_y - state.right_y) / COURT.height,
        within(2 * (heading - state.right_y) / COURT.height, -2.0, 2.0),
    ]


def opponent(state: State, level: Level) -> float:
    """The scripted opponent's move for the left paddle.

    While the ball comes it walks to where the ball will arrive, which it misjudges the more the
    faster the ball is; while the ball goes away, to the middle.
    """
    target = COURT.height / 2
    if state.ball_vx < 0:
        target = state.ball_y + state.ball_vy * ((LEFT_LINE - state.ball_x) / state.ball_vx)
        while target < CEILING or target > FLOOR:
            target = bounced(target)
        error = level.error * (-state.ball_vx / COURT.top_speed)
        target = target + state.misjudged * error
    return within((target - state.left_y) / COURT.paddle_speed, -level.speed, level.speed)


def bounced(y: float) -> float:
    """Where a ball is that would be at y if it had not met a wall."""
    if y < CEILING:
        return 2 * CEILING - y
    return 2 * FLOOR - y if y > FLOOR else y


def within(value: float, low: float, high: float) -> float:
    return low if value < low else high if value > high else value


def _fly(y: float, vy: float, part: float) -> tuple[float, float]:
    """The ball's y and vy after this part of a step, in which it may meet a wall."""
    free = y + vy * part
    there = bounced(free)
    return there, (vy if there == free else -vy)


def _serve(direction, left_y, right_y, left_score, right_score, draw) -> State:
    """The ball leaves the paddle of who serves, in a direction of chance's."""
    x, y = (LEFT_LINE, left_y) if direction > 0 else (RIGHT_LINE, right_y)
    vy = COURT.serve_speed * COURT.serve_steepest * (2 * draw() - 1)
    misjudged = 2 * draw() - 1
    return State(
        x, y, direction * COURT.serve_speed, vy,
        left_y, right_y, misjudged, left_score, right_score,
    )  # fmt: skip
