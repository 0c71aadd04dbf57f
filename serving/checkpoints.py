"""Checkpoints that a kill at any instant leaves loadable.

`--checkpoint-file=NAME` is a small text file that points at the newest complete checkpoint, a
folder in `NAME.checkpoints/`:

    meta.json        sizes, algorithm, counters, and every other file's size and checksum
    policy.msgpack   the policy snapshot: the server acts from it before RLlib is up
    learner.npz      what learning goes on from: weights, optimizer, replay, counters, as plain data
                     (`serving.state_file`)

A checkpoint is written under another name, renamed when complete, and only then pointed at; the
pointer is replaced atomically. The one before stays until the next is complete. Nothing in it is
code, so that one from elsewhere can be tried without trusting whoever wrote it.

python -m serving.checkpoints convert NAME      takes over a checkpoint of format 1, a pickle
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import shutil
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from serving.link import Counters
from serving.policy import Policy

FORMAT = 2
# What a machine says that is out of memory or file descriptors, and not of the file it is asked for.
IN_NEED = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)
KEPT = 2
POLICY, LEARNER = "policy.msgpack", "learner.npz"  # files of a checkpoint


class CheckpointError(Exception):
    """A checkpoint cannot be used; the sentence says which and why. Nothing was overwritten."""


class Meta(msgspec.Struct):
    format: int
    run: str
    observation_size: int
    action_size: int
    hidden: list[int]
    session: str
    counters: Counters
    saved: float  # seconds since the epoch
    files: dict[str, tuple[int, int]]  # name: (bytes, CRC-32)


def folder_of(checkpoint_file: str | Path) -> Path:
    return Path(f"{checkpoint_file}.checkpoints")


def lock(checkpoint_file: str | Path, patience: float = 10.0) -> int:
    """Claims the checkpoint for this process and its learner: an open file descriptor.

    Waits up to `patience` seconds: the learner of a server that was killed may still be saving.
    """
    if os.path.isdir(checkpoint_file):  # Path.is_dir would raise for some names
        raise CheckpointError(f"--checkpoint-file={checkpoint_file} is a folder: expected a file")
    folder = folder_of(checkpoint_file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
        if not os.access(Path(checkpoint_file).absolute().parent, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise CheckpointError(
            f"--checkpoint-file={checkpoint_file}: cannot write there: {error.strerror}"
        ) from None
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise CheckpointError(
                    f"--checkpoint-file={checkpoint_file} is in use by another policy server; "
                    "stop that one, or choose another name"
                ) from None
            time.sleep(0.05)


def newest(checkpoint_file: str | Path) -> str | None:
    """The folder the pointer names; None if there is no pointer yet. An OSError says that the
    machine cannot tell now."""
    try:
        name = Path(checkpoint_file).read_text().strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        if getattr(error, "errno", None) in IN_NEED:
            raise
        raise CheckpointError(
            f"{checkpoint_file}: cannot be read as a checkpoint file: {error}"
        ) from None
    folder = folder_of(checkpoint_file) / Path(name).name
    if not name or not os.path.isfile(folder / "meta.json"):
        raise CheckpointError(
            f"{checkpoint_file} points at {name[:80]!r}, and there is no such checkpoint in "
            f"{folder_of(checkpoint_file)}; remove {checkpoint_file} to start anew"
        )
    return str(folder)


def read(folder: str | Path) -> tuple[Meta, Policy]:
    """What the policy server needs of a checkpoint, after checking that all of it is intact."""
    folder = Path(folder)
    try:
        meta = msgspec.json.decode((folder / "meta.json").read_bytes(), type=Meta)
        if meta.format != FORMAT:
            raise CheckpointError(
                f"checkpoint {folder} has format {meta.format}{_advice(folder, meta)}"
            )
        check_files(folder, meta)
        packed = msgspec.msgpack.decode((folder / POLICY).read_bytes())
        return meta, Policy.unpack(packed)
    except (OSError, msgspec.MsgspecError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint {folder} is damaged: {error}") from None


def check_files(folder: str | Path, meta: Meta) -> None:
    """Raises CheckpointError if a file is not as it was written."""
    for name, (size, checksum) in meta.files.items():
        found = _sum(Path(folder) / name)
        if found != (size, checksum):
            raise CheckpointError(
                f"checkpoint {folder} is damaged: {name} has {found[0]} bytes that are "
                f"not the {size} bytes which were written"
            )


def check_fits(meta: Meta, folder: str, run: str, observation_size: int, action_size: int, hidden):
    """Raises CheckpointError if the checkpoint is of another algorithm or of other sizes."""
    expected = {
        "run": run,
        "observation-size": observation_size,
        "action-size": action_size,
        "hidden": list(hidden),
    }
    for name, wanted in expected.items():
        found = getattr(meta, name.replace("-", "_"))
        if found != wanted:
            raise CheckpointError(
                f"checkpoint {folder} was written with --{name}={_shown(found)}, but the server "
                f"was started with --{name}={_shown(wanted)}; use another --checkpoint-file"
            )


def write(
    checkpoint_file: str | Path,
    files: dict[str, Callable[[Path], None]],
    **meta,
) -> Path:
    """Writes a checkpoint and points at it. `files` maps a name to what writes that file; `meta`
    holds the fields of `Meta` that are not about the writing itself. An OSError, such as of a full
    disk, leaves the checkpoint before."""
    folder = folder_of(checkpoint_file)
    folder.mkdir(parents=True, exist_ok=True)
    for left_by_a_kill in folder.glob(".writing-*"):
        shutil.rmtree(left_by_a_kill, ignore_errors=True)
    draft = folder / f".writing-{os.getpid()}"
    draft.mkdir()
    try:
        sums = {}
        for name, fill in files.items():
            fill(draft / name)
            sums[name] = _sum(draft / name)
            _flush(draft / name)
        described = Meta(format=FORMAT, saved=time.time(), files=sums, **meta)
        (draft / "meta.json").write_text(json.dumps(msgspec.to_builtins(described), indent=1))
        _flush(draft / "meta.json")
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)  # where there is no room it takes some
        raise
    number = 1 + max((int(old.name) for old in _complete(folder)), default=0)
    done = folder / f"{number:06d}"
    draft.rename(done)
    _flush(folder)

    pointer = Path(checkpoint_file)
    new_pointer = folder / ".pointer"
    new_pointer.write_text(f"{done.name}\n")
    _flush(new_pointer)
    new_pointer.replace(pointer)
    _flush(pointer.absolute().parent)
    for old in sorted(_complete(folder), key=lambda entry: int(entry.name))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return done


def _complete(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.name.isdigit() and entry.is_dir()]


def _sum(path: Path) -> tuple[int, int]:
    """Bytes and CRC-32 of a file, which may be larger than memory has room for."""
    size = checksum = 0
    with open(path, "rb") as file:
        while part := file.read(2**22):
            size, checksum = size + len(part), zlib.crc32(part, checksum)
    return size, checksum


def _advice(folder: Path, meta: Meta) -> str:
    if meta.format != 1:
        return f"; this server reads {FORMAT}"
    name = str(folder.parent).removesuffix(".checkpoints")
    return (
        ", which holds a pickle; take it over with: "
        f"python -m serving.checkpoints convert {shlex.quote(name)}"
    )


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _shown(value) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or arguments[0] != "convert":
        print("usage: python -m serving.checkpoints convert NAME", file=sys.stderr)
        return 2
    from serving.old_checkpoints import convert

    try:
        print(convert(arguments[1]))
    except CheckpointError as error:
        print(f"checkpoints: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    # Not this module by the name __main__: its exceptions are others.
    from serving import checkpoints

    sys.exit(checkpoints.main(sys.argv[1:]))
