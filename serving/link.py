"""What the policy server process and the learner process say to each other, over a socket pair.

Frames are a 4-byte little-endian length and a msgpack message. No pickle: what comes in is data.

    policy server → learner      Configure, then Experience …, at last Stop
    learner → policy server      Progress while it starts, Ready, then NewPolicy, Report, Saved …,
                                 or Fatal when starting again would not help
"""

from __future__ import annotations

import asyncio
import socket
import struct

import msgspec


class Configure(msgspec.Struct, tag=True):
    """The learner's whole configuration.

    session
        names this run of the policy server: sequence numbers count from 1 within it.
    checkpoint_file
        path of the pointer file, see `serving.checkpoints`.
    restore
        the checkpoint to continue from, or None.
    first_policy
        `Policy.pack()` of what a fresh server acts with before there is a learner.
    newest_version
        of the policies that players have met: the learner's next one gets a higher number, so that
        no two policies of a session share one.
    """

    session: str
    run: str
    observation_size: int
    action_size: int
    options: dict
    checkpoint_file: str
    restore: str | None
    log_dir: str
    first_policy: dict = {}
    newest_version: int = 0


class Experience(msgspec.Struct, tag=True):
    """A run of consecutive steps of one training episode.

    Arrays are raw little-endian bytes: `observations` (steps + 1, size) float32, the rest (steps,):
    `actions` int32, `rewards` float32, `log_probabilities` float32 (of the action under the policy
    that took it), `versions` int32 (of that policy). `logged`: somebody else acted. `ending`:
    `terminated`, `truncated`, or None when the episode goes on after the last observation.
    `episode_return` and `episode_steps` are of the whole episode, and set where it ends.
    """

    sequence: int
    episode_id: str
    steps: int
    observations: bytes
    actions: bytes
    rewards: bytes
    log_probabilities: bytes
    versions: bytes
    logged: bool
    ending: str | None
    episode_return: float = 0.0
    episode_steps: int = 0


class Stop(msgspec.Struct, tag=True):
    """Save a last checkpoint and exit."""


class Progress(msgspec.Struct, tag=True):
    """What the learner is busy with while it starts, and whenever something takes long: a sign of life."""

    doing: str


class Counters(msgspec.Struct):
    """How far learning has come. Lifetime numbers continue over restarts.

    consumed
        sequence number of the latest Experience taken over, in this session.
    acted
        env steps the policy itself took, as far as taken over, in this session.
    unlearnable_steps
        logged steps that an on-policy algorithm cannot learn from.
    outdated_steps
        the policy's own steps that were too old for an on-policy algorithm.
    """

    consumed: int = 0
    acted: int = 0
    env_steps: int = 0
    logged_steps: int = 0
    unlearnable_steps: int = 0
    outdated_steps: int = 0
    episodes: int = 0
    updates: int = 0


class Ready(msgspec.Struct, tag=True):
    """The learner is built, and restored if there was a checkpoint; send what comes after
    `counters.consumed`."""

    counters: Counters


class NewPolicy(msgspec.Struct, tag=True):
    """`policy` is `Policy.pack()`."""

    policy: dict


class Report(msgspec.Struct, tag=True):
    """Sent after each round of updates.

    allowed
        env steps the policy may have acted in this session before it has to wait.
    owed
        env steps taken over, but not learned from yet.
    """

    counters: Counters
    allowed: int
    owed: int
    updates_per_second: float
    loss: float | None = None


class Saved(msgspec.Struct, tag=True):
    """A checkpoint that holds all Experience up to `consumed` is on disk."""

    consumed: int


class NotSaved(msgspec.Struct, tag=True):
    """A checkpoint could not be written, such as for want of room; it is tried again."""

    why: str


class Fatal(msgspec.Struct, tag=True):
    why: str


Message = (
    Configure | Experience | Stop | Progress | Ready | NewPolicy | Report | Saved | NotSaved | Fatal
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)
_length = struct.Struct("<I")


def frame(message: Message) -> bytes:
    body = _encoder.encode(message)
    return _length.pack(len(body)) + body


def receive(stream) -> Message | None:
    """The next message from a blocking binary file; None when the other end is gone."""
    head = stream.read(_length.size)
    if len(head) < _length.size:
        return None
    size = _length.unpack(head)[0]
    body = stream.read(size)
    return _decoder.decode(body) if len(body) == size else None


async def receive_async(stream: asyncio.StreamReader) -> Message | None:
    """The next message from an asyncio stream; None when the other end is gone."""
    try:
        head = await stream.readexactly(_length.size)
        return _decoder.decode(await stream.readexactly(_length.unpack(head)[0]))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def write(stream: asyncio.StreamWriter, data: bytes) -> None:
    """Sends `data`; raises ConnectionResetError if the other end is known to be gone. (What closed
    itself under a reset, asyncio takes as a write into nothing, and uvloop for a RuntimeError.)"""
    if stream.transport.is_closing():
        raise ConnectionResetError("the other end is gone")
    stream.write(data)


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """The server's end and the learner's. Nobody else can connect, no port is taken, and each
    side sees at once when the other one dies."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, option, 2**20)
    return ours, theirs
