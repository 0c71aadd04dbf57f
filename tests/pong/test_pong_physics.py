"""The rules of Pong, and whether JavaScript plays by them too."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
from array import array
from itertools import pairwise
from pathlib import Path

import pytest

from serving.pong import physics
from serving.pong.court import COURT, COURT_FILE
from serving.pong.physics import LEFT_LINE, MOVES, REACH, RIGHT_LINE, State

GAMES = 1_000
EVENTS = ["", "left hits", "right hits", "left scores", "right scores"]
FOLLOW = Path(__file__).with_name("follow_pong.mjs")


def a_state(**changes) -> State:
    state = State(320.0, 200.0, 16.0, 0.0, 200.0, 200.0, 0.0, 0, 0)
    return state._replace(**changes)


def never() -> float:
    raise AssertionError("nothing is left to chance here")


def chaser(state: State) -> int:
    """Goes after the ball: returns enough of them for long rallies."""
    off = state.ball_y - state.right_y
    return 0 if abs(off) < 10 else 1 if off > 0 else 2


def played(seed: int, level: str | None = None) -> list[tuple[float, float, State, str]]:
    """A game: left move, right move, state after them, event. Without a level the left side moves
    anyhow; the right one is a mixture of chasing and chance."""
    chance = random.Random(seed)
    chasing = chance.random()
    state, rows = physics.start(chance.random), []
    while not physics.finished(state) and len(rows) < COURT.most_steps:
        left = physics.opponent(state, COURT.levels[level]) if level else chance.uniform(-1, 1)
        right = MOVES[chaser(state) if chance.random() < chasing else chance.randrange(3)]
        state, event = physics.step(state, left, right, chance.random)
        rows.append((left, right, state, event))
    return rows


def test_a_paddle_walks_and_stops_at_the_walls():
    state = a_state()
    down, _ = physics.step(state, -1, 1, never)
    assert (down.left_y, down.right_y) == (200 - COURT.paddle_speed, 200 + COURT.paddle_speed)
    state = a_state(left_y=35.0, right_y=365.0)
    stopped, _ = physics.step(state, -1, 1, never)
    assert (stopped.left_y, stopped.right_y) == (physics.HIGHEST, physics.LOWEST)


def test_the_ball_bounces_off_the_walls():
    state, _ = physics.step(a_state(ball_y=10.0, ball_vy=-10.0), 0, 0, never)
    assert (state.ball_y, state.ball_vy) == (12.0, 10.0)  # 4 px to the wall's 6, 6 back
    state, _ = physics.step(a_state(ball_y=390.0, ball_vy=10.0), 0, 0, never)
    assert (state.ball_y, state.ball_vy) == (388.0, -10.0)


@pytest.mark.parametrize("offset, slope", [(0, 0), (18, 0.5), (-REACH, -1), (REACH, 1)])
def test_where_the_paddle_is_hit_decides_how_steep_the_ball_leaves(offset, slope):
    state = a_state(ball_x=RIGHT_LINE - 8, ball_y=200.0 + offset)
    after, event = physics.step(state, 0, 0, lambda: 0.75)
    speed = 16 * COURT.speed_gain
    assert event == "right hits"
    assert after.ball_vx == -speed
    assert after.ball_vy == pytest.approx(slope * COURT.steepest * speed)
    # Half of the step was left after the hit.
    assert after.ball_x == pytest.approx(RIGHT_LINE - speed / 2)
    assert after.misjudged == 0.5


def test_a_paddle_that_arrives_in_this_step_hits():
    state = a_state(ball_x=RIGHT_LINE - 8, ball_y=200 + REACH + COURT.paddle_speed)
    assert physics.step(state, 0, 1, lambda: 0.5)[1] == "right hits"
    assert physics.step(state, 0, 0, never)[1] == ""


def test_the_ball_gets_no_faster_than_its_top_speed():
    state = a_state(ball_x=LEFT_LINE + 8, ball_vx=-27.9)
    after, event = physics.step(state, 0, 0, lambda: 0.5)
    assert (event, after.ball_vx) == ("left hits", COURT.top_speed)


@pytest.mark.parametrize("side, direction", [("left", 1), ("right", -1)])
def test_who_scores_serves(side, direction):
    state = a_state(ball_x=638.0 if side == "left" else 2.0, ball_vx=direction * 16.0)
    state = state._replace(left_y=50.0, right_y=350.0)
    after, event = physics.step(state, 0, 0, lambda: 0.25)
    assert event == f"{side} scores"
    assert (after.left_score, after.right_score) == ((1, 0) if side == "left" else (0, 1))
    assert (after.left_y, after.right_y) == (50, 350)
    place = (LEFT_LINE, 50) if side == "left" else (RIGHT_LINE, 350)
    assert (after.ball_x, after.ball_y) == place
    assert after.ball_vx == direction * COURT.serve_speed
    assert after.ball_vy == -COURT.serve_speed * COURT.serve_steepest / 2


def test_a_game_is_played_to_five():
    assert not physics.finished(a_state(left_score=4, right_score=4))
    assert physics.finished(a_state(left_score=4, right_score=5))
    assert physics.finished(a_state(left_score=5))


def test_only_what_the_right_paddle_does_is_paid():
    paid = {event: physics.reward(event) for event in EVENTS}
    assert paid == {
        "": 0, "left hits": 0, "right hits": 0.1, "left scores": -1, "right scores": 1,
    }  # fmt: skip


def test_the_opponent_foresees_walls_and_misjudges_fast_balls_more():
    level = COURT.levels["medium"]
    coming = a_state(ball_vx=-16.0, ball_vy=-16.0, left_y=200.0)
    arrives = physics.bounced(200.0 - (320 - LEFT_LINE))  # 84 px off the upper wall, mirrored
    assert arrives == 96
    assert physics.opponent(coming, level) == -level.speed
    assert physics.opponent(coming._replace(left_y=arrives), level) == pytest.approx(0)
    wrong = coming._replace(left_y=arrives, misjudged=0.05)
    slow = physics.opponent(wrong, level)
    fast = physics.opponent(wrong._replace(ball_vx=-28.0, ball_vy=-28.0), level)
    assert slow == pytest.approx(0.05 * level.error * (16 / 28) / COURT.paddle_speed)
    assert fast == pytest.approx(0.05 * level.error / COURT.paddle_speed)


def test_the_same_chance_gives_the_same_game():
    assert played(5, "medium") == played(5, "medium")
    assert played(5, "medium") != played(6, "medium")


def test_nothing_leaves_the_court():
    for seed in range(50):
        for left, _, state, _ in played(seed, [*COURT.levels, None][seed % 4]):
            assert -1 <= left <= 1
            assert 0 <= state.ball_x <= COURT.width
            assert physics.CEILING <= state.ball_y <= physics.FLOOR
            assert physics.HIGHEST <= min(state.left_y, state.right_y)
            assert max(state.left_y, state.right_y) <= physics.LOWEST
            assert COURT.serve_speed <= abs(state.ball_vx) <= COURT.top_speed
            assert abs(state.ball_vy) <= abs(state.ball_vx) * COURT.steepest * (1 + 1e-12)


def test_points_and_hits_alternate_as_they_must():
    for seed in range(30):
        events = [event for *_, event in played(seed, "easy") if event]
        for before, after in pairwise(events):
            # Who has just hit or served is not the one whose turn it is.
            turn = {"left": "right", "right": "left"}[before.split()[0]]
            assert after.split()[0] == turn if after.endswith("hits") else True
            assert after.split()[0] != turn if after.endswith("scores") else True


def test_javascript_follows_a_thousand_games(tmp_path):
    """Does physics.js do in 1,000 games what physics.py does, to the last bit?"""
    node = shutil.which("node")
    if node is None and not os.environ.get("CI"):
        pytest.skip("node is not installed")
    names = [*COURT.levels]
    numbers = array("d")
    for seed in range(GAMES):
        level = None if seed % 4 == 3 else names[seed % 4]
        drawn = array("d")
        rows = recorded(seed, level, drawn)
        numbers.extend([names.index(level) if level else -1, len(drawn), len(rows)])
        numbers.extend(drawn)
        for left, right, state, event in rows:
            numbers.extend([left, right, EVENTS.index(event), physics.reward(event)])
            numbers.extend(state)
            numbers.extend(physics.observe(state))
    games = tmp_path / "games.bin"
    games.write_bytes(numbers.tobytes())
    done = subprocess.run(
        [node or "node", str(FOLLOW), str(COURT_FILE), str(games)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["games"] == GAMES
    assert result["steps"] > 200 * GAMES
    assert result["largest"] == 0.0


def recorded(seed: int, level: str | None, drawn: array):
    """As `played`, with the draws of the physics written down; the players have their own."""
    chance, moves = random.Random(seed), random.Random(-seed - 1)

    def draw() -> float:
        drawn.append(chance.random())
        return drawn[-1]

    chasing = moves.random()
    state, rows = physics.start(draw), []
    while not physics.finished(state) and len(rows) < COURT.most_steps:
        left = physics.opponent(state, COURT.levels[level]) if level else moves.uniform(-1, 1)
        right = MOVES[chaser(state) if moves.random() < chasing else moves.randrange(3)]
        state, event = physics.step(state, left, right, draw)
        rows.append((left, right, state, event))
    return rows


def test_the_courts_numbers_stand_only_once():
    """Would a change of court.json reach both languages?"""
    static = Path(physics.__file__).parents[1] / "javascript-pong" / "static"
    for source in (Path(physics.__file__), static / "physics.js"):
        code = re.sub(r'""".*?"""|#.*|//.*|/\*.*?\*/', "", source.read_text(), flags=re.DOTALL)
        numbers = set(re.findall(r"(?<![\w.])\d+(?:\.\d+)?", code))
        # A half, a quarter, signs, ends of ranges: no lengths, no speeds.
        assert numbers <= {"0", "1", "2", "3", "0.0", "1.0", "2.0", "0.25", "0.5"}, source
