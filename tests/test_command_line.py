"""What the commands have in common: Ctrl-C comes between two operations, never in the middle."""

from __future__ import annotations

import signal
import threading

import pytest

from serving.command_line import uninterrupted


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_waits_for_the_end_of_the_block():
    """Is everything in the block done, and Ctrl-C not forgotten, also of blocks in a block?"""
    done = []
    with pytest.raises(KeyboardInterrupt):
        with uninterrupted():
            with uninterrupted():
                press_ctrl_c()
                done.append("inner")
            done.append("outer")
        done.append("what comes after")
    assert done == ["inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_in_the_block_is_told():
    """Does the block's own error come out, and Ctrl-C work again after it?"""
    with pytest.raises(ZeroDivisionError):
        with uninterrupted():
            1 / 0  # noqa: B018
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_ignores_ctrl_c_goes_on_ignoring_it():
    """Is a program in the background left as it is?"""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with uninterrupted():
            press_ctrl_c()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_are_no_matter():
    """Can a thread that never gets a Ctrl-C use the same code?"""
    done = []

    def work():
        with uninterrupted():
            done.append("work")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert done == ["work"]
