"""Whose the other end of a connection is, as the kernel knows it.

A port of the loopback interface is open to every user of the machine. Linux lists each TCP socket
with the user who made it, the other end's among them: asked for that one socket it answers within
microseconds (sock_diag(7)); where it may not be asked so, /proc/net/tcp is a list of all of them.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

try:
    import pwd
except ImportError:  # Windows, where nothing tells whose a connection is
    pwd = None

ROOT = 0

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, sender
_QUESTION = struct.Struct("=BBBBI")  # inet_diag_req_v2: family, protocol, extensions, -, states
_SOCKET = struct.Struct("!HH16s16s")  # inet_diag_sockid: the ports and addresses of both ends
_UID_AND_INODE = struct.Struct("=II")
_UID_AT = _HEADER.size + 64  # in inet_diag_msg

_LISTENS = "0A"


class Socket(NamedTuple):
    """A line of /proc/net/tcp. A socket that nobody holds any more has inode 0, and its user,
    who was anybody, is said to be root."""

    local: tuple[bytes, int]  # address, port
    remote: tuple[bytes, int]
    state: str
    uid: int
    inode: int


def is_loopback(host: str) -> bool:
    """Whether what listens at `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def owner_of(peer: tuple[str, int], here: tuple[str, int]) -> int | None:
    """The user who holds the socket at `peer` that is connected to ours at `here`; None if there is
    none (any more), or if it cannot be known."""
    try:
        return _ask(peer, here)
    except OSError:
        return _look_up(peer, here)


@functools.cache
def can_tell() -> bool:
    """Whether this machine says whose a connection is: tried with one of our own."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        ours = stack.enter_context(socket.create_connection(listener.getsockname()))
        owner = owner_of(ours.getsockname(), listener.getsockname())
        return owner is not None and owner == os.geteuid()


def may_use(uid: int | None) -> bool:
    """Whether a user may use what this process serves: its own user, and root."""
    return uid is not None and uid in (ROOT, os.geteuid(), os.getuid())


def name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def who_listens(port: int) -> int | None:
    """The user whose socket listens at a port of this machine, as far as that can be known."""
    for one in _sockets():
        if one.state == _LISTENS and one.local[1] == port:
            return one.uid
    return None


# -- sock_diag(7) ----------------------------------------------------------------------------------


@functools.cache
def _netlink() -> socket.socket:
    line = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
    line.settimeout(1.0)
    return line


def _ask(peer: tuple[str, int], here: tuple[str, int]) -> int | None:
    """As `owner_of`; raises OSError where the kernel cannot be asked."""
    if not hasattr(socket, "AF_NETLINK"):
        raise OSError("this is no Linux")
    peer_address, here_address = ipaddress.ip_address(peer[0]), ipaddress.ip_address(here[0])
    question = (
        _QUESTION.pack(
            socket.AF_INET6 if peer_address.version == 6 else socket.AF_INET,
            socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF,
        )
        + _SOCKET.pack(peer[1], here[1], peer_address.packed, here_address.packed)
        + struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)  # any interface, any cookie
    )  # fmt: skip
    line = _netlink()
    length = _HEADER.size + len(question)
    line.send(_HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0) + question)
    answer = line.recv(4096)
    if _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        (error,) = struct.unpack_from("=i", answer, _HEADER.size)
        if error == -2:  # ENOENT: there is no such socket
            return None
        raise OSError(-error, "sock_diag")
    uid, inode = _UID_AND_INODE.unpack_from(answer, _UID_AT)
    return uid if inode else None


# -- /proc/net/tcp ---------------------------------------------------------------------------------


def _look_up(peer: tuple[str, int], here: tuple[str, int]) -> int | None:
    ends = _packed(peer), _packed(here)
    for one in _sockets():
        if (one.local, one.remote) == ends:
            return one.uid if one.inode else None
    return None


def _packed(end: tuple[str, int]) -> tuple[bytes, int]:
    address = ipaddress.ip_address(end[0])
    return (getattr(address, "ipv4_mapped", None) or address).packed, end[1]


def _sockets() -> Iterator[Socket]:
    """All TCP sockets of this machine, as far as it lists them."""
    for name in ("tcp", "tcp6"):
        try:
            with open(f"/proc/net/{name}") as lines:
                for line in list(lines)[1:]:
                    fields = line.split()
                    yield Socket(
                        _end(fields[1]), _end(fields[2]), fields[3], int(fields[7]), int(fields[9])
                    )
        except OSError:
            continue


def _end(written: str) -> tuple[bytes, int]:
    """`0100007F:22C4` is 127.0.0.1:8900: words of four bytes as this machine holds them."""
    words, port = written.split(":")
    numbers = [int(words[i : i + 8], 16) for i in range(0, len(words), 8)]
    address = ipaddress.ip_address(struct.pack(f"={len(numbers)}I", *numbers))
    return _packed((str(address), int(port, 16)))
