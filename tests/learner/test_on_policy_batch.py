"""Batches of one policy's steps, and generalized advantage estimation."""

from __future__ import annotations

import numpy as np
import pytest

from serving.learner.on_policy_batch import Batch, advantages

SIZE = 3


def an_episode(rng, steps: int) -> dict:
    return {
        "observations": rng.normal(size=(steps + 1, SIZE)).astype("<f4"),
        "actions": rng.integers(4, size=steps),
        "rewards": rng.normal(size=steps).astype("<f4"),
        "log_probabilities": -rng.random(steps).astype("<f4"),
    }


def add(batch: Batch, name: str, episode: dict, versions, first=0, stop=None, ending=None) -> int:
    """Steps `first` to `stop` of the episode."""
    stop = len(episode["actions"]) if stop is None else stop
    return batch.add(
        name,
        episode["observations"][first : stop + 1],
        *(episode[column][first:stop] for column in ("actions", "rewards", "log_probabilities")),
        np.asarray(versions)[first:stop],
        ending == "terminated",
        ending is not None,
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


# -- which steps -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [None, "terminated", "truncated"])
def test_chunks_make_the_same_batch_as_whole_episodes(rng, ending):
    """Does it not matter in which pieces, and in what order of episodes, steps come?"""
    episodes = {f"e{k}": an_episode(rng, int(rng.integers(1, 60))) for k in range(4)}
    whole, pieces, chunks = Batch(), Batch(), []
    for name, episode in episodes.items():
        steps = len(episode["actions"])
        add(whole, name, episode, np.zeros(steps, int), ending=ending)
        cuts = sorted({0, steps, *map(int, rng.integers(0, steps, 3))})
        chunks.append([(name, episode, first, stop) for first, stop in zip(cuts, cuts[1:])])
    while chunks:
        of_one = chunks[int(rng.integers(len(chunks)))]
        name, episode, first, stop = of_one.pop(0)
        steps = len(episode["actions"])
        here = ending if stop == steps else None
        add(pieces, name, episode, np.zeros(steps, int), first, stop, here)
        chunks = [rest for rest in chunks if rest]

    def stretches(batch: Batch) -> set[tuple]:
        columns, found, begins = batch.columns(), set(), 0
        for last in np.flatnonzero(~columns["loss_mask"]):
            found.add(tuple(c[begins : last + 1].tobytes() for c in columns.values()))
            begins = last + 1
        return found

    assert len(whole) == len(pieces) == sum(len(e["actions"]) for e in episodes.values())
    assert stretches(whole) == stretches(pieces)
    assert len(stretches(whole)) == 4


def test_only_its_versions(rng):
    """Are steps of older, and of unknown newer policies refused, wherever they are?"""
    versions = np.array([3, 3, 4, 4, 4, 6, 6, 4, 5])
    episode, batch = an_episode(rng, len(versions)), Batch()
    batch.empty(4)
    assert add(batch, "e", episode, versions, ending="terminated") == 4 == len(batch)
    columns = batch.columns()
    rows = [2, 3, 4, 5, 7, 8]  # 5 and 8: the observation after a stretch
    assert (columns["obs"] == episode["observations"][rows]).all()
    assert columns["loss_mask"].tolist() == [True, True, True, False, True, False]
    assert (columns["actions"][columns["loss_mask"]] == episode["actions"][[2, 3, 4, 7]]).all()
    assert not columns["terminateds"].any()  # it did, but after a step that is not here


def test_a_stretch_ends_where_somebody_else_acted(rng):
    """Do steps before and after a refused or a logged one not count as consecutive?"""
    episode, batch = an_episode(rng, 6), Batch()
    add(batch, "e", episode, np.zeros(6, int), 0, 2)
    batch.interrupt("e")
    add(batch, "e", episode, np.zeros(6, int), 3, 6, "terminated")
    columns = batch.columns()
    assert columns["loss_mask"].tolist() == [True, True, False, True, True, True, False]
    assert columns["terminateds"].tolist() == [False] * 5 + [True, False]


def test_an_ending_without_a_step(rng):
    """Does the end of an abandoned episode close its stretch, and end nothing else?"""
    episode, batch = an_episode(rng, 3), Batch()
    add(batch, "e", episode, np.zeros(3, int))
    assert add(batch, "e", episode, np.zeros(3, int), 3, 3, "truncated") == 0
    assert len(batch) == 3
    assert not batch.columns()["terminateds"].any()


def test_a_new_batch_is_empty(rng):
    """Is nothing of the batch before in the next one, not even of an episode that goes on?"""
    episode, batch = an_episode(rng, 10), Batch()
    versions = np.array([0] * 6 + [1] * 4)
    assert add(batch, "e", episode, versions, 0, 5) == 5
    batch.empty(1)
    assert len(batch) == 0
    assert add(batch, "e", episode, versions, 5, 10, "terminated") == 4
    assert (batch.columns()["obs"] == episode["observations"][6:]).all()


def test_its_state(rng):
    """Does a restored batch go on with the same stretches?"""
    episode, batch = an_episode(rng, 10), Batch()
    add(batch, "e", episode, np.zeros(10, int), 0, 5)
    again = Batch()
    again.set_state(batch.get_state())
    for one in (batch, again):
        add(one, "e", episode, np.zeros(10, int), 5, 10, "terminated")
    for name, column in batch.columns().items():
        assert (column == again.columns()[name]).all(), name


# -- how much better -------------------------------------------------------------------------------


def by_definition(columns, values, gamma, gae_lambda) -> np.ndarray:
    """Sums of discounted surprises, written out: equation 16 of the paper."""
    result, begins = np.zeros(len(values)), 0
    for last in np.flatnonzero(~columns["loss_mask"]):
        for t in range(begins, last):
            for k in range(t, last):
                after = 0.0 if columns["terminateds"][k] else values[k + 1]
                surprise = columns["rewards"][k] + gamma * after - values[k]
                result[t] += (gamma * gae_lambda) ** (k - t) * surprise
        begins = last + 1
    return result


def a_batch(rng) -> Batch:
    batch = Batch()
    for number, ending in enumerate(["terminated", "truncated", None, "terminated"] * 3):
        steps = int(rng.integers(1, 30))
        add(batch, f"e{number}", an_episode(rng, steps), np.zeros(steps, int), ending=ending)
    return batch


@pytest.mark.parametrize("gae_lambda", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
def test_advantages(rng, gamma, gae_lambda):
    """Are they what the definition says?"""
    columns = a_batch(rng).columns()
    values = rng.normal(size=len(columns["rewards"])).astype(np.float32)
    expected = by_definition(columns, values, gamma, gae_lambda)
    found = advantages(columns, values, gamma, gae_lambda)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert not found[~columns["loss_mask"]].any()


def test_advantages_as_rllib_has_them(rng):
    """Does RLlib's own estimate agree?"""
    from ray.rllib.utils.postprocessing.value_predictions import compute_value_targets

    columns = a_batch(rng).columns()
    values = rng.normal(size=len(columns["rewards"])).astype(np.float32)
    is_step = columns["loss_mask"]
    truncateds = is_step & ~np.append(is_step[1:], False)  # the latest step of each stretch
    targets = compute_value_targets(
        values=values,
        rewards=columns["rewards"],
        terminateds=columns["terminateds"].astype(float),
        truncateds=truncateds.astype(float),
        gamma=0.98,
        lambda_=0.9,
    )
    found = advantages(columns, values, 0.98, 0.9)
    np.testing.assert_allclose(found[is_step], (targets - values)[is_step], rtol=1e-4, atol=1e-4)


def test_truncation_is_bootstrapped():
    """At 1 a step and gamma 0.5, is an end worth 1 terminated, and 2 truncated, if V is 2?"""
    for ending, expected in (("terminated", 1.0 - 2.0), ("truncated", 2.0 - 2.0)):
        batch = Batch()
        batch.add("e", np.zeros((2, SIZE), "<f4"), np.array([0]), np.ones(1, "<f4"),
                  np.zeros(1, "<f4"), np.zeros(1, int), ending == "terminated", True)  # fmt: skip
        found = advantages(batch.columns(), np.array([2.0, 2.0]), 0.5, 0.95)
        assert found.tolist() == [expected, 0.0]


def test_an_open_stretch_is_not_glued_to_what_comes_later():
    """Of an episode that was open when the server stopped, and another one with its id: are they
    two stretches, the first one bootstrapped from where it was cut?"""
    columns = lambda steps: [np.zeros(steps, np.float32)] * 3  # noqa: E731
    before, after = Batch(), Batch()
    observations = np.arange(6, dtype=np.float32)[:, None]
    before.add("e", observations, *columns(5), np.zeros(5, int), False, False)
    after.set_state(before.get_state())
    after.end_open_episodes()
    after.add("e", observations + 101, *columns(5), np.zeros(5, int), True, True)
    found = after.columns()
    assert found["obs"][:, 0].tolist() == [*range(6), *range(101, 107)]
    assert (~found["loss_mask"]).nonzero()[0].tolist() == [5, 11]
    assert found["terminateds"].nonzero()[0].tolist() == [10]
