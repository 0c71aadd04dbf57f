"""Transitions from episodes, against a naive oracle that sees whole episodes only."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from serving.learner.transitions import Replay

SIZE = 3


class Played:
    """A random episode; observation k of episode e is distinct from every other."""

    def __init__(self, number: int, steps: int, terminated: bool, rng: np.random.Generator):
        self.id = f"episode-{number}"
        self.observations = np.float32(
            np.stack([np.full(steps + 1, number), np.arange(steps + 1), rng.normal(size=steps + 1)])
        ).T  # (steps + 1, SIZE)
        self.actions = rng.integers(4, size=steps)
        self.rewards = rng.normal(size=steps).astype(np.float32)
        self.terminated = terminated

    def chunks(self, cuts):
        """(observations, actions, rewards, terminated, truncated) between the cuts."""
        steps = len(self.actions)
        edges = [0, *sorted(cuts), steps]
        for number, (first, stop) in enumerate(zip(edges, edges[1:])):
            last = number == len(edges) - 2
            yield (
                self.observations[first : stop + 1],
                self.actions[first:stop],
                self.rewards[first:stop],
                last and self.terminated,
                last and not self.terminated,
            )


def naive_transitions(episode: Played, n: int, gamma: float) -> list[tuple]:
    """The definition, step by step: (obs, action, n-step return, next obs, terminated, length)."""
    transitions, steps = [], len(episode.actions)
    for t in range(steps):
        total, k = 0.0, 0
        while k < n and t + k < steps:
            total += gamma**k * float(episode.rewards[t + k])
            k += 1
        done = episode.terminated and t + k == steps
        transitions.append(
            (
                tuple(episode.observations[t].tolist()),
                int(episode.actions[t]),
                round(total, 4),
                tuple(episode.observations[t + k].tolist()),
                bool(done),
                float(k),
            )
        )
    return transitions


def stored_transitions(replay: Replay) -> list[tuple]:
    columns = {name: column[: len(replay)] for name, column in replay.columns.items()}
    return [
        (
            tuple(columns["obs"][i].tolist()),
            int(columns["actions"][i]),
            round(float(columns["rewards"][i]), 4),
            tuple(columns["new_obs"][i].tolist()),
            bool(columns["terminateds"][i]),
            float(columns["n_step"][i]),
        )
        for i in range(len(replay))
    ]


def same(found: list[tuple], expected: list[tuple]) -> bool:
    """Whether they are the same but for the order; returns may differ by rounding."""
    found, expected = sorted(found), sorted(expected)
    return len(found) == len(expected) and all(
        a[:2] + a[3:] == b[:2] + b[3:] and abs(a[2] - b[2]) < 1e-3 for a, b in zip(found, expected)
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize("terminated", [True, False], ids=["terminated", "truncated"])
@pytest.mark.parametrize("n", [1, 2, 3, 10])
@pytest.mark.parametrize("steps", [1, 2, 3, 9, 10, 11, 40])
def test_a_whole_episode(rng, steps, n, terminated):
    """Are the transitions of an episode what the definition of n-step returns says?"""
    replay, episode = Replay(100, SIZE, n, 0.9), Played(1, steps, terminated, rng)
    (whole,) = episode.chunks([])
    replay.add(episode.id, *whole)
    assert same(stored_transitions(replay), naive_transitions(episode, n, 0.9))


def test_truncation_is_not_termination(rng):
    """Does the learner bootstrap at a truncated end, and at a terminated end not?"""
    for terminated in (True, False):
        replay, episode = Replay(100, SIZE, 3, 0.9), Played(1, 10, terminated, rng)
        (whole,) = episode.chunks([])
        replay.add(episode.id, *whole)
        flags = replay.columns["terminateds"][:10].tolist()
        assert flags == [False] * 7 + [terminated] * 3
        # All three of the last transitions look at the last observation there is.
        assert (replay.columns["new_obs"][7:10] == episode.observations[-1]).all()


@pytest.mark.parametrize("seed", range(40))
def test_chunks_make_no_difference(seed):
    """Do episodes cut anywhere and interleaved give the transitions of whole ones?"""
    rng = np.random.default_rng(seed)
    n, gamma = int(rng.integers(1, 8)), float(rng.uniform(0.5, 1.0))
    replay = Replay(10_000, SIZE, n, gamma)
    episodes = [
        Played(number, int(rng.integers(1, 30)), bool(rng.random() < 0.5), rng)
        for number in range(int(rng.integers(1, 8)))
    ]
    waiting = {}
    for episode in episodes:
        steps = len(episode.actions)
        # Empty chunks too, but the one that terminates holds at least a step: it is complete only
        # with the observation after it.
        cuts = rng.integers(0, steps + (not episode.terminated), size=rng.integers(0, 10))
        waiting[episode.id] = list(episode.chunks(cuts))
    while waiting:
        name = str(rng.choice(sorted(waiting)))
        replay.add(name, *waiting[name].pop(0))
        if not waiting[name]:
            del waiting[name]
    expected = [t for episode in episodes for t in naive_transitions(episode, n, gamma)]
    assert same(stored_transitions(replay), expected)
    assert replay.added == len(expected)


def test_an_open_episode_keeps_its_last_steps_back(rng):
    """Is a step learned from only once its n successors are known?"""
    replay, episode = Replay(100, SIZE, 3, 0.9), Played(1, 20, True, rng)
    first, second = episode.chunks([8])
    replay.add(episode.id, *first)
    assert len(replay) == 8 - 3 + 1
    assert same(stored_transitions(replay), naive_transitions(episode, 3, 0.9)[:6])
    replay.add(episode.id, *second)
    assert len(replay) == 20


def test_the_newest_transitions_stay(rng):
    """Does a full replay overwrite its oldest transitions, and only these?"""
    n, capacity = 3, 50
    replay, expected = Replay(capacity, SIZE, n, 0.9), []
    for number in range(40):
        episode = Played(number, int(rng.integers(1, 20)), True, rng)
        for chunk in episode.chunks([]):
            replay.add(episode.id, *chunk)
        expected += naive_transitions(episode, n, 0.9)
        assert len(replay) == min(len(expected), capacity)
        assert same(stored_transitions(replay), expected[-capacity:])


def test_an_episode_longer_than_the_replay(rng):
    """Does a chunk that is larger than the whole replay leave its newest part?"""
    replay, episode = Replay(30, SIZE, 3, 0.9), Played(1, 100, True, rng)
    (whole,) = episode.chunks([])
    replay.add(episode.id, *whole)
    assert same(stored_transitions(replay), naive_transitions(episode, 3, 0.9)[-30:])


def test_sampling_is_uniform_and_keeps_rows_together(rng):
    """Is every stored transition drawn equally often, and never one that is not stored?"""
    replay, episode = Replay(64, SIZE, 2, 0.9), Played(1, 20, True, rng)
    (whole,) = episode.chunks([])
    replay.add(episode.id, *whole)
    sample = replay.sample(20_000, rng)
    for name, column in sample.items():
        assert column.shape == (20_000, *replay.columns[name].shape[1:])
        assert column.dtype == replay.columns[name].dtype
    steps = sample["obs"][:, 1].astype(int)
    counts = np.bincount(steps, minlength=20)
    assert len(counts) == 20
    # 20,000 draws of 20 rows: 1,000 each, and a standard deviation of 31.
    assert counts.min() > 840 and counts.max() < 1_160
    assert (sample["actions"] == episode.actions[steps]).all()
    assert (sample["new_obs"][:, 1] == steps + sample["n_step"]).all()


def test_a_sample_is_a_copy(rng):
    """Does a drawn batch stay as it is when the replay goes on?"""
    replay, episode = Replay(10, SIZE, 1, 0.9), Played(1, 10, True, rng)
    (whole,) = episode.chunks([])
    replay.add(episode.id, *whole)
    sample = replay.sample(100, rng)
    before = {name: column.copy() for name, column in sample.items()}
    replay.add("another", *next(iter(Played(2, 10, True, rng).chunks([]))))
    assert all((sample[name] == before[name]).all() for name in sample)


@pytest.mark.parametrize("capacity", [25, 60, 1_000])
@pytest.mark.parametrize("steps", [10, 60, 200])
def test_a_state_goes_on_where_it_was(rng, capacity, steps):
    """Does a replay restored in mid-episode end up like one that was never stopped?"""
    episode, n = Played(1, steps, True, rng), 4
    first, second = episode.chunks([steps // 2])
    never_stopped = Replay(capacity, SIZE, n, 0.9)
    never_stopped.add(episode.id, *first)
    state = pickle.loads(pickle.dumps(never_stopped.get_state()))
    restored = Replay(capacity, SIZE, n, 0.9)
    restored.set_state(state)
    assert len(restored) == len(never_stopped)
    for replay in (never_stopped, restored):
        replay.add(episode.id, *second)
    assert same(stored_transitions(restored), stored_transitions(never_stopped))
    more = Played(2, capacity // 2, True, rng)
    for replay in (never_stopped, restored):
        replay.add(more.id, *next(iter(more.chunks([]))))
    assert same(stored_transitions(restored), stored_transitions(never_stopped))


def test_a_state_is_a_copy(rng):
    """Does a state that is being written to disk stay as it is when learning goes on?"""
    replay, episode = Replay(10, SIZE, 1, 0.9), Played(1, 10, True, rng)
    replay.add(episode.id, *next(iter(episode.chunks([]))))
    state = replay.get_state()
    replay.add("another", *next(iter(Played(2, 10, True, rng).chunks([]))))
    assert (state["columns"]["obs"][:, 0] == 1).all()


@pytest.mark.parametrize("smaller", [1, 7, 20])
def test_another_capacity_keeps_the_newest(rng, smaller):
    """Does a replay restored with less room keep the newest transitions, and with more room all?"""
    replay, expected = Replay(20, SIZE, 2, 0.9), []
    for number in range(5):
        episode = Played(number, 9, True, rng)
        replay.add(episode.id, *next(iter(episode.chunks([]))))
        expected += naive_transitions(episode, 2, 0.9)
    for capacity, kept in ((smaller, smaller), (500, 20)):
        restored = Replay(capacity, SIZE, 2, 0.9)
        restored.set_state(replay.get_state())
        assert same(stored_transitions(restored), expected[-kept:])
        another = Played(99, 3, True, rng)
        restored.add(another.id, *next(iter(another.chunks([]))))
        expected_now = (expected[-kept:] + naive_transitions(another, 2, 0.9))[-capacity:]
        assert same(stored_transitions(restored), expected_now)


def test_forgotten_open_episodes_are_bounded(rng, monkeypatch):
    """Do episodes that never end cost a bounded amount of memory?"""
    monkeypatch.setattr("serving.learner.transitions.OPEN_EPISODES_REMEMBERED", 5)
    replay = Replay(100, SIZE, 3, 0.9)
    for number in range(12):
        episode = Played(number, 4, True, rng)
        replay.add(episode.id, *next(iter(episode.chunks([2]))))
    assert len(replay.get_state()["tails"]) == 5


def numbered(first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps from observation `first` to `last`, each of which is its number."""
    steps = last - first
    observations = np.arange(first, last + 1, dtype=np.float32)[:, None]
    return observations, np.zeros(steps, np.int64), np.ones(steps, np.float32)


