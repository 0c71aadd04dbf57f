"""The logs that are shipped: real play, made again by tools/make_data.py, and good to learn from."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from serving import ROOT
from serving.evaluation import frozen_policy
from serving.logs import check_log, read_log
from serving.notebook.experiment import replay
from serving.pong import PongEnv
from tools.bench.players import play_pong
from tools.make_data import PLAYERS, games

SMALL, LARGE = (ROOT / "serving" / name for name in ("data_small.gz", "data_large.gz"))


@pytest.fixture(scope="module")
def large() -> list:
    return list(read_log(LARGE, 8, 3))


def test_sizes():
    """Does the small log load in a blink, is the large one ten times that, are both light?"""
    small, large = check_log(SMALL, 8, 3), check_log(LARGE, 8, 3)
    assert 10 <= small.episodes <= 20 and 7_000 <= small.steps <= 9_000
    assert large.steps >= 10 * small.steps
    assert SMALL.stat().st_size + LARGE.stat().st_size < 3_000_000


def test_the_small_log_begins_the_large_one(large):
    small = list(read_log(SMALL))
    assert small == large[: len(small)]


def test_they_are_made_by_the_tool(large):
    """Do the same players under the same seed play the same games again?"""
    for (_, episode, _), logged in zip(itertools.islice(games(), 20), large):
        assert episode == logged


def test_it_is_pong(large):
    """Is every observation one of PongEnv's, every reward a true one, every game whole?"""
    space = PongEnv().observation_space
    for episode in large:
        rows = np.array([step["obs"] for step in episode], np.float32)
        assert (rows >= space.low).all() and (rows <= space.high).all()
        rewards = [step["reward"] for step in episode]
        assert set(rewards) <= {0.0, 0.1, 1.0, -1.0}
        won, lost = rewards.count(1.0), rewards.count(-1.0)
        assert max(won, lost) == 5 > min(won, lost)
        assert abs(rewards[-1]) == 1.0 and "truncated" not in episode[-1]


def test_every_action_was_tried_everywhere(large):
    """Was each action taken wherever the ball is: coming or going, above, level or below?"""
    steps = [step for episode in large for step in episode]
    rows, actions = np.array([s["obs"] for s in steps]), np.array([s["action"] for s in steps])
    for coming in (False, True):
        for low, high in ((-2, -0.15), (-0.15, 0.15), (0.15, 2)):
            here = ((rows[:, 2] > 0) == coming) & (rows[:, 6] >= low) & (rows[:, 6] <= high)
            shares = np.bincount(actions[here], minlength=3) / here.sum()
            assert shares.min() > 0.02, (coming, low, shares)


def test_the_players_differ():
    """Is there somebody to learn from, and somebody to learn not to be like?"""
    won = dict.fromkeys(PLAYERS, 0)
    for name, _, events in itertools.islice(games(), 60):
        won[name] += events.count("right scores")
    assert won["good"] > 1.3 * won["fair"] > 1.3 * won["clumsy"] > 0


def balls_returned(policy) -> float:
    """A point."""
    return play_pong(policy, games=10, seed=5_000)["returned"]


@pytest.mark.slow
def test_a_policy_learns_from_the_small_log(policy_servers):
    """After a replay into a fresh server, does the policy return twice as many balls as before,
    with no game played?"""
    server = policy_servers(8, 3, seed=0)
    client = server.client()
    server.wait_until(lambda status: status.state == "idle", 120, "the learner")
    before = balls_returned(frozen_policy(client))
    replay(client, read_log(SMALL))
    steps = check_log(SMALL).steps
    status = server.wait_until(lambda status: status.state == "idle", 300, "learning to catch up")
    assert (status.logged_steps, status.steps_waiting, status.env_steps) == (steps, 0, steps)
    assert balls_returned(frozen_policy(client)) >= 2 * before
