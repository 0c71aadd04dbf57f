"""The line between examiner and notebook carries plain data, and nothing else."""

from __future__ import annotations

import socket
import threading
import time

import gymnasium as gym
import numpy as np
import pytest
from other_process import notebook_of

from serving.evaluation import time_limit
from serving.examiner import stand_ins
from serving.examiner.line import Gone
from serving.examiner.stand_ins import Function, Notebook

SOURCE = """
import time

import gymnasium as gym
import numpy as np


def echo(value):
    return value


def play(env):
    observation, _ = env.reset(seed=3)
    total, done = 0.0, False
    while not done:
        observation, reward, terminated, truncated, _ = env.step(int(observation[2] > 0))
        total, done = total + reward, terminated or truncated
    return total


def forever():
    while True:
        time.sleep(0.01)


def wrong(number=7):
    raise LookupError("no such thing")


class Coin(gym.Env):
    observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.ones(1, np.float32), float(action), True, False, {}
"""


@pytest.fixture
def a_notebook():
    """What stands for a notebook with SOURCE in it, served from another process."""
    with notebook_of(SOURCE) as line:
        notebook = Notebook()
        notebook.connected(line)
        yield notebook


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        2**70,
        -1.5,
        float("inf"),
        "ü",
        b"\0",
        [1, [2, ()]],
        (1, (2,)),
        {"a": {1: 2.0}},
    ],
    ids=str,
)
def test_plain_data_arrives_as_it_is(a_notebook, value):
    """Does a value come back equal, and of the same type?"""
    came = a_notebook.get("echo")(value)
    assert came == value
    assert type(came) is type(value)


def test_arrays_and_their_numbers_arrive_as_they_are(a_notebook):
    """Do dtype, shape and content survive?"""
    for value in (np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 4)), np.float32(0.1)):
        came = a_notebook.get("echo")(value)
        assert came.dtype == value.dtype and np.array_equal(came, value)
        assert type(came) is type(value)


def test_what_cannot_travel_is_shown(a_notebook):
    """Does an object arrive as something that shows itself, and can do nothing?"""
    came = a_notebook.get("np")
    assert "numpy" in repr(came) and not hasattr(came, "array")


def test_a_function_plays_in_the_examiners_environment(a_notebook):
    """Is it the environment here that is played there?"""
    from serving.evaluation import RecordingEnv

    env = RecordingEnv(gym.make("CartPole-v1"))
    total = a_notebook.get("play")(env)
    (episode,) = env.episodes
    assert episode.done and total == sum(episode.rewards)


def test_an_environment_there_is_played_from_here(a_notebook):
    """Does a class of environments there make environments that can be reset and stepped here?"""
    env = a_notebook.get("Coin")()
    assert env.observation_space == gym.spaces.Box(0, 1, (1,), np.float32)
    observation, info = env.reset(seed=1)
    assert observation.dtype == np.float32 and info == {}
    assert env.step(1)[1:] == (1.0, True, False, {})


def test_errors_arrive_by_name(a_notebook):
    """Does an exception keep its name and its sentence, and the line its step?"""
    with pytest.raises(Exception, match="no such thing") as raised:
        a_notebook.get("wrong")()
    assert type(raised.value).__name__ == "LookupError"
    assert a_notebook.get("echo")(1) == 1


def test_a_function_that_does_not_end_is_stopped(a_notebook):
    """Does the time limit here end the call there, in its words, and is the next call answered?"""
    function = a_notebook.get("forever")
    assert isinstance(function, Function)
    with pytest.raises(TimeoutError, match="waiting took longer than 2 s"):
        with time_limit(2.0, "waiting"):
            function()
    assert a_notebook.get("echo")("again") == "again"


def test_what_has_hung_once_is_not_waited_for_again(a_notebook, monkeypatch):
    """Is the next question about such a function answered at once, by the same sentence, and one about
    another as ever?"""
    monkeypatch.setattr(stand_ins, "SECONDS_THAT_MEAN_HANGING", 1.0)
    function = a_notebook.get("forever")
    with pytest.raises(TimeoutError, match="waiting took longer than 2 s") as first:
        with time_limit(2.0, "waiting"):
            function()
    began = time.monotonic()
    with pytest.raises(TimeoutError) as second, time_limit(20.0, "waiting once more"):
        a_notebook.get("forever")()
    assert time.monotonic() - began < 1.5
    assert str(second.value) == str(first.value)
    assert a_notebook.get("echo")("again") == "again"


@pytest.mark.parametrize(
    "message",
    [b"\0\0\0\1\xc1", b"\xff\xff\xff\xff", b"\0\0\0\2\x91\x01", b"GET / HTTP/1.1\r\n\r\n"],
)
def test_nonsense_ends_the_line(message):
    """Does whoever talks nonsense lose the line, and nothing else happen?"""
    ours, theirs = socket.socketpair()
    notebook = Notebook()
    notebook.connected(ours)
    threading.Thread(target=lambda: (theirs.sendall(message), theirs.close())).start()
    with pytest.raises(Gone):
        notebook.get("echo")


def test_only_the_examiners_own_objects_can_be_named():
    """Is a number that stands for nothing, or for something else, refused?"""
    notebook = Notebook()
    ours, _ = socket.socketpair()
    notebook.connected(ours)
    number = notebook.line.number_of(gym.make("CartPole-v1"))
    with pytest.raises(LookupError):
        notebook._ask_env(number, "close", (), {})
    with pytest.raises(LookupError):
        notebook._ask_call(number, (), {})
    with pytest.raises(LookupError):
        notebook._ask_http(number, "GET", "/status", None, True)
    with pytest.raises(LookupError):
        notebook._ask_new(99)
    with pytest.raises(PermissionError):
        notebook._ask_start(4, 2, {})
