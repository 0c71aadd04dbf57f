"""Learning, against RLlib's own learner and against arithmetic."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from serving.link import Experience, Stop
from serving.policy import Policy
from serving.settings import settings_for

SIZE, ACTIONS = 3, 4


class Learning:
    """An algorithm of ours with the ends that are the policy server's otherwise."""

    def __init__(self, size: int = SIZE, actions: int = ACTIONS, run: str = "DQN", **options):
        from serving.learner.algorithms import config_for

        self.settings = settings_for(run, **{"hidden": (16,), "seed": 5, **options})
        self.algorithm = config_for(run, self.settings, size, actions).build_algo()
        self.inbox: queue.SimpleQueue = queue.SimpleQueue()
        self.published: list[Policy] = []
        self.sequence = 0
        self.size, self.actions = size, actions
        self.algorithm.env_runner.connect(self.inbox, self._publish)

    def _publish(self, state: dict, version: int) -> None:
        self.published.append(self.algorithm.policy(state, version))

    def feed(self, steps: int, ending=None, logged=False, name="e", rng=None, reward=None) -> None:
        """A fragment of random steps."""
        rng = rng or np.random.default_rng(self.sequence)
        self.sequence += 1
        observations = rng.normal(size=(steps + 1, self.size)).astype("<f4")
        rewards = np.full(steps, reward) if reward is not None else rng.normal(size=steps)
        self.inbox.put(
            Experience(
                sequence=self.sequence,
                episode_id=name,
                steps=steps,
                observations=observations.tobytes(),
                actions=rng.integers(self.actions, size=steps).astype("<i4").tobytes(),
                rewards=rewards.astype("<f4").tobytes(),
                log_probabilities=np.zeros(steps, "<f4").tobytes(),
                versions=np.zeros(steps, "<i4").tobytes(),
                logged=logged,
                ending=ending,
            )
        )

    def learn(self, rounds: int = 200) -> None:
        """Until all is learned from that came."""
        for _ in range(rounds):
            self.algorithm.training_step(seconds=0.2)
            if self.inbox.empty() and self.algorithm.owed == 0:
                return
        raise AssertionError(f"{self.algorithm.owed} steps are still owed")

    def weights(self) -> dict[str, np.ndarray]:
        module = self.algorithm.learner_group._learner.module["default_policy"].unwrapped()
        return {name: value.numpy(force=True).copy() for name, value in module.state_dict().items()}


@pytest.fixture
def learnings(rllib) -> Iterator[Callable[..., Learning]]:
    made = []

    def make(**options) -> Learning:
        made.append(Learning(**options))
        return made[-1]

    yield make
    for learning in made:
        learning.algorithm.stop()


def distance(first: dict, second: dict) -> float:
    assert first.keys() == second.keys()
    return max(float(np.abs(first[name] - second[name]).max()) for name in first)


