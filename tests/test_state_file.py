"""Plain data and arrays in a file, of which reading runs no code."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest

from serving import state_file
from serving.state_file import StateError


@pytest.fixture
def a_path(tmp_path):
    return tmp_path / "state.npz"


def test_what_was_written_is_read(a_path):
    """Do numbers of any size, keys of any kind and arrays of any shape come back?"""
    tree = {
        "large": 2**127 + 1, "none": None, "list": [1, 2.5, "x", True], "empty": {},
        "by number": {0: {"step": 16.0}, 1: {}},
        "scalar": np.float32(0.5),
        "arrays": [np.arange(6, dtype=np.int64).reshape(2, 3), np.zeros((0, 4), np.float32)],
        "episodes": {"a/../b": np.array([True]), "$array": 1, "0": np.array(2), "nul\0": np.array(3)},
    }  # fmt: skip
    state_file.write(a_path, tree)
    again = state_file.read(a_path)
    for written, read in zip(tree["arrays"], again.pop("arrays")):
        assert written.dtype == read.dtype and written.shape == read.shape
        assert (written == read).all()
    del tree["arrays"]
    assert again == tree


def test_numpy_alone_can_look_into_it(a_path):
    """Are the arrays where their names say?"""
    state_file.write(a_path, {"replay": {"obs": np.ones(3)}})
    with np.load(a_path) as arrays:
        assert (arrays["replay/obs"] == 1).all()


def test_objects_are_no_data(a_path):
    """Is what would need a pickle refused when it is written?"""
    with pytest.raises(TypeError):
        state_file.write(a_path, {"x": np.array([object()])})
    with pytest.raises(TypeError):
        state_file.write(a_path, {"x": {1, 2}})


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('it has run')",)


@pytest.mark.parametrize("kind", ["pickle", "an array of objects", "text", "nothing"])
def test_what_is_no_state_is_a_sentence(a_path, kind):
    """Does a file from elsewhere run no code, and end in a StateError?"""
    if kind == "an array of objects":
        state_file.write(a_path, {"x": np.zeros(1)})
        with zipfile.ZipFile(a_path) as archive:
            tree = archive.read("tree.npy")
        with zipfile.ZipFile(a_path, "w") as archive, archive.open("x.npy", "w") as member:
            evil = np.empty(1, object)
            evil[0] = Evil()
            np.lib.format.write_array(member, evil)
            archive_tree = tree
        with zipfile.ZipFile(a_path, "a") as archive:
            archive.writestr("tree.npy", archive_tree)
    else:
        contents = {"pickle": pickle.dumps(Evil()), "text": b"{}", "nothing": b""}
        a_path.write_bytes(contents[kind])
    with pytest.raises(StateError, match="holds no state of a learner"):
        state_file.read(a_path)
