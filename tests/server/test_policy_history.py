"""Which policies of a run are kept, in memory and on disk, and for how long."""

from __future__ import annotations

import numpy as np
import pytest

from serving.policy import Policy, untrained
from serving.protocol import EpisodeConflict, PolicyNotKept
from serving.server.history import History
from serving.server.policy_history import MOST_NAMES, PolicyHistory
from serving.server.policy_shelf import PolicyShelf


def policy(version: int, hidden: int = 2) -> Policy:
    plain = untrained(3, 2, [hidden], seed=version)
    return Policy(version, plain.kind, plain.activation, plain.layers, averaged=plain.layers)


def a_run(versions: int, **bounds) -> PolicyHistory:
    history = PolicyHistory(**bounds)
    for version in range(versions):
        history.add(policy(version), 10 * version, float(version))
    return history


def same(one: Policy, other: Policy) -> bool:
    observation = np.array([0.5, -1.0, 2.0])
    return all(
        np.array_equal(one.values(observation, averaged), other.values(observation, averaged))
        for averaged in (False, True)
    )


def test_a_long_run_keeps_early_and_late_policies():
    """Is the number bounded, are both ends fine, and is no gap a large part of the run?"""
    history = a_run(5_000, most=64)
    versions = sorted(history.entries)
    assert len(versions) == 64 and versions[0] == 0 and versions[-1] == 4_999
    assert sum(version <= 100 for version in versions) >= 4
    assert sum(version >= 4_899 for version in versions) >= 4
    gaps = np.diff(versions)
    assert gaps.max() <= 5_000 / 10
    kept = history.described(4_999).policies
    assert [(k.version, k.env_steps, k.mean_return) for k in kept] == [
        (version, 10 * version, float(version)) for version in versions
    ]


def test_a_short_run_keeps_all():
    """Is nothing left out as long as there is room?"""
    assert sorted(a_run(64, most=64).entries) == list(range(64))


def test_large_policies_are_fewer():
    """Is the memory bounded too, and are the first and the newest kept all the same?"""
    one = policy(0).bytes
    history = a_run(50, most_bytes=10 * one)
    assert len(history.entries) == 10 and {0, 49} <= history.entries.keys()
    assert sorted(a_run(50, most_bytes=one).entries) == [0, 49]


def test_what_has_a_name_or_acts_stays():
    """Are they never left out, until the name moves and another one acts?"""
    history = a_run(64, most=64)
    assert history.name(31, "best").names == ["best"]
    history.serve(33)
    for version in range(64, 1_000):
        history.add(policy(version), 0, None)
    assert {31, 33} <= history.entries.keys()
    assert history.described(999).acting == 33
    history.name(999, "best")
    history.serve(None)
    for version in range(1_000, 3_000):
        history.add(policy(version), 0, None)
    assert not {31, 33} & history.entries.keys() and 999 in history.entries


def test_a_version_that_is_not_kept_is_said_with_those_that_are():
    """Does the refusal name what there is, in bounds?"""
    with pytest.raises(PolicyNotKept, match="no policy of version 7 is kept .*there are 0, 1, 2$"):
        a_run(3).get(7)
    with pytest.raises(
        PolicyNotKept, match=r"there are 0, 1, 2, 3, 4, 5, \.\.\., 4\d, "
    ) as refused:
        a_run(50).get(99)
    assert len(str(refused.value)) < 150


def test_names_are_bounded():
    """Is there an end to what is kept for good, and does the refusal say what helps?"""
    history = a_run(MOST_NAMES + 1)
    for version in range(MOST_NAMES):
        history.name(version, f"n{version}")
    with pytest.raises(EpisodeConflict, match="give it one of their names: n0, n1"):
        history.name(MOST_NAMES, "one-more")
    history.name(MOST_NAMES, "n0")
    small = a_run(3, most_bytes=2 * policy(0).bytes)
    small.name(0, "a"), small.name(2, "b")
    with pytest.raises(EpisodeConflict):
        small.name(2, "c"), small.name(0, "d"), small.add(policy(3), 0, None), small.name(3, "e")


def test_a_shelf_is_read_as_it_was_written(tmp_path):
    """Does the next server have the same policies, names and rollback, and is what is left out of
    the history removed from the disk?"""
    history = a_run(100, most=16)
    history.name(99, "best")
    history.serve(0)
    shelf = PolicyShelf(history, History(), tmp_path / "policy", starts_anew=True)
    shelf.save()
    again = PolicyHistory(most=16)
    PolicyShelf(again, History(), tmp_path / "policy", starts_anew=False).load(
        lambda policy: True, 0
    )
    assert again.described(99) == history.described(99)
    assert all(same(again.get(v), history.get(v)) for v in history.entries)
    for version in range(100, 300):
        history.add(policy(version), 0, None)
    shelf.save()
    files = {int(path.stem) for path in shelf.folder.glob("*.msgpack")}
    assert files == set(history.entries)


def test_a_curve_goes_on_where_it_was(tmp_path):
    """Has the next server the curve still, but for what no checkpoint holds; and is a damaged one
    none?"""
    curve = History()
    for episode in range(600):
        curve.add(10 * (episode + 1), float(episode), 3)
    shelf = PolicyShelf(a_run(5), curve, tmp_path / "policy", starts_anew=True)
    shelf.save()

    def read(env_steps: int) -> History:
        again = History()
        other = PolicyShelf(PolicyHistory(), again, tmp_path / "policy", starts_anew=False)
        other.load(lambda policy: True, env_steps)
        return again

    whole = read(6_000)
    assert whole.points == curve.points and whole.returns == curve.returns
    whole.add(6_010, 600.0, 4)
    assert whole.points[-1].mean == np.mean(range(581, 601)) and whole.best == 600.0
    part = read(5_000)
    assert part.points == [point for point in curve.points if point.env_steps <= 5_000]
    assert part.returns[-1] == part.points[-1].episode_return
    (shelf.folder / "curve.json").write_text('{"points": [[1, "two"]]}')
    assert not read(6_000).points


def test_what_is_damaged_or_does_not_fit_is_left_out(tmp_path):
    """Does a torn file, or a policy of other sizes, cost itself only?"""
    history = a_run(5)
    history.name(3, "best")
    history.serve(2)
    shelf = PolicyShelf(history, History(), tmp_path / "policy", starts_anew=True)
    shelf.save()
    (shelf.folder / "000000001.msgpack").write_bytes(b"\x93")
    (shelf.folder / "000000003.msgpack").write_bytes(b"")
    again = PolicyHistory()
    other = PolicyShelf(again, History(), tmp_path / "policy", starts_anew=False)
    other.load(lambda policy: policy.version != 2, 0)
    assert sorted(again.entries) == [0, 4]
    assert again.names == {} and again.acting is None
    (shelf.folder / "index.json").write_text("{")
    PolicyShelf(PolicyHistory(), History(), tmp_path / "policy", starts_anew=False).load(
        lambda policy: True, 0
    )


def test_another_runs_policies_are_put_aside(tmp_path):
    """Does a run that starts anew begin without them, and are they still there?"""
    shelf = PolicyShelf(a_run(5), History(), tmp_path / "policy", starts_anew=True)
    shelf.save()
    fresh = PolicyHistory()
    PolicyShelf(fresh, History(), tmp_path / "policy", starts_anew=True).load(
        lambda policy: True, 0
    )
    assert not fresh.entries
    (aside,) = shelf.folder.parent.glob("policies-before-*")
    assert len(list(aside.glob("*.msgpack"))) == 5
