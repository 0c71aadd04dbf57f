"""Takes over checkpoints of format 1, whose `learner.pkl` was a pickle.

A pickle names functions to call, any of them. Here it may call those that make up arrays,
dictionaries and this kit's own two classes, and nothing else: what names another one is refused
before it is called.
"""

from __future__ import annotations

import os
import pickle
import shutil
from collections import OrderedDict
from pathlib import Path

import msgspec
import numpy as np

from serving import checkpoints, state_file
from serving.checkpoints import CheckpointError, Meta
from serving.link import Counters

PICKLE = "learner.pkl"


class Stretch:
    """Filled by the pickle with what `serving.batch.Stretch` held."""


TRUSTED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("serving.batch", "Stretch"): Stretch,
    ("serving.link", "Counters"): Counters,
}
NUMPY = ("numpy", "numpy._core.multiarray", "numpy._core.numeric")
NUMPYS = ("ndarray", "dtype", "_reconstruct", "scalar", "_frombuffer")


class PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if module in NUMPY and name in NUMPYS:
            return super().find_class(module, name)
        try:
            return TRUSTED[module, name]
        except KeyError:
            raise CheckpointError(
                f"it names {module}.{name}, which no checkpoint of this kit needs; it was not run"
            ) from None


def convert(checkpoint_file: str) -> str:
    """Writes the newest checkpoint once more, as plain data; the old one stays beside it. Says in a
    sentence what came of it, or raises CheckpointError."""
    lock = checkpoints.lock(checkpoint_file)
    try:
        folder = checkpoints.newest(checkpoint_file)
        if folder is None:
            raise CheckpointError(f"{checkpoint_file}: no such checkpoint file")
        meta = _meta(Path(folder))
        if meta.format != 1:
            return f"{folder} has format {meta.format} already: there is nothing to do"
        state = _read(Path(folder) / PICKLE)
        known = {name: getattr(meta, name) for name in meta.__struct_fields__}
        for written_anew in ("format", "saved", "files"):
            del known[written_anew]
        done = checkpoints.write(
            checkpoint_file,
            {
                checkpoints.LEARNER: lambda path: state_file.write(path, state),
                checkpoints.POLICY: lambda path: shutil.copy(
                    f"{folder}/{checkpoints.POLICY}", path
                ),
            },
            **known,
        )
        return (
            f"{folder} is taken over as {done}; of its pickle only arrays, dictionaries, counters "
            "and steps of open episodes were believed"
        )
    finally:
        os.close(lock)


def _meta(folder: Path) -> Meta:
    try:
        meta = msgspec.json.decode((folder / "meta.json").read_bytes(), type=Meta)
        if meta.format == 1:
            checkpoints.check_files(folder, meta)
        return meta
    except (OSError, msgspec.MsgspecError) as error:
        raise CheckpointError(f"checkpoint {folder} is damaged: {error}") from None


def _read(path: Path) -> dict:
    try:
        with open(path, "rb") as file:
            return _plain(PlainUnpickler(file).load())
    except CheckpointError as error:
        raise CheckpointError(f"{path} is not taken over: {error}") from None
    except Exception as error:  # noqa: BLE001 - bytes of anybody's can fail in any way
        raise CheckpointError(f"{path} cannot be read: {error}") from None


def _plain(state: dict) -> dict:
    """`OnlineAlgorithm.save()` of then as that of now."""
    del state["metrics_logger"]
    del state["learner_group"]["learner"]["metrics_logger"]
    online = state["online"]
    online["counters"] = msgspec.to_builtins(online["counters"])
    if replay := online.get("replay"):
        replay["tails"] = {name: _tail(*tail) for name, tail in replay["tails"] if len(tail[0])}
    if batch := online.get("batch"):
        stretches = batch["stretches"]
        batch["versions"] = sorted(batch["versions"])
        batch["open"] = {name: stretches.index(stretch) for name, stretch in batch["open"].items()}
        batch["stretches"] = [vars(stretch) for stretch in stretches]
    return state


def _tail(observations: np.ndarray, actions: np.ndarray, rewards: np.ndarray) -> tuple:
    """Then a tail did not hold what was seen after its last step: that step is left out."""
    return observations, actions[:-1], rewards[:-1]
