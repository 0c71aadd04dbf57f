"""PG and PPO: their updates against torch alone, and what they refuse to learn from."""

from __future__ import annotations

import numpy as np
import pytest
from test_dqn import ACTIONS, SIZE, Learning, distance, learnings  # noqa: F401 - a fixture

from serving.learner.on_policy_batch import advantages
from serving.link import Experience, Stop
from serving.policy import Policy, untrained

RUNS = ["PG", "PPO"]
SMALL = {"batch_size": 60, "minibatch_size": 20, "epochs": 3}


def feed(
    learning: Learning, steps: int, policy: Policy | None = None, name="e", ending=None,
    logged=False, rng=None, reward=None, version=None,
) -> None:  # fmt: skip
    """A fragment of `steps` steps by `policy`, the newest one if none is named."""
    rng = rng or np.random.default_rng(learning.sequence)
    policy = policy or learning.published[-1]
    observations = rng.normal(size=(steps + 1, SIZE)).astype("<f4")
    decisions = [policy.act(observation, 0, rng) for observation in observations[:-1]]
    rewards = np.full(steps, reward) if reward is not None else rng.normal(size=steps)
    learning.sequence += 1
    learning.inbox.put(
        Experience(
            sequence=learning.sequence,
            episode_id=name,
            steps=steps,
            observations=observations.tobytes(),
            actions=np.array([d.action for d in decisions], "<i4").tobytes(),
            rewards=rewards.astype("<f4").tobytes(),
            log_probabilities=np.array([d.log_probability for d in decisions], "<f4").tobytes(),
            versions=np.full(
                steps, policy.version if version is None else version, "<i4"
            ).tobytes(),
            logged=logged,
            ending=ending,
        )
    )


def take_over(learning: Learning) -> None:
    """Without learning."""
    while learning.algorithm._take_over(wait=0.0):
        pass


def learn_batch(learning: Learning) -> dict[str, float]:
    """Lets a full batch be learned; its record."""
    before = len(learning.published)
    for _ in range(100):
        learning.algorithm.training_step(seconds=0.1)
        if len(learning.published) > before:
            return learning.algorithm.take_batches()[-1]
    raise AssertionError(f"{len(learning.algorithm.batch)} steps were not learned from")


@pytest.fixture(params=RUNS)
def a_learning(request, learnings) -> Learning:  # noqa: F811
    learning = learnings(run=request.param, **SMALL)
    learning.algorithm.adopt(untrained(SIZE, ACTIONS, [16], 3, "action_logits"))
    learning.algorithm.publish()
    return learning


# -- the updates -----------------------------------------------------------------------------------


