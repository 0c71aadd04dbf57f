"""Policies of a run that are kept: to evaluate with later, to look at, to go back to.

A learner publishes some ten policies a second. Of them so many are kept as memory is set aside for,
thinned out in between, so that early ones remain as well as late ones.
"""

from __future__ import annotations

import bisect
from typing import NamedTuple

from serving.policy import Policy
from serving.protocol import EpisodeConflict, KeptPolicies, KeptPolicy, PolicyNotKept

MOST_KEPT = 64
MOST_BYTES = 2**25
MOST_NAMES = 32
SHOWN_IN_ERRORS = 12


class Entry(NamedTuple):
    """A policy, and how far the run was when it came: env steps, mean return of 20 episodes."""

    policy: Policy
    env_steps: int
    mean_return: float | None


class PolicyHistory:
    """By version, which counts up as a run goes on. The first, the newest, the named ones and the
    one that acts are never left out.

    acting
        the policy that was rolled back to, None: the newest acts
    """

    def __init__(self, most: int = MOST_KEPT, most_bytes: int = MOST_BYTES):
        self.entries: dict[int, Entry] = {}
        self.names: dict[str, int] = {}
        self.acting: Policy | None = None
        self._most, self._most_bytes = most, most_bytes
        self._versions: list[int] = []  # in order
        self._bytes = 0

    @property
    def highest_version(self) -> int:
        return max(self._versions, default=0)

    def add(self, policy: Policy, env_steps: int, mean_return: float | None) -> None:
        """Keeps one more; a version that is kept already stays as it is."""
        if policy.version in self.entries:
            return
        self.entries[policy.version] = Entry(policy, env_steps, mean_return)
        bisect.insort(self._versions, policy.version)
        self._bytes += policy.bytes
        while len(self._versions) > self._most or self._bytes > self._most_bytes:
            if not self._leave_one_out():
                break

    def get(self, version: int) -> Policy:
        """Raises PolicyNotKept, which names those that there are."""
        entry = self.entries.get(version)
        if entry is None:
            raise PolicyNotKept(
                f"no policy of version {version} is kept (any more); there are {self._shown()}"
            )
        return entry.policy

    def name(self, version: int, name: str) -> KeptPolicy:
        """Keeps a version for good. A name that is taken moves over."""
        policy = self.get(version)
        others = {kept: v for kept, v in self.names.items() if kept != name}
        taken = sum(self.entries[v].policy.bytes for v in {*others.values()})
        if len(others) >= MOST_NAMES or taken + policy.bytes > self._most_bytes:
            raise EpisodeConflict(
                f"{len(others)} policies are kept for good, and there is no room for one more; give "
                f"it one of their names: {', '.join(sorted(others))}"
            )
        self.names[name] = version
        return self._described(version)

    def serve(self, version: int | None) -> None:
        """What acts from now on; None: the newest."""
        self.acting = None if version is None else self.get(version)

    def described(self, newest: int) -> KeptPolicies:
        acting = newest if self.acting is None else self.acting.version
        kept = [self._described(version) for version in self._versions]
        return KeptPolicies(kept, acting, newest)

    def _described(self, version: int) -> KeptPolicy:
        entry = self.entries[version]
        names = sorted(name for name, kept in self.names.items() if kept == version)
        return KeptPolicy(version, entry.env_steps, entry.mean_return, names)

    def _leave_one_out(self) -> bool:
        """The one that is missed least. Distances between those that are kept grow with the root of
        how far the nearer end of the run is: fine at both ends, where things change or are looked
        at, and never so coarse that a slider jumps."""
        versions = self._versions
        fixed = {*self.names.values(), self.acting and self.acting.version}
        least, where = float("inf"), 0
        for i in range(1, len(versions) - 1):
            if versions[i] not in fixed:
                end = min(versions[i] - versions[0], versions[-1] - versions[i])
                gap = (versions[i + 1] - versions[i - 1]) / end**0.5
                if gap < least:
                    least, where = gap, i
        if not where:
            return False
        self._bytes -= self.entries.pop(versions.pop(where)).policy.bytes
        return True

    def _shown(self) -> str:
        first = [str(version) for version in self._versions]
        if len(first) > SHOWN_IN_ERRORS:
            half = SHOWN_IN_ERRORS // 2
            first = [*first[:half], "...", *first[-half:]]
        return ", ".join(first)
