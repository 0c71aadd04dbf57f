"""The policy as matrices, against the RLModule it was taken from and against torch."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess

import msgspec
import numpy as np
import pytest

from serving import ROOT
from serving.evaluation import frozen_policy
from serving.policy import Policy, PolicySnapshot, untrained
from serving.settings import settings_for

OFFERED = [(64,), (128, 128), (256, 256), (32, 32, 32), (1,), (7, 300)]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def observations(rng, size: int) -> np.ndarray:
    """Of many magnitudes, for a policy meets what the environment has."""
    return np.float32(rng.normal(size=(500, size)) * 10 ** rng.uniform(-3, 3, size=(500, 1)))


# -- against RLlib ---------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", OFFERED, ids=str)
@pytest.mark.parametrize(("size", "actions"), [(4, 2), (8, 3)], ids=["4-2", "8-3"])
def test_the_numpy_policy_is_the_rl_module(rllib, rng, hidden, size, actions):
    """Does the published policy compute the RLModule's action values, for each shape?"""
    import torch

    from serving.learner.algorithms import config_for

    settings = settings_for("DQN", hidden=hidden, seed=3)
    algorithm = config_for("DQN", settings, size, actions).build_algo()
    try:
        module = algorithm.learner_group._learner.module["default_policy"].unwrapped()
        with torch.no_grad():  # biases that are not 0, and heads that differ
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        published = []
        algorithm.env_runner.connect(
            queue.SimpleQueue(),
            lambda state, version: published.append(algorithm.policy(state, version)),
        )
        algorithm.publish()
        (policy,) = published
        seen = observations(rng, size)
        with torch.no_grad():
            expected = module.compute_q_values({"obs": torch.from_numpy(seen)})["qf_preds"].numpy()
            greedy = module.forward_inference({"obs": torch.from_numpy(seen)})["actions"].numpy()
        assert policy.values(seen).shape == expected.shape == (500, actions)
        scale = np.maximum(1.0, np.abs(seen).max(axis=1, keepdims=True))
        assert (np.abs(policy.values(seen) - expected) / scale).max() < 1e-5
        clear = np.diff(np.sort(expected)[:, -2:])[:, 0] > 1e-4 * np.abs(expected).max(axis=1)
        assert clear.mean() > 0.9
        for k in np.flatnonzero(clear):
            assert policy.act(seen[k], 0, None).action == greedy[k]
        assert (policy.observation_size, policy.action_size) == (size, actions)
        assert policy.exploration(0) == 1.0
        assert policy.exploration(10**9) == settings.exploration_final
    finally:
        algorithm.stop()


@pytest.mark.parametrize("hidden", OFFERED, ids=str)
@pytest.mark.parametrize("run", ["PG", "PPO"])
def test_the_numpy_policy_has_the_actors_logits(rllib, rng, run, hidden):
    """Does the published policy compute the actor's logits, and greedily take the same action?"""
    import torch

    from serving.learner.algorithms import config_for

    algorithm = config_for(run, settings_for(run, hidden=hidden, seed=3), 8, 3).build_algo()
    try:
        module = algorithm.learner_group._learner.module["default_policy"].unwrapped()
        with torch.no_grad():  # biases that are not 0
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        published = []
        algorithm.env_runner.connect(
            queue.SimpleQueue(),
            lambda state, version: published.append(algorithm.policy(state, version)),
        )
        algorithm.publish()
        (policy,) = published
        seen = observations(rng, 8)
        with torch.no_grad():
            out = module.forward_inference({"obs": torch.from_numpy(seen)})
        expected = out["action_dist_inputs"].numpy()
        assert policy.kind == "action_logits"
        assert policy.values(seen).shape == expected.shape == (500, 3)
        np.testing.assert_allclose(policy.values(seen), expected, rtol=1e-5, atol=1e-5)
        adopted = config_for(run, settings_for(run, hidden=hidden, seed=4), 8, 3).build_algo()
        try:
            adopted.adopt(policy)
            weights = adopted.learner_group.get_weights()["default_policy"]
            again = adopted.policy(weights, 1)
        finally:
            adopted.stop()
        np.testing.assert_array_equal(again.values(seen), policy.values(seen))
    finally:
        algorithm.stop()


def test_an_untrained_policy_prefers_nothing(rng):
    """Does a policy gradient start from actions that are all about as probable?"""
    policy = untrained(4, 3, [64, 64], 5, "action_logits")
    assert np.abs(policy.values(rng.normal(size=(100, 4)))).max() < 0.1
    assert (policy.version, policy.kind, policy.exploration(0)) == (0, "action_logits", 0.0)