class Oracle:
    """Actor and critic in plain torch, from the papers' formulas."""

    def __init__(self, learning: Learning):
        import torch

        self.settings, self.torch = learning.settings, torch
        state = learning.weights()
        self.parts = {
            "policy": ["encoder.actor_encoder.net.mlp.0", "pi.net.mlp.0"],
            "value": ["encoder.critic_encoder.net.mlp.0", "vf.net.mlp.0"],
        }
        self.weights = {
            f"{name}.{part}": torch.tensor(state[f"{name}.{part}"], requires_grad=True)
            for names in self.parts.values()
            for name in names
            for part in ("weight", "bias")
        }
        rates = {"policy": self.settings.learning_rate, "value": self.settings.value_learning_rate}
        self.adams = {
            part: torch.optim.Adam(self.of(part), lr=rates[part], eps=1e-5) for part in self.parts
        }

    def of(self, part: str) -> list:
        return [w for n, w in self.weights.items() if n.rpartition(".")[0] in self.parts[part]]

    def network(self, part: str, observations):
        first, last = self.parts[part]
        w = self.weights
        hidden = self.torch.tanh(observations @ w[f"{first}.weight"].T + w[f"{first}.bias"])
        return hidden @ w[f"{last}.weight"].T + w[f"{last}.bias"]

    def log_probabilities(self, observations, actions):
        logits = self.network("policy", observations)
        normed = logits - logits.exp().sum(-1, keepdim=True).log()
        return normed[range(len(actions)), actions], -(normed.exp() * normed).sum(-1)

    def step(self, loss, *parts: str) -> None:
        for weights in self.weights.values():
            weights.grad = None
        loss.backward()
        for part in parts:
            norm = sum((w.grad**2).sum() for w in self.of(part)) ** 0.5
            for weights in self.of(part):
                weights.grad *= min(1.0, 0.5 / float(norm))
            self.adams[part].step()

    def learn(self, run: str, columns: dict, rng: np.random.Generator) -> None:
        torch, settings = self.torch, self.settings
        seen = torch.tensor(columns["obs"])
        values = self.network("value", seen).detach().numpy()[:, 0]
        better = advantages(columns, values, settings.gamma, settings.gae_lambda)
        mask = columns["loss_mask"]
        seen, actions = seen[mask], columns["actions"][mask]
        targets = torch.tensor((better + values)[mask])
        better = better[mask]
        better = torch.tensor((better - better.mean()) / better.std())
        before = torch.tensor(columns["action_logp"][mask])

        def value_loss(rows):
            return 0.5 * ((self.network("value", seen[rows])[:, 0] - targets[rows]) ** 2).mean()

        def passes():
            for _ in range(settings.epochs):
                yield from np.array_split(
                    rng.permutation(len(actions)),
                    max(1, round(len(actions) / settings.minibatch_size)),
                )

        if run == "PG":
            everything = np.arange(len(actions))
            taken, entropy = self.log_probabilities(seen, actions)
            loss = -(taken * better).mean() - settings.entropy_bonus * entropy.mean()
            self.step(loss + value_loss(everything), "policy", "value")
            for rows in passes():
                self.step(value_loss(rows), "value")
            return
        for rows in passes():
            taken, entropy = self.log_probabilities(seen[rows], actions[rows])
            ratio = (taken - before[rows]).exp()
            clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
            gain = torch.minimum(ratio * better[rows], clipped * better[rows]).mean()
            loss = value_loss(rows) - gain - settings.entropy_bonus * entropy.mean()
            self.step(loss, "policy", "value")


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("options", [{}, {"entropy_bonus": 0.05, "gae_lambda": 1.0, "epochs": 1}])
def test_updates_are_what_the_papers_say(learnings, run, options):  # noqa: F811
    """Do the weights end up where torch alone takes them, batch after batch?"""
    settings = {**SMALL, "learning_rate": 1e-2, "value_learning_rate": 2e-2, **options}
    learning = learnings(run=run, **settings)
    learning.algorithm.publish()
    oracle, before = Oracle(learning), learning.weights()
    for number in range(4):
        # Large rewards, so that gradients are clipped.
        feed(learning, 33, name=f"{number}a", ending="terminated", reward=10.0 * number - 1.0)
        feed(learning, 17, name=f"{number}b")
        feed(learning, 9, name=f"{number}b", ending="truncated")
        feed(learning, 8, name=f"{number}c")
        take_over(learning)
        algorithm = learning.algorithm
        assert len(algorithm.batch) == 67
        columns = algorithm.batch.columns()
        oracle.learn(run, columns, np.random.default_rng([5, algorithm.counters.updates]))
        algorithm._learn()
        algorithm.publish()
        algorithm.batch.empty(algorithm.env_runner.weights_seq_no)
        after = learning.weights()
        for name, weights in oracle.weights.items():
            np.testing.assert_allclose(after[name], weights.detach(), atol=1e-5, err_msg=name)
    assert all(np.abs(after[name] - before[name]).max() > 1e-3 for name in oracle.weights)


