"""What TensorBoard shows, in its own format: numbers over env steps."""

from __future__ import annotations

import itertools
import os
import socket
import struct
import sys
import time
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import scalar

FLUSH_EVERY = 2.0  # seconds
TRY_AGAIN_AFTER = 30.0  # seconds after a disk had no room


class Events:
    """An events file in `folder`, written by whoever adds to it.

    tensorboardX's own writer has a thread for that, which a full disk ends, or a clock that jumps
    back by weeks; and then the next number waits for it for ever. Learning stops for no curve: what
    cannot be written is left out, said once in the learner's log, and tried again with a new file.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self._numbers = itertools.count(1)
        self._file = None
        self._flush_at = self._open_at = 0.0
        self._said = False

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self._add(Event(wall_time=time.time(), step=step, summary=scalar(name, value)))

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self._fail(error)

    def _add(self, event) -> None:
        now = time.monotonic()
        try:
            if self._file is None:
                if now < self._open_at:
                    return
                self._file = self._new_file()
            self._file.write(_record(event))
            if now >= self._flush_at:
                self._file.flush()
                self._flush_at = now + FLUSH_EVERY
        except OSError as error:
            self._fail(error)

    def _new_file(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}"
        file = open(self.folder / f"{name}.{os.getpid()}.{next(self._numbers)}", "xb")
        file.write(_record(Event(wall_time=time.time(), file_version="brain.Event:2")))
        return file

    def _fail(self, error: OSError) -> None:
        if not self._said:
            print(f"no curves for TensorBoard: {self.folder}: {error}", file=sys.stderr, flush=True)
        self._said, self._open_at = True, time.monotonic() + TRY_AGAIN_AFTER
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError:
            pass


def _record(event) -> bytes:
    """TFRecord: length, its checksum, data, their checksum."""
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    return b"".join(
        (
            length,
            struct.pack("<I", masked_crc32c(length)),
            data,
            struct.pack("<I", masked_crc32c(data)),
        )
    )