def test_greedy_actions_are_those_of_the_averaged_weights(rng):
    """Does an evaluation act by the average, an exploring player by the newest weights?"""
    newest, average = untrained(4, 2, [8], seed=1), untrained(4, 2, [8], seed=2)
    both = Policy(7, "action_values", "relu", newest.layers, averaged=average.layers)
    copies = [both, Policy.unpack(msgspec.msgpack.decode(msgspec.msgpack.encode(both.pack())))]
    seen = observations(rng, 4)
    differ = newest.values(seen).argmax(1) != average.values(seen).argmax(1)
    assert differ.sum() > 50
    for policy in copies:
        for observation in seen[differ]:
            greedy = policy.act(observation, 0, None)
            assert (greedy.values == average.values(observation)).all()
            exploring = policy.act(observation, 0, rng)
            assert exploring.action == newest.act(observation, 0, None).action != greedy.action
            assert (exploring.values == newest.values(observation)).all()
    assert both.snapshot().layers == average.snapshot().layers


# -- against torch ---------------------------------------------------------------------------------


def random_layers(rng, sizes):
    return [
        (rng.normal(size=(a, b)) / np.sqrt(a), rng.normal(size=b)) for a, b in zip(sizes, sizes[1:])
    ]


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_both_activations(rng, activation):
    """Is the network what torch says a multi-layer perceptron is?"""
    import torch

    layers = random_layers(rng, [5, 16, 9, 4])
    policy = Policy(1, "action_logits", activation, layers)
    parts = []
    for weights, bias in layers:
        linear = torch.nn.Linear(*weights.shape)
        linear.weight.data = torch.tensor(weights.T, dtype=torch.float32)
        linear.bias.data = torch.tensor(bias, dtype=torch.float32)
        parts += [linear, torch.nn.ReLU() if activation == "relu" else torch.nn.Tanh()]
    network, seen = torch.nn.Sequential(*parts[:-1]), observations(rng, 5)
    expected = network(torch.from_numpy(seen)).detach().numpy()
    np.testing.assert_allclose(policy.values(seen), expected, rtol=1e-5, atol=1e-5)
    one = policy.act(seen[0].tolist(), 0, None)
    assert one.values.shape == (4,)
    assert one.action == expected[0].argmax()


# -- acting ----------------------------------------------------------------------------------------


DRAWS = 20_000


def frequencies(policy: Policy, observation, env_steps: int, rng):
    decisions = [policy.act(observation, env_steps, rng) for _ in range(DRAWS)]
    counts = np.bincount([d.action for d in decisions], minlength=policy.action_size)
    return counts / DRAWS, decisions


@pytest.mark.parametrize(
    ("env_steps", "epsilon"), [(0, 1.0), (500, 0.55), (1_000, 0.1), (10**6, 0.1)]
)
def test_exploring_with_action_values(rng, env_steps, epsilon):
    """Are actions random as often as the schedule says, and their probabilities true?"""
    policy = Policy(
        1, "action_values", "relu", random_layers(rng, [3, 8, 4]), [(0, 1), (1_000, 0.1)]
    )
    seen = rng.normal(size=3)
    best = int(policy.values(seen).argmax())
    assert policy.exploration(env_steps) == pytest.approx(epsilon)
    found, decisions = frequencies(policy, seen, env_steps, rng)
    expected = np.full(4, epsilon / 4)
    expected[best] += 1 - epsilon
    np.testing.assert_allclose(found, expected, atol=4 * np.sqrt(0.25 / DRAWS))
    for decision in decisions[:500]:
        assert decision.greedy == (decision.action == best)
        assert np.exp(decision.log_probability) == pytest.approx(expected[decision.action])


def test_exploring_with_logits(rng):
    """Are actions drawn from the softmax, with their true log-probability?"""
    policy = Policy(1, "action_logits", "tanh", random_layers(rng, [3, 8, 4]))
    seen = rng.normal(size=3)
    logits = policy.values(seen).astype(float)
    expected = np.exp(logits) / np.exp(logits).sum()
    found, decisions = frequencies(policy, seen, 0, rng)
    np.testing.assert_allclose(found, expected, atol=4 * np.sqrt(0.25 / DRAWS))
    for decision in decisions[:500]:
        assert np.exp(decision.log_probability) == pytest.approx(
            expected[decision.action], rel=1e-4
        )
        assert decision.greedy == (decision.action == logits.argmax())


@pytest.mark.parametrize("kind", ["action_values", "action_logits"])
def test_greedy_is_greedy(rng, kind):
    """Without a random generator, is the action always the best one?"""
    policy = Policy(1, kind, "relu", random_layers(rng, [3, 8, 4]), [(0, 1.0)])
    for seen in observations(rng, 3):
        decision = policy.act(seen, 0, None)
        assert decision.action == policy.values(seen).argmax()
        assert (decision.greedy, decision.log_probability) == (True, 0.0)
        assert type(decision.action) is int