@pytest.mark.parametrize("run", RUNS)
def test_what_pays_becomes_more_probable(learnings, run):  # noqa: F811
    """If one action pays, does the policy come to choose it, and does the return say so?"""
    learning = learnings(run=run, **{**SMALL, "batch_size": 200, "learning_rate": 1e-2})
    learning.algorithm.publish()
    rng = np.random.default_rng(0)
    for number in range(25):
        policy = learning.published[-1]
        observations = rng.normal(size=(201, SIZE)).astype("<f4")
        decisions = [policy.act(seen, 0, rng) for seen in observations[:-1]]
        actions = np.array([d.action for d in decisions], "<i4")
        # Which action pays depends on what is seen.
        paid = (actions == np.where(observations[:-1, 0] > 0, 2, 1)).astype("<f4")
        for step in range(200):
            learning.sequence += 1
            learning.inbox.put(
                Experience(
                    sequence=learning.sequence, episode_id=f"{number}-{step}", steps=1,
                    observations=observations[step : step + 2].tobytes(),
                    actions=actions[step : step + 1].tobytes(),
                    rewards=paid[step : step + 1].tobytes(),
                    log_probabilities=np.array(
                        [decisions[step].log_probability], "<f4").tobytes(),
                    versions=np.array([policy.version], "<i4").tobytes(),
                    logged=False, ending="terminated",
                )
            )  # fmt: skip
        learn_batch(learning)
    assert paid.mean() > 0.75  # 0.25 by chance


@pytest.mark.parametrize(("ending", "worth"), [("terminated", 1.0), ("truncated", 2.0)])
@pytest.mark.parametrize("run", RUNS)
def test_truncation_is_bootstrapped(learnings, run, ending, worth):  # noqa: F811
    """At 1 a step and gamma 0.5, is a terminated end worth 1, and a truncated one 2?"""
    import torch

    learning = learnings(run=run, gamma=0.5, batch_size=20, minibatch_size=20, epochs=20,
                         value_learning_rate=2e-2)  # fmt: skip
    learning.algorithm.publish()
    nothing = np.zeros((2, SIZE), "<f4")
    for batch in range(12):
        for number in range(20):
            learning.sequence += 1
            decision = learning.published[-1].act(nothing[0], 0, np.random.default_rng(number))
            learning.inbox.put(
                Experience(
                    sequence=learning.sequence, episode_id=f"e{batch}-{number}", steps=1,
                    observations=nothing.tobytes(),
                    actions=np.array([decision.action], "<i4").tobytes(),
                    rewards=np.ones(1, "<f4").tobytes(),
                    log_probabilities=np.array([decision.log_probability], "<f4").tobytes(),
                    versions=np.array([learning.published[-1].version], "<i4").tobytes(),
                    logged=False, ending=ending,
                )
            )  # fmt: skip
        learn_batch(learning)
    module = learning.algorithm.learner_group._learner.module["default_policy"].unwrapped()
    with torch.no_grad():
        value = module.compute_values({"obs": torch.zeros(1, SIZE)})
    assert float(value) == pytest.approx(worth, abs=0.15)


def test_a_network_that_is_not_a_number_ends_learning(a_learning):
    """Is a network that has become NaN noticed, instead of served for ever?"""
    import torch

    feed(a_learning, 60)
    module = a_learning.algorithm.learner_group._learner.module["default_policy"].unwrapped()
    with torch.no_grad():
        module.get_parameter("pi.net.mlp.0.weight").fill_(torch.nan)
    with pytest.raises(FloatingPointError):
        learn_batch(a_learning)
    assert all(np.isfinite(w).all() for policy in a_learning.published for w, _ in policy.layers)


# -- from whose steps ------------------------------------------------------------------------------


def test_the_first_policy_is_adopted(a_learning):
    """Does the learner start from the policy that players have met before it was up?"""
    first = untrained(SIZE, ACTIONS, [16], 3, "action_logits")
    seen = np.random.default_rng(0).normal(size=(50, SIZE))
    np.testing.assert_array_equal(a_learning.published[0].values(seen), first.values(seen))
    feed(a_learning, 20, first)
    feed(a_learning, 40)
    record = learn_batch(a_learning)
    assert (record["steps"], record["oldest_version"], record["newest_version"]) == (60, 0, 1)
    assert a_learning.algorithm.counters.outdated_steps == 0


def test_the_importance_ratio_is_one(a_learning):
    """Has the learner's policy, before its first pass, the probabilities that players acted with?"""
    for _ in range(3):
        feed(a_learning, 60)
        record = learn_batch(a_learning)
        assert record["lowest_importance_ratio"] == pytest.approx(1.0, abs=1e-4)
        assert record["highest_importance_ratio"] == pytest.approx(1.0, abs=1e-4)


