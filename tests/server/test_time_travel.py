"""Going back to policies of before: to evaluate them, to look at them, to let them act again."""

from __future__ import annotations

import numpy as np
import pytest
from players import cartpole, play_episode, play_steps
from served import ACTIONS, SIZE

from serving import PolicyClient
from serving.policy import Policy, untrained
from serving.protocol import InvalidMessage, PolicyNotKept
from serving.running_server import RunningServer

OBSERVATION = [0.5, -0.25, 1.0]


@pytest.fixture
def player(served) -> PolicyClient:
    """A client of a server that has seen versions 0 (random weights), 1, 2 and 3, each of which
    always takes the action of its number."""
    served.begin_anew()
    for version in (1, 2, 3):
        layers = [(np.zeros((SIZE, ACTIONS)), np.eye(ACTIONS)[version])]
        served.learner.policy = Policy(version, "action_values", "relu", layers)
        served.learner.on_policy(served.learner.policy)
    return PolicyClient(served.address, quiet=True)


def first_action(player: PolicyClient, **options) -> tuple[int, int]:
    """The action, and the version that took it."""
    episode = player.start_episode(training_enabled=False, **options)
    action = player.get_action(episode, OBSERVATION)
    (version,) = player.episode(episode).policy_versions
    return action, version


def test_an_evaluation_may_ask_for_a_version(player):
    """Does that version act, to the episode's end, beside others?"""
    for version in (1, 3, 2):
        assert first_action(player, policy_version=version) == (version, version)
    assert first_action(player) == (3, 3)
    untaught = untrained(SIZE, ACTIONS, [8], seed=0)
    assert first_action(player, policy_version=0)[0] == untaught.act(OBSERVATION, 0, None).action


def test_the_episode_keeps_its_policy_also_when_the_server_does_not(player, served):
    """Does a version act on that is left out meanwhile?"""
    episode = player.start_episode(training_enabled=False, policy_version=1)
    served.server.policies.entries.pop(1)
    assert player.get_action(episode, OBSERVATION) == 1


def test_training_episodes_are_the_newest_policys(player, served):
    """Is a version in a training episode refused, with the way out, and nothing started?"""
    with pytest.raises(InvalidMessage, match="training_enabled=False"):
        player.start_episode(policy_version=1)
    assert not served.book.open


def test_what_is_not_kept_is_said_with_what_is(player, served):
    """Are an episode and a look at a forgotten version refused so that one can choose another?"""
    said = "no policy of version 12 is kept .any more.; there are 0, 1, 2, 3"
    with pytest.raises(PolicyNotKept, match=said):
        player.start_episode(training_enabled=False, policy_version=12)
    for ask in (
        lambda: player.policy(12),
        lambda: player.keep_policy(12, "best"),
        lambda: player.serve_policy(12),
    ):
        with pytest.raises(PolicyNotKept, match=said):
            ask()
    assert not served.book.open


def test_the_weights_of_a_version(player):
    """Are they those that act?"""
    for version in (1, 2, 3):
        snapshot = player.policy(version)
        assert snapshot.version == version
        assert np.argmax(snapshot.layers[-1].bias) == version
    assert player.policy() == player.policy(3)


def test_a_start_that_is_sent_again_is_the_same_one(player, served):
    """Does a lost answer start nothing twice, though the version is forgotten meanwhile?"""
    from serving.protocol import StartEpisode

    message = StartEpisode("x", False, 1, "key")
    for _ in range(2):
        assert player._post("/start_episode", message, "start_episode()") is None
        served.server.policies.entries.pop(1, None)
    assert list(served.book.open) == ["x"]


def test_rolling_back_and_forth(player, served):
    """Does what acts change for everybody at once, and say so; and does learning go on?"""
    kept = player.serve_policy(1)
    assert (kept.acting, kept.newest) == (1, 3)
    assert first_action(player) == (1, 1)
    assert player.status().policy_version == player.policy().version == 1
    served.learner.policy = Policy(4, "action_values", "relu", served.learner.policy.layers)
    served.learner.on_policy(served.learner.policy)
    training = player.start_episode()
    player.get_action(training, OBSERVATION)
    assert player.episode(training).policy_versions == [1]
    kept = player.serve_policy()
    assert (kept.acting, kept.newest) == (4, 4)
    assert first_action(player) == (3, 4)


