"""Where in the reader's own code something went wrong: neither in the kit nor in what is installed."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from pathlib import Path

_OTHERS = (
    str(Path(__file__).parent),
    sys.prefix,
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("purelib"),
)
LONGEST = 100  # characters of a line that are shown


def own_frame(error: BaseException) -> traceback.FrameSummary | None:
    """The innermost frame of an exception that is the reader's own."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((*_OTHERS, "<frozen"))
    ]
    return own[-1] if own else None


def own_line(error: BaseException) -> str:
    """`line 7: total += reward`, or `line 7` where the text is not known; "" if there is none."""
    frame = own_frame(error)
    if frame is None:
        return ""
    text = (frame.line or "")[:LONGEST]
    return f"line {frame.lineno}: {text}" if text else f"line {frame.lineno}"