def test_a_wrong_probability_is_seen(a_learning):
    """Does the ratio in the record differ from 1 if another policy has acted?"""
    other = untrained(SIZE, ACTIONS, [16], 99, "action_logits")
    other.layers[-1] = (other.layers[-1][0] * 100, other.layers[-1][1])
    feed(a_learning, 60, other, version=1)
    assert learn_batch(a_learning)["highest_importance_ratio"] > 1.1


def test_old_steps_are_dropped_and_counted(a_learning):
    """Do steps of an older policy teach nothing, and does a counter say how many there were?"""
    algorithm = a_learning.algorithm
    feed(a_learning, 60)
    learn_batch(a_learning)
    old, before = a_learning.published[0], a_learning.weights()
    feed(a_learning, 500, old, name="old")
    feed(a_learning, 59, name="new")
    for _ in range(3):
        algorithm.training_step(seconds=0.1)
    assert algorithm.counters.outdated_steps == 500
    assert len(algorithm.batch) == 59
    assert distance(before, a_learning.weights()) == 0
    feed(a_learning, 1, name="new")
    record = learn_batch(a_learning)
    assert (record["steps"], record["oldest_version"], record["newest_version"]) == (60, 2, 2)
    assert record["lowest_importance_ratio"] == pytest.approx(1.0, abs=1e-4)


def test_logged_steps_teach_nothing(a_learning):
    """Do any number of logged steps change no weight, hold nobody up, and get counted?"""
    algorithm, before = a_learning.algorithm, a_learning.weights()
    allowed = algorithm.allowed
    for number in range(20):
        feed(a_learning, 100, name=f"log{number}", logged=True, ending="terminated")
    while not a_learning.inbox.empty():
        algorithm.training_step(seconds=0.1)
    counters = algorithm.counters
    assert counters.unlearnable_steps == counters.logged_steps == counters.env_steps == 2_000
    assert (counters.updates, counters.outdated_steps, counters.episodes) == (0, 0, 20)
    assert distance(before, a_learning.weights()) == 0
    assert (algorithm.allowed, algorithm.owed) == (allowed, 0)


def test_logged_steps_between_the_policys_own(a_learning):
    """Are the policy's own steps of a mixed episode learned from, and only they?"""
    feed(a_learning, 30, name="mixed")
    feed(a_learning, 30, name="mixed", logged=True)
    feed(a_learning, 30, name="mixed", ending="terminated")
    take_over(a_learning)
    columns = a_learning.algorithm.batch.columns()
    assert len(columns["obs"]) == 62 and columns["loss_mask"].sum() == 60
    assert not columns["loss_mask"][30]
    assert learn_batch(a_learning)["steps"] == 60


# -- how far acting may go -------------------------------------------------------------------------


def test_acting_stops_when_the_batch_is_full(a_learning):
    """May the policy act until the batch is full, and on as soon as it was learned from?"""
    algorithm = a_learning.algorithm
    assert algorithm.allowed == 60 == a_learning.settings.first_allowance
    feed(a_learning, 45)
    take_over(a_learning)
    assert (algorithm.allowed, algorithm.owed) == (60, 45)
    feed(a_learning, 17)  # two clients were one step ahead
    take_over(a_learning)
    assert (algorithm.allowed, algorithm.owed) == (62, 62)  # nobody may act now
    algorithm._learn()
    algorithm.publish()
    algorithm.batch.empty(2)
    assert (algorithm.allowed, algorithm.owed) == (122, 0)
    feed(a_learning, 10, a_learning.published[0])  # too old: room for as many more
    take_over(a_learning)
    assert algorithm.allowed == 132


def test_a_batch_that_nobody_adds_to_is_not_owed(a_learning):
    """Is learning idle when players stop in the middle of a batch?"""
    feed(a_learning, 30)
    take_over(a_learning)
    assert a_learning.algorithm.owed == 30
    for _ in range(3):
        a_learning.algorithm.training_step(seconds=0.5)
    assert a_learning.algorithm.owed == 0
    assert a_learning.algorithm.allowed == 60  # the batch is still there