def test_the_page_shows_how_much_the_policy_that_acts_explores(player, served):
    """Rolled back to a policy of a run that explored otherwise: are its actions' share of chance, in
    the curve as in the status, its own?"""
    layers = [(np.zeros((SIZE, ACTIONS)), np.eye(ACTIONS)[0])]
    bold = Policy(4, "action_values", "relu", layers, exploration=[(0, 0.75)])
    served.learner.on_policy(bold)  # kept; the newest is version 3, which never explores
    play_steps(player, 2, SIZE)
    (row,) = served.server.live.seen().history
    assert row[3] == player.status().exploration == 0.0
    player.serve_policy(4)
    (row,) = served.server.live.seen().history
    assert row[3] == player.status().exploration == 0.75


def test_names(player):
    """Is a named version listed by its names?"""
    player.keep_policy(2, "best")
    player.keep_policy(2, "calm")
    kept = {policy.version: policy.names for policy in player.policies().policies}
    assert kept == {0: [], 1: [], 2: ["best", "calm"], 3: []}
    player.keep_policy(3, "best")
    kept = {policy.version: policy.names for policy in player.policies().policies}
    assert (kept[2], kept[3]) == (["calm"], ["best"])


def evaluated(client: PolicyClient, episodes: int = 5, **options) -> float:
    env, options = cartpole(), {"training_enabled": False, **options}
    returns = [play_episode(client, env, seed, **options) for seed in range(1000, 1000 + episodes)]
    return float(np.mean(returns))


@pytest.mark.slow
def test_one_run_there_and_back(tmp_path):
    """Are the first and the newest policy of a run as far apart as its curve says; does the first
    act after a rollback, also after a restart, until that is undone; and has the newest learned
    nothing less meanwhile?"""
    env = cartpole()
    with RunningServer(4, 2, folder=tmp_path, seed=1) as server:
        client = server.client()
        server.wait_until(lambda status: status.state == "idle", 120, "the learner")
        while len(client.status().returns) < 20 or client.status().mean_return < 100.0:
            play_episode(client, env)  # one episode of 100 steps may be luck
        kept = client.policies()
        curve = [one.mean_return for one in kept.policies if one.mean_return is not None]
        assert kept.policies[0].version == 0 and len(kept.policies) > 10
        assert curve[0] < 40.0 and curve[-1] > 80.0
        first = evaluated(client, policy_version=0)
        newest = evaluated(client, policy_version=kept.newest)
        assert first < 60.0 and newest > 90.0 and newest - first > 0.5 * (curve[-1] - curve[0])
        client.keep_policy(kept.newest, "best")
        client.serve_policy(0)
        assert evaluated(client) == first  # the same seeds, the same greedy policy
        returns = client.status().returns
    with RunningServer(4, 2, folder=tmp_path, learner=False) as server:
        client = server.client()
        said = "policy v0 acts, and none that is newer (--serve-version=newest undoes it)"
        server.wait_until(lambda status: said in server.lines, 10, "the line about the rollback")
        assert client.policies().acting == 0
        assert client.status().returns == returns
        assert evaluated(client) == first
        best = {one.version: one.names for one in client.policies().policies}[kept.newest]
        assert best == ["best"]
        assert evaluated(client, policy_version=kept.newest) == newest
    with RunningServer(4, 2, folder=tmp_path, learner=False, serve_version="best") as server:
        assert server.client().policies().acting == kept.newest
    with RunningServer(4, 2, folder=tmp_path, serve_version="newest") as server:
        client = server.client()
        before = max(one.version for one in client.policies().policies)
        server.wait_until(lambda status: status.state == "idle", 120, "the learner")
        play_steps(client, 50)
        assert client.policies().acting == client.policies().newest > before


def test_a_version_that_is_not_there_is_no_start(tmp_path):
    """Does the command say which versions there are?"""
    server = RunningServer(4, 2, folder=tmp_path, learner=False, serve_version=7)
    with pytest.raises(RuntimeError, match="--serve-version=7: no policy of version 7 is kept"):
        server.start()
    server = RunningServer(4, 2, folder=tmp_path, learner=False, serve_version="beste")
    with pytest.raises(RuntimeError, match="--serve-version=beste: expected a version"):
        server.start()
