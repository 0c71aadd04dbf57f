"""From `make lab` to the first rewarded step: how long a student's machine takes for the shortest way."""

from __future__ import annotations

import time

import pytest
from walk import Lesson, Walk

pytestmark = pytest.mark.timeout(900)

FIRST = Lesson("01-serve-and-learn")


def test_from_make_lab_to_the_first_rewarded_step(open_lab):
    """Do the start page, the terminal and four cells lead there, and how many seconds are waited on
    the way? (Wanted: 15. Typing takes a moment here, and a busy machine its time.)"""
    began = time.monotonic()
    lab = open_lab()
    lab.open()
    opened = time.monotonic()
    walk = Walk(lab, FIRST)
    walk.start_server()
    for words in ("gym.make(", "connect("):
        walk.run(FIRST.find(words))
    stub = FIRST.find("def run_one_episode(")
    walk.notebook.replace(stub, FIRST.answers["run_one_episode"])
    walk.run(stub)
    walk.notebook.start(FIRST.find("returns = ["))
    lab.until(lambda: lab.running.status().get("env_steps"), 60, "a step and its reward")
    took = time.monotonic() - began
    print(
        f"{took:.1f} s to the first rewarded step, {opened - began:.1f} s of them to the start page"
    )
