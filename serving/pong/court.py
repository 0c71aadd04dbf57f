"""The court's numbers. They stand once, in court.json, for Python and for the web page alike."""

from __future__ import annotations

from pathlib import Path

import msgspec

COURT_FILE = Path(__file__).with_name("court.json")


class Level(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scripted opponent: `speed` as a share of the paddle's, and by how many pixels it misjudges,
    at most, where a ball at top speed will arrive (slower balls proportionally less)."""

    speed: float
    error: float


class Court(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lengths in pixels, speeds in pixels a step.

    step_seconds        how long a step takes where people play
    serve_speed         the ball's horizontal speed when served ...
    serve_steepest      ... and its largest slope (vertical by horizontal speed) then
    speed_gain          what each hit multiplies the horizontal speed by, up to ...
    top_speed           ... this speed
    steepest            slope of a ball hit with the paddle's very end
    paddle_gap          between a paddle's back and the court's edge
    points_to_win       a game ends when somebody has so many
    most_steps          a game is cut short (truncated) after so many steps
    hit_reward          for each ball the right paddle returns; points count 1
    levels              of the scripted opponent, by name
    """

    step_seconds: float
    width: float
    height: float
    ball_radius: float
    serve_speed: float
    serve_steepest: float
    speed_gain: float
    top_speed: float
    steepest: float
    paddle_height: float
    paddle_width: float
    paddle_gap: float
    paddle_speed: float
    points_to_win: int
    most_steps: int
    hit_reward: float
    levels: dict[str, Level]
    default_level: str


COURT = msgspec.json.decode(COURT_FILE.read_bytes(), type=Court)
