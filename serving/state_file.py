"""A tree of plain data and arrays as one file, of which reading runs no code.

The file is NumPy's .npz: each array as a member that is named by its place in the tree, and `tree`,
which holds the rest as JSON.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import numpy as np

TREE = "tree"
ARRAY, PAIRS = "$array", "$pairs"  # stand in the JSON for an array, for a dict with other keys


class StateError(Exception):
    """The file holds no such tree."""


def write(path: str | Path, tree) -> None:
    """`tree` is made of dicts, lists, tuples (read as lists), numbers, strings, None and arrays."""
    arrays: dict[str, np.ndarray] = {}
    rest = json.dumps(_without_arrays(tree, "", arrays))
    with open(path, "wb") as file:
        np.savez(file, **{TREE: np.frombuffer(rest.encode(), np.uint8)}, **arrays)


def read(path: str | Path):
    """The tree of `write`; raises StateError if that is no file of it."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _with_arrays(json.loads(arrays[TREE].tobytes()), arrays)
    except (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise StateError(f"{path} holds no state of a learner: {error}") from None


def _without_arrays(part, place: str, arrays: dict):
    if isinstance(part, np.ndarray):
        if part.dtype.hasobject:
            raise TypeError(f"{place}: an array of Python's objects is no plain data")
        arrays[place] = part
        return {ARRAY: place}
    if isinstance(part, np.generic):
        return part.item()
    if isinstance(part, dict):
        items = [
            (key, _without_arrays(value, _below(place, i, key), arrays))
            for i, (key, value) in enumerate(part.items())
        ]
        plain = all(isinstance(key, str) and not key.startswith("$") for key in part)
        return dict(items) if plain else {PAIRS: items}
    if isinstance(part, (list, tuple)):
        return [
            _without_arrays(value, _below(place, i, None), arrays) for i, value in enumerate(part)
        ]
    return part


def _below(place: str, number: int, key) -> str:
    """Where a member is. Not every key is a name for it: players choose the ids of episodes."""
    named = isinstance(key, str) and re.fullmatch(r"[\w.-]{1,100}", key, re.ASCII)
    name = key if named else f"[{number}]"
    return f"{place}/{name}" if place else name


def _with_arrays(part, arrays):
    if isinstance(part, list):
        return [_with_arrays(value, arrays) for value in part]
    if not isinstance(part, dict):
        return part
    if ARRAY in part:
        return arrays[part[ARRAY]]
    if PAIRS in part:
        return {key: _with_arrays(value, arrays) for key, value in part[PAIRS]}
    return {key: _with_arrays(value, arrays) for key, value in part.items()}