def test_the_schedule_is_linear_between_its_points(rng):
    """Is exploration what a person reads from its points?"""
    policy = Policy(
        1, "action_values", "relu", random_layers(rng, [1, 1]), [(0, 1), (100, 0.5), (300, 0.1)]
    )
    for steps, expected in ((0, 1.0), (50, 0.75), (100, 0.5), (200, 0.3), (300, 0.1), (10**9, 0.1)):
        assert policy.exploration(steps) == pytest.approx(expected)


def test_huge_observations_do_not_break_it(rng):
    """Does the largest number the server accepts still give an action?"""
    policy = untrained(4, 2, [128, 128])
    for seen in ([1e6] * 4, [-1e6] * 4, [0.0] * 4, [1e-45] * 4):
        assert np.isfinite(policy.act(seen, 0, rng).values).all()


# -- round trips -----------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", OFFERED, ids=str)
@pytest.mark.parametrize("kind", ["action_values", "action_logits"])
def test_packed_and_unpacked(rng, hidden, kind):
    """Does a policy come out of a socket or a file to the last bit as it went in?"""
    points = [(0, 1.0), (2_000, 0.02)]
    policy = Policy(7, kind, "tanh", random_layers(rng, [4, *hidden, 3]), points)
    packed = msgspec.msgpack.decode(msgspec.msgpack.encode(policy.pack()))
    again = Policy.unpack(packed)
    seen = observations(rng, 4)
    assert (again.values(seen) == policy.values(seen)).all()
    assert (again.version, again.kind, again.activation) == (7, kind, "tanh")
    assert again.exploration_points == points


@pytest.mark.parametrize("hidden", OFFERED, ids=str)
def test_as_json(rng, hidden):
    """Does a page that reads the JSON snapshot get the same numbers, to the last bit of float32?"""
    policy = Policy(
        7, "action_values", "relu", random_layers(rng, [4, *hidden, 3]), [(0, 1), (9, 0.5)]
    )
    snapshot = msgspec.json.decode(msgspec.json.encode(policy.snapshot()), type=PolicySnapshot)

    class Client:
        def policy(self) -> PolicySnapshot:
            return snapshot

    again, seen = frozen_policy(Client()), observations(rng, 4)
    assert (again.values(seen) == policy.values(seen)).all()
    assert (again.version, again.kind, again.activation) == (7, "action_values", "relu")
    assert again.exploration_points == policy.exploration_points
    for layer, (weights, bias) in zip(snapshot.layers, policy.layers):
        assert np.shape(layer.weights) == weights.shape
        assert np.shape(layer.bias) == bias.shape


def test_the_untrained_policy(rng):
    """Does the first policy explore always, repeat with its seed, and not favour one action?"""
    policy = untrained(4, 3, [64])
    assert policy.version == 0
    assert policy.exploration(10**9) == 1.0
    seen = observations(rng, 4)
    assert (policy.values(seen) == untrained(4, 3, [64], seed=0).values(seen)).all()
    assert (policy.values(seen) != untrained(4, 3, [64], seed=1).values(seen)).any()


# -- in the page -----------------------------------------------------------------------------------

ACT_IN_JAVASCRIPT = """
import { readFileSync } from "node:fs";
const source = readFileSync(process.argv[2], "utf8");
const { Policy } = await import("data:text/javascript," + encodeURIComponent(source));
const { snapshot, observations, draws } = JSON.parse(readFileSync(0, "utf8"));
const policy = new Policy(snapshot);
const drawn = Array(snapshot.layers.at(-1).bias.length).fill(0);
for (let i = 0; i < draws; i++) drawn[policy.act(observations[0], true).action]++;
const greedy = observations.map((observation) => policy.act(observation));
console.log(JSON.stringify({ greedy, drawn }));
"""


def test_javascript_acts_on_logits_as_the_server_does(rng, tmp_path):
    """Does the page's policy have the same logits, and draw actions as often as the softmax says?"""
    node = shutil.which("node")
    if node is None and not os.environ.get("CI"):
        pytest.skip("node is not installed")
    policy = Policy(5, "action_logits", "tanh", random_layers(rng, [8, 32, 32, 3]))
    seen = rng.uniform(-2, 2, (200, 8)).astype(np.float32)
    (tmp_path / "act.mjs").write_text(ACT_IN_JAVASCRIPT)
    question = {
        "snapshot": msgspec.to_builtins(policy.snapshot()),
        "observations": seen.tolist(),
        "draws": DRAWS,
    }
    done = subprocess.run(
        [node or "node", str(tmp_path / "act.mjs"),
         str(ROOT / "serving" / "javascript-pong" / "static" / "policy.js")],
        input=json.dumps(question), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout)
    values = np.array([decision["values"] for decision in answer["greedy"]])
    np.testing.assert_allclose(values, policy.values(seen), atol=1e-5)
    actions = [decision["action"] for decision in answer["greedy"]]
    assert actions == policy.values(seen).argmax(1).tolist()
    logits = policy.values(seen[0])
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(np.array(answer["drawn"]) / DRAWS, expected, atol=0.02)