# -- the learner -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("hidden", "batch_size", "target_period", "target_rate"), [
    ((16,), 8, 5, 0.3), ((32, 32), 64, 32, 0.1), ((64,), 16, 1, 1.0),
])  # fmt: skip
def test_a_round_of_minibatches_is_rllibs_own_update(
    learnings, hidden, batch_size, target_period, target_rate
):
    """Do weights and targets end up where RLlib's own DQN learner takes them?"""
    import torch
    from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
    from ray.rllib.core.learner.training_data import TrainingData
    from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

    from serving.learner import dqn

    learning = learnings(
        hidden=hidden, batch_size=batch_size, target_period=target_period, target_rate=target_rate
    )
    ours = learning.algorithm.learner_group._learner
    (group,) = ours.get_optimizer("default_policy").param_groups

    class Oracle(DQNTorchLearner):
        def configure_optimizers_for_module(self, module_id, config=None):
            parameters = self.get_parameters(self._module[module_id])
            adam = torch.optim.Adam(parameters, eps=group["eps"], betas=group["betas"])
            self.register_optimizer(
                module_id=module_id, optimizer=adam, params=parameters, lr_or_lr_schedule=config.lr
            )

    config = learning.algorithm.config.copy(copy_frozen=False)
    config.learners(learner_class=Oracle)
    config.training(grad_clip=dqn.GRADIENT_NORM, grad_clip_by="global_norm")
    spaces = {"default_policy": (config.observation_space, config.action_space)}
    oracle = config.build_learner(spaces=spaces)
    oracle.module["default_policy"].unwrapped().load_state_dict(
        ours.module["default_policy"].unwrapped().state_dict()
    )

    rng, updates, rounds = np.random.default_rng(0), 0, [1, 16, 7, 32]
    before = learning.weights()
    for round_ in rounds:
        rows = round_ * batch_size
        columns = {
            "obs": torch.tensor(rng.normal(size=(rows, SIZE)), dtype=torch.float32),
            "new_obs": torch.tensor(rng.normal(size=(rows, SIZE)), dtype=torch.float32),
            "actions": torch.tensor(rng.integers(ACTIONS, size=rows)),
            # Large ones now and then, so that the gradient is clipped.
            "rewards": torch.tensor(rng.normal(size=rows) * rng.choice([1, 1e4], rows),
                                    dtype=torch.float32),
            "terminateds": torch.tensor(rng.random(rows) < 0.2),
            "n_step": torch.tensor(rng.integers(1, 4, rows), dtype=torch.float32),
            "weights": torch.ones(rows),
        }  # fmt: skip

        def batch(first, stop, columns=columns):
            part = {name: column[first:stop].clone() for name, column in columns.items()}
            return MultiAgentBatch({"default_policy": SampleBatch(part)}, env_steps=stop - first)

        for k in range(round_):
            oracle.update(
                training_data=TrainingData(batch=batch(k * batch_size, (k + 1) * batch_size)),
                timesteps={"num_env_steps_sampled_lifetime": updates + k + 1},
            )
        updates += round_
        learning.algorithm.learner_group.update(
            batch=batch(0, rows),
            minibatch_size=batch_size,
            timesteps={"num_env_steps_sampled_lifetime": updates},
        )
        expected = {
            name: value.numpy(force=True)
            for name, value in oracle.module["default_policy"].unwrapped().state_dict().items()
        }
        assert distance(learning.weights(), expected) < 1e-5
    after = learning.weights()
    moved = {
        name: float(np.abs(after[name] - before[name]).max())
        for name in before
        if name.endswith(("weight", "bias"))
    }
    assert any("target" in name for name in moved)
    assert min(moved.values()) > 1e-4, moved


def test_a_loss_that_is_not_a_number_ends_learning(learnings):
    """Is a network that has become NaN noticed, instead of served for ever?"""
    import torch

    learning = learnings(learning_starts=0)
    module = learning.algorithm.learner_group._learner.module["default_policy"].unwrapped()
    with torch.no_grad():
        next(iter(module.parameters())).fill_(torch.nan)
    learning.feed(100, "terminated")
    with pytest.raises(FloatingPointError):
        learning.learn()
    assert all(np.isfinite(w).all() for policy in learning.published for w, _ in policy.layers)


@pytest.mark.parametrize(("ending", "worth"), [("terminated", 1.0), ("truncated", 2.0)])
def test_truncation_is_bootstrapped(learnings, ending, worth):
    """At 1 a step and gamma 0.5, is a terminated end worth 1, and a truncated one 2?"""
    learning = learnings(gamma=0.5, learning_starts=0, learning_rate=3e-3, updates_per_step=10,
                         target_rate=0.5, target_period=8)  # fmt: skip
    nothing = np.zeros((2, SIZE), "<f4")
    for number in range(120):
        learning.sequence += 1
        learning.inbox.put(
            Experience(
                sequence=learning.sequence, episode_id=f"e{number}", steps=1,
                observations=nothing.tobytes(),
                actions=np.array([number % ACTIONS], "<i4").tobytes(),
                rewards=np.ones(1, "<f4").tobytes(),
                log_probabilities=np.zeros(1, "<f4").tobytes(),
                versions=np.zeros(1, "<i4").tobytes(), logged=False, ending=ending,
            )
        )  # fmt: skip
    learning.learn()
    assert learning.algorithm.counters.updates == 1_200
    np.testing.assert_allclose(learning.published[-1].values(nothing[0]), worth, atol=0.15)