def test_more_open_episodes_than_steps_in_a_batch(a_learning):
    """With hundreds of clients, each with a step of the older policy, does learning go on?"""
    algorithm, acted, waiting = a_learning.algorithm, 0, {}
    for _ in range(60):  # as the server does: an asking client completes its latest step
        for client in range(300):
            if acted >= algorithm.allowed:
                break
            name, policy = f"c{client}", a_learning.published[-1]
            if name in waiting:
                feed(a_learning, 1, waiting[name], name=name)
                acted += 1
            waiting[name] = policy
        algorithm.training_step(seconds=0.05)
    assert algorithm.counters.updates > 0
    assert algorithm.counters.outdated_steps > 0
    assert acted == algorithm.counters.acted


def test_taking_over_ends_when_the_server_stops(a_learning):
    """Is everything taken over that came before the word to stop?"""
    policy = a_learning.published[0]
    for number in range(10):
        feed(a_learning, 500, policy, name=f"e{number}", ending="terminated")
    a_learning.inbox.put(Stop())
    for _ in range(100):
        if a_learning.algorithm.env_runner.ended:
            break
        a_learning.algorithm.training_step(seconds=0.1)
    counters = a_learning.algorithm.counters
    assert counters.env_steps == 5_000 == counters.acted
    assert counters.outdated_steps > 0  # what came after the first update


# -- going on --------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", RUNS)
def test_a_restored_algorithm_goes_on_exactly(learnings, tmp_path, run):  # noqa: F811
    """Does an algorithm saved in the middle of a batch end up like one that never stopped?"""
    never_stopped = learnings(run=run, **SMALL)
    never_stopped.algorithm.publish()
    for _ in range(2):
        feed(never_stopped, 60)
        learn_batch(never_stopped)
    feed(never_stopped, 25, name="open")
    take_over(never_stopped)
    never_stopped.algorithm.save(tmp_path / "learner.npz")
    restored = learnings(run=run, **{**SMALL, "seed": 5})
    restored.algorithm.load(tmp_path / "learner.npz")
    assert distance(restored.weights(), never_stopped.weights()) == 0
    assert restored.algorithm.counters == never_stopped.algorithm.counters
    restored.sequence = never_stopped.sequence
    restored.algorithm.publish()  # as a learner does when it starts
    assert restored.published[-1].version == never_stopped.published[-1].version + 1
    for learning in (never_stopped, restored):
        feed(learning, 40, name="open", ending="terminated")
        record = learn_batch(learning)
        assert record["steps"] == 65
        feed(learning, 60)
        learn_batch(learning)
    assert distance(restored.weights(), never_stopped.weights()) == 0
    ours, theirs = restored.algorithm, never_stopped.algorithm
    assert ours.counters == theirs.counters
    assert (ours.owed, ours.allowed) == (theirs.owed, theirs.allowed)


def test_versions_of_a_learner_that_died_are_not_mistaken(a_learning, tmp_path):
    """After a crash, are steps of the dead learner's policies dropped, and the checkpoint's kept?"""
    algorithm = a_learning.algorithm
    feed(a_learning, 25)
    take_over(a_learning)
    algorithm.save(tmp_path / "learner.npz")  # version 1
    algorithm.load(tmp_path / "learner.npz")
    algorithm.env_runner.weights_seq_no = 4  # players had met 2, 3 and 4 of the one that died
    algorithm.publish()
    assert a_learning.published[-1].version == 5
    for version in (1, 2, 3, 4, 5):
        feed(a_learning, 5, version=version, name=f"v{version}")
    take_over(a_learning)
    assert len(algorithm.batch) == 25 + 5 + 5
    assert algorithm.counters.outdated_steps == 15


def test_train_reports_like_any_algorithm(a_learning):
    """Does `train()` give RLlib's usual results: steps sampled, losses?"""
    feed(a_learning, 60, ending="terminated")
    result = a_learning.algorithm.train()
    assert result["env_runners"]["num_env_steps_sampled_lifetime"] == 60
    assert np.isfinite(result["learners"]["default_policy"]["policy_loss"])
    assert result["learners"]["default_policy"]["entropy"] == pytest.approx(np.log(4), abs=0.05)
