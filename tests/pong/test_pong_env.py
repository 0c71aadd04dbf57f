"""PongEnv: is it the environment that its docstring promises?"""

from __future__ import annotations

import re
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from serving.pong import PongEnv, physics
from serving.pong.court import COURT


def games(env: PongEnv, choose, many: int, seed: int = 0):
    """Yields (observation, reward, terminated, truncated, info) of every step of `many` games."""
    for game in range(many):
        observation, _ = env.reset(seed=seed + game)
        done = False
        while not done:
            answer = env.step(choose(observation))
            observation, _, terminated, truncated, _ = answer
            done = terminated or truncated
            yield answer


def share_of_points(env: PongEnv, choose, many: int) -> float:
    events = [info["event"] for *_, info in games(env, choose, many)]
    won, lost = events.count("right scores"), events.count("left scores")
    return won / (won + lost)


def good(observation) -> int:
    """Goes where the ball is heading."""
    return 0 if abs(observation[7]) < 0.08 else 1 if observation[7] > 0 else 2


@pytest.mark.parametrize("level", COURT.levels)
def test_gymnasium_finds_nothing_to_complain_of(level):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(PongEnv(level), skip_render_check=True)


def test_observations_never_leave_their_space():
    env, rng = PongEnv(), np.random.default_rng(0)
    chance = lambda observation: rng.integers(3)  # noqa: E731
    for choose in (chance, good):
        seen = np.array([answer[0] for answer in games(env, choose, 40)])
        assert seen.dtype == np.float32
        assert (seen >= env.observation_space.low).all()
        assert (seen <= env.observation_space.high).all()
        assert env.observation_space.contains(seen[0])
    # They fill it, too: no number is squeezed into a corner.
    assert (np.abs(seen).max(axis=0) > 0.8).all()


def test_a_random_policy_wins_fewer_than_a_tenth_of_the_points_and_a_good_one_most():
    rng = np.random.default_rng(0)
    assert share_of_points(PongEnv(), lambda observation: rng.integers(3), 200) < 0.1
    assert share_of_points(PongEnv(), good, 60) > 0.6


def test_levels_differ():
    easy, medium, hard = (share_of_points(PongEnv(level), good, 60) for level in COURT.levels)
    assert easy > medium + 0.05 > hard + 0.1


def test_returns_are_the_points_and_the_hits():
    env = PongEnv()
    rewards, hits = [], 0
    for _, reward, terminated, _, info in games(env, good, 20):
        rewards.append(reward)
        hits += info["event"] == "right hits"
        if terminated:
            lost, won = info["score"]
            assert max(won, lost) == 5
            assert sum(rewards) == pytest.approx(won - lost + 0.1 * hits)
            rewards, hits = [], 0


def test_a_seed_repeats_a_game():
    def trajectory(seed):
        return [
            (*observation, reward) for observation, reward, *_ in games(PongEnv(), good, 2, seed)
        ]

    assert trajectory(3) == trajectory(3)
    assert trajectory(3) != trajectory(4)


def test_a_game_is_truncated_not_terminated_after_its_last_step(monkeypatch):
    env = PongEnv()
    env.reset(seed=0)
    env._steps = COURT.most_steps - 1
    _, _, terminated, truncated, _ = env.step(0)
    assert (terminated, truncated) == (False, True)


@pytest.mark.parametrize("action", [3, -1, 1.5, "up", None])
def test_an_action_that_does_not_exist_is_refused(action):
    env = PongEnv()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=re.escape("expected 0 (stay), 1 (down) or 2 (up)")):
        env.step(action)


def test_a_step_before_the_start_or_after_the_end_is_refused():
    env = PongEnv()
    with pytest.raises(gym.error.ResetNeeded, match="before env.reset"):
        env.step(0)
    for _ in games(env, lambda observation: 0, 1):
        pass
    with pytest.raises(gym.error.ResetNeeded, match="after the game had ended"):
        env.step(0)


def test_an_unknown_level_or_render_mode_is_refused():
    with pytest.raises(ValueError, match="easy, medium, hard"):
        PongEnv("brutal")
    with pytest.raises(ValueError, match="rgb_array"):
        PongEnv(render_mode="human")


def test_the_picture_shows_ball_and_paddles_where_they_are():
    env = PongEnv(render_mode="rgb_array")
    assert env.render() is None
    env.reset(seed=1)
    for _ in range(10):
        env.step(1)
    picture, state = env.render(), env.state
    assert picture.shape == (400, 640, 3) and picture.dtype == np.uint8
    background = picture[3, 3]
    for x, y in [(25, state.left_y), (615, state.right_y), (state.ball_x, state.ball_y)]:
        assert (picture[int(y), int(x)] != background).any()
    assert (picture[int(state.right_y) - 40, 615] == background).all()
    assert PongEnv().render() is None


def test_the_docstring_is_true():
    """Do the manual's numbers agree with the court's?"""
    manual = " ".join(PongEnv.__doc__.split())  # from Python 3.13 on it is not indented
    for promise in (
        f"{COURT.width:.0f} pixels wide and {COURT.height:.0f} high",
        f"{COURT.step_seconds * 1000:.0f} ms",
        f"{COURT.paddle_speed:.0f} pixels a step",
        f"top speed, {COURT.top_speed:.0f} px",
        f"{COURT.hit_reward} for each ball returned",
        f"somebody has {COURT.points_to_win} points",
        f"after {COURT.most_steps:,} steps",
        f"{COURT.speed_gain - 1:.0%} faster, from {COURT.serve_speed:.0f} up to",
    ):
        assert promise in manual, promise
    assert list(physics.MOVES) == [0, 1, -1]