# -- how much is learned ---------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.25, 0.5, 1.0, 0.3, 2.0])
def test_updates_per_step(learnings, ratio):
    """Is each step learned from as often as was asked for, whatever chunks it comes in?"""
    learning = learnings(updates_per_step=ratio, learning_starts=100, batch_size=4)
    rng, steps = np.random.default_rng(3), 0
    for number in range(30):
        chunk = int(rng.integers(1, 40))
        learning.feed(chunk, "terminated" if number % 3 == 2 else None, logged=number % 7 == 0)
        steps += chunk
    learning.learn()
    counters = learning.algorithm.counters
    assert counters.env_steps == steps
    assert counters.updates == pytest.approx(ratio * (steps - 100), abs=1.01)
    assert counters.consumed == 30
    assert counters.episodes == 10
    assert learning.algorithm.owed == 0
    assert learning.published[-1].version == len(learning.published)


def test_learning_stops_when_there_is_nothing_new(learnings):
    """Are no updates made for steps that were learned from already?"""
    learning = learnings(learning_starts=0)
    learning.feed(100, "terminated")
    learning.learn()
    updates = learning.algorithm.counters.updates
    assert updates > 0
    for _ in range(3):
        learning.algorithm.training_step(seconds=0.2)
    assert learning.algorithm.counters.updates == updates


def test_a_part_of_an_update_is_not_owed(learnings):
    """Is learning idle after an odd number of steps at half an update each?"""
    learning = learnings(learning_starts=0, updates_per_step=0.5)
    learning.feed(101, "terminated")
    learning.learn()
    assert learning.algorithm.owed == 0
    assert learning.algorithm.counters.updates == 50
    learning.feed(1, "terminated", name="f")
    learning.learn()
    assert learning.algorithm.counters.updates == 51


def test_how_far_acting_may_run_ahead(learnings):
    """May the policy act `slack` steps ahead of learning, after the first free ones?"""
    learning = learnings(learning_starts=100, slack=10, updates_per_step=0.5)
    algorithm = learning.algorithm
    assert algorithm.allowed == 110 == learning.settings.first_allowance
    learning.feed(60)
    algorithm._take_over(wait=0.0)
    assert algorithm.allowed == 110
    learning.feed(50)
    algorithm._take_over(wait=0.0)
    assert algorithm.counters.acted == 110
    assert algorithm.owed == 10
    assert algorithm.allowed == 110  # nobody may act on before something was learned
    learning.learn()
    assert algorithm.allowed == 120
    learning.feed(500, logged=True, name="log")
    algorithm._take_over(wait=0.0)
    assert algorithm.owed == 500
    assert algorithm.allowed == 120  # logged steps make nobody wait
    learning.learn()
    assert algorithm.allowed == 120


def test_acted_steps_are_paid_before_logged_ones(learnings):
    """Does a player not have to wait for a large log to be learned from first?"""
    learning = learnings(learning_starts=0, slack=10, updates_per_step=1.0)
    algorithm = learning.algorithm
    learning.feed(2_000, "terminated", logged=True, name="log")
    learning.feed(16, name="acted")
    while algorithm.counters.acted < 16:
        algorithm._take_over(wait=0.0)
    assert algorithm.allowed == 16 + 10 - 16
    algorithm._learn(16)
    assert algorithm.allowed == 16 + 10
    assert algorithm.owed == 2_000