def test_an_open_tail_is_not_glued_to_what_comes_later(rng):
    """Of an episode that was open when the server stopped, and another one with its id: is there no
    transition from the first to the second, and is the first one's tail learned from?"""
    before = Replay(100, 1, n_step=6, gamma=1.0)
    before.add("e", *numbered(0, 5), terminated=False, truncated=False)
    after = Replay(100, 1, n_step=6, gamma=1.0)
    after.set_state(before.get_state())
    assert len(after) == 0  # all five steps wait for their sixth successor
    after.end_open_episodes()
    after.add("e", *numbered(101, 106), terminated=True, truncated=False)
    found = after.sample(1_000, rng)
    pairs = set(zip(found["obs"][:, 0], found["new_obs"][:, 0], found["terminateds"]))
    assert pairs == {(i, 5.0, False) for i in range(5)} | {
        (i, 106.0, True) for i in range(101, 106)
    }
    assert set(zip(found["obs"][:, 0], found["n_step"])) >= {(0.0, 5.0), (4.0, 1.0)}
    assert not after.get_state()["tails"]


def test_a_forgotten_tail_is_cut_short(rng, monkeypatch):
    """Are the steps of the episode that is forgotten first learned from, as truncated?"""
    monkeypatch.setattr("serving.learner.transitions.OPEN_EPISODES_REMEMBERED", 1)
    replay = Replay(100, 1, n_step=3, gamma=1.0)
    replay.add("a", *numbered(0, 2), terminated=False, truncated=False)
    replay.add("b", *numbered(10, 12), terminated=False, truncated=False)
    found = replay.sample(100, rng)
    pairs = set(zip(found["obs"][:, 0], found["new_obs"][:, 0], found["terminateds"]))
    assert pairs == {(0.0, 2.0, False), (1.0, 2.0, False)}
