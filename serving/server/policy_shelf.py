"""The kept policies and the learning curve beside a checkpoint: a restarted server has them still.

`NAME.checkpoints/policies/` holds a file for each version, written once, `index.json` with the names
and the version that acts, and `curve.json` with how returns went along. Each file takes its place
atomically; what cannot be read is left out, as nobody learns from it.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from serving.checkpoints import folder_of
from serving.policy import Policy
from serving.server.history import History, KeptHistory
from serving.server.policy_history import Entry, PolicyHistory

SAVE_EVERY = 5.0  # seconds: most of what comes in between is left out again by then
INDEX = "index.json"
CURVE = "curve.json"


class Index(msgspec.Struct):
    names: dict[str, int] = {}
    acting: int | None = None


class PolicyShelf:
    """Where a run's policies and its curve are kept.

    starts_anew
        whether there is no checkpoint: policies that are there belong to a run before, and are put
        aside
    """

    def __init__(
        self,
        history: PolicyHistory,
        curve: History,
        checkpoint_file: str | Path,
        starts_anew: bool,
    ):
        self.history, self.curve = history, curve
        self.folder = folder_of(checkpoint_file) / "policies"
        self._on_disk: set[int] = set()
        # Of the two files that change: while nobody plays, neither does.
        self._written: dict[str, bytes] = {}
        self._saving = threading.Lock()
        if starts_anew and self.folder.exists():
            self.folder.rename(self.folder.with_name(f"policies-before-{time.time_ns()}"))
        self.folder.mkdir(parents=True, exist_ok=True)

    def load(self, is_fit: Callable[[Policy], bool], env_steps: int) -> None:
        """Reads what is there; policies that are not `is_fit` are left out, and of the curve what is
        newer than the checkpoint, which was written after `env_steps`."""
        if curve := self._read_json(CURVE, KeptHistory):
            self.curve.go_on_from(curve, env_steps)
        index = self._read_json(INDEX, Index) or Index()
        entries = [self._read(path) for path in self.folder.glob("*.msgpack")]
        for entry in entries:
            if entry is not None and is_fit(entry.policy):
                self._on_disk.add(entry.policy.version)
        there = {e.policy.version: e for e in entries if e and e.policy.version in self._on_disk}
        self.history.names = {name: v for name, v in index.names.items() if v in there}
        if index.acting in there:
            self.history.acting = there[index.acting].policy
        for version in sorted(there):
            self.history.add(*there[version])

    def save(self) -> None:
        """Writes what is not there yet, and removes what is not kept any more. Raises OSError."""
        with self._saving:
            self._save()

    def _save(self) -> None:
        entries = dict(self.history.entries)
        for version in entries.keys() - self._on_disk:
            self._write(f"{version:09d}.msgpack", _packed(entries[version]))
            self._on_disk.add(version)
        acting = self.history.acting
        index = Index(dict(self.history.names), acting and acting.version)
        for name, content in ((INDEX, index), (CURVE, self.curve.kept())):
            encoded = msgspec.json.encode(content)
            if encoded != self._written.get(name):
                self._write(name, encoded)
                self._written[name] = encoded
        for version in self._on_disk - entries.keys():
            (self.folder / f"{version:09d}.msgpack").unlink(missing_ok=True)
            self._on_disk.discard(version)

    async def save_now_and_then(self) -> None:
        """In a thread: no player waits for the disk. A full one is what the learner's checkpoints
        say, and is tried again."""
        while True:
            await asyncio.sleep(SAVE_EVERY)
            try:
                await asyncio.to_thread(self.save)
            except OSError:
                pass

    def _write(self, name: str, content: bytes) -> None:
        draft = self.folder / f".{name}.writing"
        draft.write_bytes(content)
        os.replace(draft, self.folder / name)

    def _read_json(self, name: str, kind: type):
        """None if it is not there, or damaged."""
        try:
            return msgspec.json.decode((self.folder / name).read_bytes(), type=kind)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def _read(self, path: Path) -> Entry | None:
        try:
            packed = msgspec.msgpack.decode(path.read_bytes())
            return Entry(
                Policy.unpack(packed["policy"]), packed["env_steps"], packed["mean_return"]
            )
        except (OSError, msgspec.MsgspecError, LookupError, TypeError, ValueError):
            return None


def _packed(entry: Entry) -> bytes:
    packed = {**entry._asdict(), "policy": entry.policy.pack()}
    return msgspec.msgpack.encode(packed)