def test_many_open_episodes_with_few_steps(learnings):
    """Do hundreds of episodes too short for any n-step return neither break nor block it?"""
    learning = learnings(learning_starts=100, n_step=3, updates_per_step=1.0, slack=10)
    for number in range(300):
        learning.feed(2, name=f"e{number}")
    for _ in range(3):
        learning.algorithm.training_step(seconds=0.1)
    algorithm = learning.algorithm
    assert len(algorithm.replay) == 0
    assert algorithm.allowed >= algorithm.counters.acted + 10
    for number in range(300):
        learning.feed(1, "terminated", name=f"e{number}")
    learning.learn()
    assert algorithm.counters.updates == 800


def test_an_ending_without_a_step(learnings):
    """Is the end of an abandoned episode, which comes without a step, taken for what it is?"""
    learning = learnings(learning_starts=0, n_step=5)
    learning.feed(3, name="e")
    learning.feed(0, "truncated", name="e")
    learning.learn()
    assert len(learning.algorithm.replay) == 3
    assert not learning.algorithm.replay.columns["terminateds"][:3].any()
    assert learning.algorithm.counters.episodes == 1
    assert learning.algorithm.counters.env_steps == 3


def test_taking_over_ends_when_the_server_stops(learnings):
    """Is everything taken over that came before the word to stop?"""
    learning = learnings(learning_starts=10_000)
    for number in range(50):
        learning.feed(100, "terminated", name=f"e{number}")
    learning.inbox.put(Stop())
    while not learning.algorithm.env_runner.ended:
        learning.algorithm.training_step(seconds=0.2)
    assert learning.algorithm.counters.env_steps == 5_000
    assert isinstance(learning.algorithm.env_runner.ended, Stop)


# -- going on --------------------------------------------------------------------------------------


