"""Pong as a gymnasium environment."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from serving.pong import physics
from serving.pong.court import COURT

OBSERVATION_SIZE = 8
ACTION_SIZE = 3


class PongEnv(gym.Env):
    """One game of Pong: the agent plays the right paddle, a scripted opponent the left one.

    The court is 640 pixels wide and 400 high; a step stands for 50 ms. All numbers are in
    court.json, the rules in physics.py; the web page plays by the same ones.

    Actions, `Discrete(3)`; the paddle goes 14 pixels a step:

    | action | meaning |
    |--------|---------|
    | 0      | stay    |
    | 1      | down    |
    | 2      | up      |

    Observations, `Box` of 8 float32. Positions are scaled so that -1 is the left or upper edge and
    1 the right or lower one: centred numbers of about this size are what a network learns from
    fastest.

    | # | what                                           | unit                    | range   |
    |---|------------------------------------------------|-------------------------|---------|
    | 0 | ball x                                         | half the court's width  | -1 to 1 |
    | 1 | ball y                                         | half the court's height | -1 to 1 |
    | 2 | ball speed to the right                        | top speed, 28 px a step | -1 to 1 |
    | 3 | ball slope: px down for each px sideways       | the steepest one, 1     | -1 to 1 |
    | 4 | own paddle y                                   | half the court's height | -1 to 1 |
    | 5 | opponent's paddle y                            | half the court's height | -1 to 1 |
    | 6 | ball y - own paddle y: where to go             | half the court's height | -2 to 2 |
    | 7 | where the ball is heading - own paddle y       | half the court's height | -2 to 2 |

    Number 7 looks along the ball's line to where it meets the paddle's, as if there were no walls,
    cut off at 2; it is 0 while the ball goes away. Numbers 6 and 7 follow from the others; they are
    there because a network that is handed them need not learn first to subtract and to multiply.

    Rewards: 1 for a point won, -1 for a point lost, and 0.1 for each ball returned, which a
    beginner learns from long before it wins points. Over a game the points count most by far.

    An episode is one game: it terminates when somebody has 5 points, and is truncated after 3,000
    steps. A random side serves first; then who has scored serves, so the ball comes to the one
    who lost the point. Each hit makes the ball 10% faster, from 16 up to 28 pixels a step
    sideways; the further from the paddle's middle, the steeper it leaves.

    The opponent (`level`: easy, medium or hard) walks more slowly than the agent's paddle and
    misjudges where the ball will arrive, once a volley, the more the faster the ball. At the
    default level, medium, a random policy wins about 7% of the points, and one that always
    returns the ball nearly all.

    `info` holds `event` (`left hits`, `right hits`, `left scores`, `right scores` or "") and
    `score` (opponent's points, agent's points). `reset(seed=...)` makes a game repeatable.

    Render modes: "rgb_array", (400, 640, 3) uint8.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / COURT.step_seconds)}

    def __init__(self, level: str = COURT.default_level, render_mode: str | None = None):
        if level not in COURT.levels:
            raise ValueError(f"level is {level!r}: expected one of {', '.join(COURT.levels)}")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode is {render_mode!r}: expected None or 'rgb_array'")
        self.level = level
        self.render_mode = render_mode
        bound = np.array([1, 1, 1, 1, 1, 1, 2, 2], np.float32)
        self.observation_space = gym.spaces.Box(-bound, bound, (OBSERVATION_SIZE,), np.float32)
        self.action_space = gym.spaces.Discrete(ACTION_SIZE)
        self.state: physics.State | None = None
        self._steps = 0
        self._done = False

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.state = physics.start(self.np_random.random)
        self._steps, self._done = 0, False
        return self._observation(), self._info("")

    def step(self, action: int):
        if self.state is None or self._done:
            when = "after the game had ended" if self._done else "before env.reset()"
            raise gym.error.ResetNeeded(f"env.step() was called {when}; call env.reset() first")
        if action not in (physics.STAY, physics.DOWN, physics.UP):
            raise ValueError(f"action is {action!r}: expected 0 (stay), 1 (down) or 2 (up)")
        move = physics.opponent(self.state, COURT.levels[self.level])
        self.state, event = physics.step(
            self.state, move, physics.MOVES[int(action)], self.np_random.random
        )
        self._steps += 1
        terminated = physics.finished(self.state)
        truncated = not terminated and self._steps >= COURT.most_steps
        self._done = terminated or truncated
        reward = physics.reward(event)
        return self._observation(), reward, terminated, truncated, self._info(event)

    def render(self) -> np.ndarray | None:
        if self.render_mode is None or self.state is None:
            return None
        state, middle = self.state, COURT.width / 2
        paddle = COURT.paddle_width / 2, COURT.paddle_height / 2
        ball = COURT.ball_radius, COURT.ball_radius
        from_edge = COURT.paddle_gap + paddle[0]
        picture = np.full((int(COURT.height), int(COURT.width), 3), (16, 24, 40), np.uint8)
        for x, y, (half_width, half_height), colour in (
            (middle, COURT.height / 2, (1, COURT.height / 2), (51, 65, 92)),
            (from_edge, state.left_y, paddle, (255, 176, 77)),
            (COURT.width - from_edge, state.right_y, paddle, (77, 208, 196)),
            (state.ball_x, state.ball_y, ball, (245, 247, 250)),
        ):
            rows = slice(max(0, round(y - half_height)), round(y + half_height))
            columns = slice(max(0, round(x - half_width)), round(x + half_width))
            picture[rows, columns] = colour
        return picture

    def _observation(self) -> np.ndarray:
        return np.array(physics.observe(self.state), np.float32)  # (8,)

    def _info(self, event: str) -> dict:
        return {"event": event, "score": (self.state.left_score, self.state.right_score)}
