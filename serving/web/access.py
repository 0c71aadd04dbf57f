"""What a server's options say about who may use it."""

from __future__ import annotations

import argparse
import contextlib
import secrets
from typing import NamedTuple

from serving.command_line import StartError
from serving.token_file import token_left
from serving.web import peers
from serving.web.guard import name_of

TOKEN = "expected letters, digits and punctuation"


class Access(NamedTuple):
    """Who may use a server.

    hosts
        names by which it is meant to be asked, beside those of loopback
    token
        what everybody has to present, if anything
    only_ours
        whether the kernel tells whose a connection is, which is then enough for its own user
    leaves_token
        whether its user's own programs find the token in a file
    """

    hosts: tuple[str, ...] = ()
    token: str | None = None
    only_ours: bool = False
    leaves_token: bool = False

    def left_for_own_programs(self, port: int) -> contextlib.AbstractContextManager:
        return token_left(port, self.token) if self.leaves_token else contextlib.nullcontext()


def access_for(options: argparse.Namespace) -> Access:
    """What `--host`, `--allowed-host` and `--token` come to; raises StartError if they make no
    sense. A token is made up where somebody else could use the server without one."""
    token, here = options.token, peers.is_loopback(options.host)
    if token is not None and not (
        token.isascii() and token.isprintable() and token.strip() == token != ""
    ):
        raise StartError(f"--token={token}: {TOKEN}")
    hosts = (options.host, *options.allowed_host)
    for host in options.allowed_host:
        if not host or name_of(host) != host.strip("[]").lower():
            raise StartError(f"--allowed-host={host}: expected a name such as hub.example.org")
    if token is not None:
        return Access(hosts, token)
    if not here:
        return Access(hosts, secrets.token_urlsafe(16))
    if peers.can_tell():
        return Access(hosts, only_ours=True)
    return Access(hosts, secrets.token_urlsafe(16), leaves_token=True)