def test_evaluations_meet_the_average_of_the_latest_weights(learnings):
    """Are the averaged weights what their definition says, from all policies published?"""
    from serving.learner.dqn import AVERAGED_UPDATES, ROUND

    learning = learnings(learning_starts=0, batch_size=8)
    learning.feed(8 * ROUND, "terminated")
    learning.learn()
    assert learning.algorithm.counters.updates == 4 * ROUND  # in whole rounds
    share = 1 - np.exp(-ROUND / AVERAGED_UPDATES)
    expected, *others = [policy.layers for policy in learning.published]
    assert len(others) == 3
    for layers in others:
        expected = [
            [(1 - share) * old + share * new for old, new in zip(*parts)]
            for parts in zip(expected, layers)
        ]
    newest = learning.published[-1]
    for (weights, bias), (of_weights, of_bias) in zip(newest.averaged, expected):
        np.testing.assert_allclose(weights, of_weights, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(bias, of_bias, rtol=1e-5, atol=1e-7)
    assert np.abs(newest.averaged[0][0] - newest.layers[0][0]).max() > 1e-4


@pytest.mark.parametrize("capacity", [10_000, 100], ids=["roomy", "full"])
def test_a_restored_algorithm_goes_on_exactly(learnings, tmp_path, capacity):
    """Does an algorithm saved and loaded end up exactly like one that never stopped?"""
    options = {"learning_starts": 50, "target_period": 7, "target_rate": 0.5, "batch_size": 8,
               "replay_capacity": capacity}  # fmt: skip
    never_stopped = learnings(**options)
    for number in range(10):
        never_stopped.feed(30, "terminated" if number % 2 else None)
    never_stopped.feed(5)  # an open episode
    never_stopped.learn()
    never_stopped.algorithm.save(tmp_path / "learner.npz")
    restored = learnings(**{**options, "seed": 99})
    assert distance(restored.weights(), never_stopped.weights()) > 0.01
    restored.algorithm.load(tmp_path / "learner.npz")
    assert distance(restored.weights(), never_stopped.weights()) == 0
    restored.sequence = never_stopped.sequence
    for learning in (never_stopped, restored):
        for number in range(12):
            learning.feed(25, "truncated" if number % 2 == 0 else None)
        learning.learn()
    ours, theirs = restored.algorithm, never_stopped.algorithm
    assert distance(restored.weights(), never_stopped.weights()) == 0
    assert ours.counters == theirs.counters
    assert ours.counters.env_steps == 10 * 30 + 5 + 12 * 25
    assert (ours.owed, ours.allowed) == (theirs.owed, theirs.allowed)
    assert len(ours.replay) == len(theirs.replay)
    expected = theirs.replay.sample(2_000, np.random.default_rng(0))
    for name, column in ours.replay.sample(2_000, np.random.default_rng(0)).items():
        assert (column == expected[name]).all(), name
    ours.publish()
    theirs.publish()
    assert restored.published[-1].version == never_stopped.published[-1].version
    probe = np.random.default_rng(0).normal(size=(50, SIZE))
    for averaged in (False, True):
        expected = never_stopped.published[-1].values(probe, averaged)
        assert (restored.published[-1].values(probe, averaged) == expected).all()


def test_rllibs_own_checkpoint_works_too(learnings, tmp_path):
    """Do RLlib's own `save_to_path` and `restore_from_path` work as well?"""
    first = learnings(learning_starts=0)
    first.feed(200, "terminated")
    first.learn()
    first.algorithm.save_to_path(str(tmp_path / "checkpoint"))
    second = learnings(learning_starts=0, seed=99)
    second.algorithm.restore_from_path(str(tmp_path / "checkpoint"))
    assert distance(first.weights(), second.weights()) == 0


def test_no_folder_in_the_users_home(learnings):
    """Does building an algorithm leave no log folder behind?"""
    assert learnings().algorithm.logdir is None


def test_train_reports_like_any_algorithm(learnings):
    """Does `train()` give RLlib's usual results: steps sampled, losses, mean return?"""
    learning = learnings(learning_starts=0)
    learning.feed(100, "terminated", reward=2.0)
    result = learning.algorithm.train()
    assert result["env_runners"]["num_env_steps_sampled_lifetime"] == 100
    assert np.isfinite(result["learners"]["default_policy"]["qf_loss"])
    assert result["training_iteration"] == 1


@pytest.mark.parametrize("steps, memory", [(20, 50), (100, 50), (130, 60), (200, 200)])
def test_memory_grows_from_the_recent_steps_to_all(learnings, steps, memory):
    """Are updates for the policy's own steps drawn from the rows that `recent_steps` says?"""
    learning = learnings(recent_steps=50, learning_starts=0, n_step=1, slack=1000)
    learning.feed(steps, "terminated")
    drawn = []
    sample = learning.algorithm.replay.sample

    def recorded(transitions, rng, newest):
        drawn.append(newest)
        return sample(transitions, rng, newest)

    learning.algorithm.replay.sample = recorded
    learning.learn()
    assert set(drawn) == {memory}


def test_a_log_larger_than_the_replay_is_not_forgotten(learnings):
    """Is the rest of a long log taken over only when there is room for what was not learned from,
    and all of it at once when the server stops?"""
    options = {"learning_starts": 0, "replay_capacity": 1_500, "updates_per_step": 0.02}
    learning = learnings(**options)
    for number in range(6):
        learning.feed(1_000, "terminated", logged=True, name=f"log {number}")
    for _ in range(5):
        learning.algorithm._take_over(wait=0.0)
    assert learning.algorithm.counters.logged_steps == learning.algorithm.owed == 2_000
    learning.learn()
    assert learning.algorithm.counters.logged_steps == 6_000
    assert learning.algorithm.counters.updates == 120
    for number in range(6):
        learning.feed(1_000, "terminated", logged=True, name=f"another {number}")
    learning.algorithm.is_stopping = lambda: True
    while learning.algorithm._take_over(wait=0.0):
        pass
    assert learning.algorithm.counters.logged_steps == 12_000
