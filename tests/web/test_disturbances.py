"""The bench part in short: a client plays on beside silent and slow connections."""

from __future__ import annotations

from tools.bench.parts.access import beside_disturbances


def test_who_plays_plays_on():
    """Is a client answered beside more connections of each kind than there may be? (How fast is
    measured by the bench, on a quiet machine.)"""
    results = beside_disturbances(many=1_200, seconds=0.5)
    assert len(results) == 4
    for what, figures in results.items():
        assert figures["max ms"] < 10_000, (what, figures)
