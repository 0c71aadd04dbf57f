"""Where a server leaves its token for its own user's programs, on machines that do not tell whose
a connection is (see `serving.web.peers`): a file that nobody else can read.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from pathlib import Path


def token_file(port: int) -> Path:
    """The file of the server at a port of this machine; a home folder may be several machines'."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "online-learning-kit" / f"{socket.gethostname()}-{port}.token"


def read_token(port: int) -> str | None:
    try:
        return token_file(port).read_text() or None
    except (OSError, RuntimeError, UnicodeDecodeError):  # there is none, nor a home perhaps
        return None


@contextlib.contextmanager
def token_left(port: int, token: str):
    """Leaves the token for as long as the block lasts."""
    path = token_file(port)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, written = tempfile.mkstemp(dir=path.parent)  # readable by its owner only
    with open(descriptor, "w") as file:
        file.write(token)
    os.replace(written, path)
    try:
        yield
    finally:
        if read_token(port) == token:  # not a successor's
            path.unlink(missing_ok=True)
