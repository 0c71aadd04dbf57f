"""The HTTP interface as any program sees it: a real policy server, and nothing but sockets."""

from __future__ import annotations

import http.client
import json
import random
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote, urlsplit

import jsonschema
import pytest

from serving import protocol
from serving.link import Configure
from serving.policy import untrained
from serving.running_server import RunningServer
from serving.server.calls import PolicyServer
from serving.server.episodes import EpisodeBook
from serving.server.http_api import make_app
from serving.server.supervisor import LearnerSupervisor

SIZE, ACTIONS = 4, 2
OBSERVATION = [0.5, -1.0, 0.25, 2.0]
COUNTED = ("env_steps", "logged_steps", "evaluation_steps", "episodes", "open_episodes", "returns")
POSTS = ("start_episode", "get_action", "log_action", "log_steps", "log_returns", "end_episode")


@pytest.fixture(scope="module")
def the_server(nothing_left_behind) -> Iterator[RunningServer]:
    """One policy server for the whole file: no test may harm it."""
    with RunningServer(SIZE, ACTIONS) as server:
        yield server
        assert server.process.poll() is None, "\n".join(server.lines)
        assert not any("Traceback" in line for line in server.lines), "\n".join(server.lines)


def request(server, method: str, path: str, body=None, headers=None) -> tuple[int, dict]:
    """Status and answer of one request over a connection of its own."""
    address = urlsplit(server.address)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    with closing(connection):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        content = response.read()
        assert response.getheader("content-type", "").startswith(("application/json", "text/plain"))
        is_json = response.getheader("content-type") == "application/json"
        return response.status, json.loads(content) if is_json and content else {}


def post(server, call: str, **message) -> tuple[int, dict]:
    return request(server, "POST", f"/{call}", message)


def get(server, path: str) -> dict:
    status, answer = request(server, "GET", path)
    assert status == 200
    return answer


def counted(server) -> dict:
    status = get(server, "/status")
    return {name: status[name] for name in COUNTED}


@pytest.fixture
def an_episode(the_server) -> str:
    """An open episode with one action."""
    episode_id = post(the_server, "start_episode")[1]["episode_id"]
    status, _ = post(the_server, "get_action", episode_id=episode_id, observation=OBSERVATION)
    assert status == 200
    return episode_id


# -- the calls -------------------------------------------------------------------------------------


def test_a_full_episode(the_server):
    """Does an episode work with nothing but JSON over HTTP, and is its transcript what was said?"""
    before = counted(the_server)
    status, started = post(the_server, "start_episode")
    assert status == 200
    episode_id, actions = started["episode_id"], []
    for k in range(5):
        message = {"episode_id": episode_id, "observation": [float(k)] * SIZE}
        if k:
            message["reward"] = k / 2
        status, answer = post(the_server, "get_action", **message)
        assert status == 200
        assert answer["action"] in range(ACTIONS)
        assert answer["policy_version"] >= 0
        assert isinstance(answer.get("greedy", True), bool)
        assert "values" not in answer
        actions.append(answer["action"])
    status, answer = post(
        the_server, "log_returns", episode_id=episode_id, reward=1, info={"a": [1]}
    )
    assert (status, answer) == (200, {"steps": 5})
    status, answer = post(the_server, "log_action", episode_id=episode_id,
                          observation=OBSERVATION, action=1)  # fmt: skip
    assert (status, answer) == (200, {"steps": 6})
    steps = [
        {"observation": OBSERVATION, "action": 0.0, "reward": -1},
        {"observation": OBSERVATION, "action": 1},
    ]
    status, answer = post(the_server, "log_steps", episode_id=episode_id, reward=2, steps=steps)
    assert (status, answer) == (200, {"steps": 8})
    last = {"observation": [9.0] * SIZE, "reward": 0.5, "truncated": True}
    status, answer = post(the_server, "end_episode", episode_id=episode_id, **last)
    assert (status, answer) == (200, {"steps": 8})
    transcript = get(the_server, f"/episodes/{episode_id}")
    assert transcript["observations"][:5] == [[float(k)] * SIZE for k in range(5)]
    assert transcript["observations"][5:] == [OBSERVATION] * 3 + [[9.0] * SIZE]
    assert transcript["actions"] == [*actions, 1, 0, 1]
    assert transcript["rewards"] == [0.5, 1.0, 1.5, 2.0, 1.0, 2.0, -1.0, 0.5]
    assert transcript["sources"] == ["policy"] * 5 + ["log"] * 3
    assert transcript["ending"] == "truncated"
    after = counted(the_server)
    assert after["env_steps"] - before["env_steps"] == 8
    assert after["logged_steps"] - before["logged_steps"] == 3
    assert after["episodes"] - before["episodes"] == 1
    assert after["returns"][-1] == sum(transcript["rewards"])


def test_explain_shows_the_action_values(the_server, an_episode):
    """Is the greedy action the one with the largest of the values that are shown?"""
    for _ in range(20):
        status, answer = post(the_server, "get_action", episode_id=an_episode,
                              observation=OBSERVATION, explain=True)  # fmt: skip
        assert status == 200
        assert len(answer["values"]) == ACTIONS
        best = max(range(ACTIONS), key=answer["values"].__getitem__)
        if answer.get("greedy", True):
            assert answer["action"] == best
        else:
            assert answer["action"] != best


def test_an_evaluation_is_greedy_and_not_learned_from(the_server):
    """Does `training_enabled=False` give the best action each time, and count apart?"""
    before = counted(the_server)
    episode_id = post(the_server, "start_episode", training_enabled=False)[1]["episode_id"]
    for k in range(30):
        _, answer = post(the_server, "get_action", episode_id=episode_id,
                         observation=[k - 15.0, 1.0, -1.0, 0.0], explain=True)  # fmt: skip
        assert answer["action"] == max(range(ACTIONS), key=answer["values"].__getitem__)
        assert answer.get("greedy", True) is True
    post(the_server, "end_episode", episode_id=episode_id, observation=OBSERVATION)
    after = counted(the_server)
    assert after["evaluation_steps"] - before["evaluation_steps"] == 30
    for name in ("env_steps", "episodes", "returns"):
        assert after[name] == before[name]


def test_several_calls_over_one_connection(the_server):
    """Is a connection kept open, and does a refusal not spoil it for the next call?"""
    address = urlsplit(the_server.address)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    with closing(connection):
        connection.connect()
        first = connection.sock
        for body, expected in ((b"{}", 200), (b"{", 400), (b"x" * 5_000_000, 413), (b"{}", 200)):
            connection.request("POST", "/start_episode", body)
            response = connection.getresponse()
            response.read()
            assert response.status == expected
            assert connection.sock is first


@pytest.mark.parametrize("episode_id", ["a b", "ä/ö", "a?b#c", "..", "%2F", "x" * 128, '"', "\t"])
def test_ids_may_hold_any_character(the_server, episode_id):
    """Does an id of the player's choice work in every call, in the path of its transcript too?"""
    episode_id += "" if len(episode_id) > 100 else f" {time.time_ns()}"
    assert post(the_server, "start_episode", episode_id=episode_id)[1] == {"episode_id": episode_id}
    post(the_server, "get_action", episode_id=episode_id, observation=OBSERVATION)
    status, _ = post(the_server, "end_episode", episode_id=episode_id, observation=OBSERVATION)
    assert status == 200
    assert get(the_server, f"/episodes/{quote(episode_id, safe='')}")["episode_id"] == episode_id


# -- bad input -------------------------------------------------------------------------------------

E = '"episode_id": EPISODE'
O = '"observation": [0, 0, 0, 0]'  # noqa: E741
STEP = '{"observation": [0, 0, 0, 0], "action": 0}'
BAD = {
    # name: (call, message, status, what the refusal says was expected, ... and what came)
    "nan": ("get_action", f'{{{E}, "observation": [0, NaN, 0, 0]}}', 400, "finite", "NaN"),
    "infinity": ("get_action", f'{{{E}, "observation": [0, -Infinity, 0, 0]}}', 400, "finite", "Infinity"),
    "too large for a float": ("get_action", f'{{{E}, "observation": [0, 1e999, 0, 0]}}', 400, "finite number", "observation"),
    "too large": ("get_action", f'{{{E}, "observation": [0, 0, 1e300, 0]}}', 400, "between -1e+06 and 1e+06", "observation[2] is 1e+300"),
    "too short": ("get_action", f'{{{E}, "observation": [0, 0, 0]}}', 400, "expected 4", "has 3 numbers"),
    "too long": ("get_action", f'{{{E}, "observation": [0, 0, 0, 0, 0]}}', 400, "expected 4", "has 5 numbers"),
    "empty observation": ("get_action", f'{{{E}, "observation": []}}', 400, "expected 4", "has 0 numbers"),
    "nested observation": ("get_action", f'{{{E}, "observation": [[0, 0, 0, 0]]}}', 400, "Expected float", "got array"),
    "text observation": ("get_action", f'{{{E}, "observation": ["0", 0, 0, 0]}}', 400, "Expected float", "got str"),
    "null in the observation": ("get_action", f'{{{E}, "observation": [0, null, 0, 0]}}', 400, "Expected float", "got null - at observation"),
    "observation is a number": ("get_action", f'{{{E}, "observation": 1}}', 400, "Expected array", "got int"),
    "observation is null": ("get_action", f'{{{E}, "observation": null}}', 400, "Expected array", "got null"),
    "no observation": ("get_action", f"{{{E}}}", 400, "missing required field", "observation"),
    "no episode": ("get_action", f"{{{O}}}", 400, "missing required field", "episode_id"),
    "unknown field": ("get_action", f'{{{E}, {O}, "rewards": 1}}', 400, "unknown field", "rewards"),
    "reward is text": ("get_action", f'{{{E}, {O}, "reward": "1"}}', 400, "Expected float", "reward"),
    "reward is true": ("get_action", f'{{{E}, {O}, "reward": true}}', 400, "Expected float", "got bool"),
    "reward too large": ("get_action", f'{{{E}, {O}, "reward": 1e7}}', 400, "finite number between", "reward is 10000000"),
    "negative patience": ("get_action", f'{{{E}, {O}, "patience": -1}}', 400, ">= 0", "patience"),
    "endless patience": ("get_action", f'{{{E}, {O}, "patience": 1e5}}', 400, "<= 60", "patience"),
    "explain is text": ("get_action", f'{{{E}, {O}, "explain": "yes"}}', 400, "Expected bool", "explain"),
    "id is a number": ("get_action", f'{{"episode_id": 7, {O}}}', 400, "Expected str", "episode_id"),
    "id is empty": ("get_action", f'{{"episode_id": "", {O}}}', 400, "length >= 1", "episode_id"),
    "id is endless": ("get_action", f'{{"episode_id": "{"x" * 129}", {O}}}', 400, "length <= 128", "episode_id"),
    "unknown episode": ("get_action", f'{{"episode_id": "nobody", {O}}}', 404, "start_episode()", "'nobody'"),
    "bad step": ("get_action", f'{{{E}, {O}, "steps": [{STEP}, {{"observation": [0], "action": 0}}]}}', 400, "expected 4", "has 1 numbers"),
    "action too large": ("log_action", f'{{{E}, {O}, "action": 2}}', 400, "from 0 to 1", "action is 2"),
    "negative action": ("log_action", f'{{{E}, {O}, "action": -1}}', 400, "from 0 to 1", "action is -1"),
    "fractional action": ("log_action", f'{{{E}, {O}, "action": 1.5}}', 400, "whole number", "action is 1.5"),
    "action is text": ("log_action", f'{{{E}, {O}, "action": "1"}}', 400, "Expected float", "got str"),
    "action is true": ("log_action", f'{{{E}, {O}, "action": true}}', 400, "Expected float", "got bool"),
    "no action": ("log_action", f"{{{E}, {O}}}", 400, "missing required field", "action"),
    "unknown field in a step": ("log_steps", f'{{{E}, "steps": [{{"observation": [0, 0, 0, 0], "action": 0, "info": 1}}]}}', 400, "unknown field", "info"),
    "steps are no list": ("log_steps", f'{{{E}, "steps": {STEP}}}', 400, "Expected array", "got object"),
    "one bad step of many": ("log_steps", f'{{{E}, "steps": [{STEP}, {STEP}, {{"observation": [0, 0, 0, 0], "action": 9}}, {STEP}]}}', 400, "from 0 to 1", "action is 9"),
    "bad reward of a step": ("log_steps", f'{{{E}, "steps": [{STEP}, {{"observation": [0, 0, 0, 0], "action": 0, "reward": 2e6}}]}}', 400, "between", "reward is 2000000"),
    "no reward": ("log_returns", f"{{{E}}}", 400, "missing required field", "reward"),
    "reward is null": ("log_returns", f'{{{E}, "reward": null}}', 400, "Expected float", "got null"),
    "nan reward": ("log_returns", f'{{{E}, "reward": NaN}}', 400, "finite", "NaN"),
    "info is a list": ("log_returns", f'{{{E}, "reward": 1, "info": []}}', 400, "Expected object", "info"),
    "info is too deep": ("log_returns", f'{{{E}, "reward": 1, "info": {{"a": {"[" * 100_000}', 400, "nested", "deep"),
    "end with a bad size": ("end_episode", f'{{{E}, "observation": [0, 0]}}', 400, "expected 4", "has 2 numbers"),
    "truncated is a number": ("end_episode", f'{{{E}, {O}, "truncated": 1}}', 400, "Expected bool", "truncated"),
    "end with a bad step": ("end_episode", f'{{{E}, {O}, "steps": [{{"observation": [0, 0, 0, 0], "action": 3}}]}}', 400, "from 0 to 1", "action is 3"),
    "training is a number": ("start_episode", '{"training_enabled": 1}', 400, "Expected bool", "training_enabled"),
    "no message": ("start_episode", "", 400, "not JSON", "truncated"),
    "null": ("start_episode", "null", 400, "Expected object", "got null"),
    "a list": ("start_episode", "[]", 400, "Expected object", "got array"),
    "half a message": ("get_action", f"{{{E}, {O[:-1]}", 400, "not JSON", "truncated"),
    "two messages": ("get_action", f"{{{E}, {O}}} {{}}", 400, "not JSON", "trailing"),
    "no JSON, and info in it": ("log_returns", f'{{{E}, "reward": 1, "info": {{}}', 400, "not JSON", "truncated"),
    "form data": ("start_episode", "episode_id=x&training_enabled=true", 400, "not JSON", "invalid character"),
    "not UTF-8": ("start_episode", b'{"episode_id": "\xff\xfe"}', 400, "not JSON", "utf-8"),
    "half a surrogate": ("start_episode", '{"episode_id": "\\ud800"}', 400, "not JSON", ""),
    "deep nesting": ("get_action", "[" * 1_000_000, 400, "Expected object", "got array"),
    "oversize": ("log_steps", b" " * (protocol.LARGEST_BODY + 1), 413, str(protocol.LARGEST_BODY), "larger"),
    "oversize and well-formed": ("log_steps", f'{{{E}, "steps": [{", ".join([STEP] * 100_000)}]}}', 413, str(protocol.LARGEST_BODY), "larger"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_input_is_refused_and_nothing_recorded(the_server, an_episode, name):
    """Is bad input a 4xx that names what was expected and what came, without any trace?"""
    call, message, status, expected, came = BAD[name]
    body = message if isinstance(message, bytes) else message.encode()
    body = body.replace(b"EPISODE", json.dumps(an_episode).encode())
    before, transcript = counted(the_server), get(the_server, f"/episodes/{an_episode}")
    found, refusal = request(the_server, "POST", f"/{call}", body)
    assert found == status, refusal
    assert expected in refusal["error"], refusal
    assert came in refusal["error"], refusal
    assert len(refusal["error"]) < 500
    assert refusal["call"] in (call, "log_action", "log_returns")
    assert counted(the_server) == before
    assert get(the_server, f"/episodes/{an_episode}") == transcript
    status, _ = post(the_server, "end_episode", episode_id=an_episode, observation=OBSERVATION)
    assert status == 200


@pytest.mark.parametrize(("name", "call", "step"), [
    ("one bad step of many", "log_action", 3),
    ("bad reward of a step", "log_returns", 2),
    ("end with a bad step", "log_action", 1),
    ("reward too large", "log_returns", 0),
    ("too short", "get_action", None),
])  # fmt: skip
def test_a_refusal_names_call_and_step(the_server, an_episode, name, call, step):
    """Does a refusal of something that was sent along say which of the player's calls it was?"""
    path, message, status, *_ = BAD[name]
    body = message.replace("EPISODE", json.dumps(an_episode)).encode()
    found, refusal = request(the_server, "POST", f"/{path}", body)
    assert (found, refusal["call"], refusal.get("step")) == (status, call, step)


def test_after_the_end(the_server, an_episode):
    """Is every call on an ended episode a 409 with what to do instead?"""
    post(the_server, "end_episode", episode_id=an_episode, observation=OBSERVATION)
    before = counted(the_server)
    step = {"observation": OBSERVATION, "action": 0}
    for call, message in {
        "get_action": {"observation": OBSERVATION},
        "log_action": step,
        "log_steps": {"steps": [step]},
        "log_returns": {"reward": 1.0},
        "end_episode": {"observation": OBSERVATION},
    }.items():
        status, refusal = post(the_server, call, episode_id=an_episode, **message)
        assert status == 409
        assert "has ended; start a new one with start_episode()" in refusal["error"]
    assert post(the_server, "start_episode", episode_id=an_episode)[0] == 409
    assert counted(the_server) == before


def test_a_reward_before_any_action(the_server):
    """Is a reward that belongs to no action a 409 that says what is missing?"""
    episode_id = post(the_server, "start_episode")[1]["episode_id"]
    both = {"reward": 1.0, "observation": OBSERVATION}
    messages = {"log_returns": {"reward": 1.0}, "get_action": both, "end_episode": both}
    for call, message in messages.items():
        status, refusal = post(the_server, call, episode_id=episode_id, **message)
        assert status == 409
        assert "no action yet" in refusal["error"]
        assert refusal["call"] == "log_returns"
    status, _ = post(the_server, "end_episode", episode_id=episode_id, observation=OBSERVATION)
    assert status == 200


@pytest.mark.parametrize(
    "path", ["/nothing", "/get_action/", "/Status", "/status/x", "//", "/a%00b", "/é"]
)
def test_unknown_paths(the_server, path):
    """Does a 404 say what there is?"""
    for method in ("GET", "POST"):
        status, refusal = request(the_server, method, quote(path, safe="/%"), b"{}")
        assert status == 404
        assert "/get_action" in refusal["error"] and "/status" in refusal["error"]


@pytest.mark.parametrize(("method", "path"), [
    *[(method, f"/{call}") for call in POSTS for method in ("GET", "PUT", "DELETE")],
    *[("POST", f"/{view}") for view in ("status", "policy", "episodes", "episodes/x")],
])  # fmt: skip
def test_wrong_methods(the_server, method, path):
    """Is a wrong method a 405 that says so?"""
    status, refusal = request(the_server, method, path)
    assert status == 405
    assert refusal["error"].startswith(f"{method} {path} is not possible")


@pytest.mark.parametrize("last", ["-1", "x", "", "1.5", "9" * 5000, "1e3", "%00"])
def test_bad_queries(the_server, last):
    """Is a bad number of episodes refused?"""
    status, refusal = request(the_server, "GET", f"/episodes?last={last}")
    assert status == 400
    assert "last is" in refusal["error"]
    assert len(refusal["error"]) < 200


def test_the_latest_episodes(the_server):
    """Does `last` bound how many transcripts come, and are refusals listed?"""
    post(the_server, "get_action", episode_id="nobody", observation=OBSERVATION)
    for last in (0, 1, 3, 999_999_999):
        answer = get(the_server, f"/episodes?last={last}")
        assert len(answer["episodes"]) <= last
    assert answer["rejected"][-1] == {
        "call": "get_action", "episode_id": "nobody", "status": 404,
        "error": answer["rejected"][-1]["error"],
    }  # fmt: skip
    status, refusal = request(the_server, "GET", "/episodes/nobody")
    assert status == 404
    assert "'nobody'" in refusal["error"]


def test_garbage_on_the_socket(the_server):
    """Does a program that does not even speak HTTP get an error or nothing, and harm nobody?"""
    address = urlsplit(the_server.address)
    garbage = [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /start_episode HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n{}",
        b"POST /start_episode HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{}",  # and hangs up
        b"POST /start_episode HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /status HTTP/1.1\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # a TLS greeting
        random.Random(0).randbytes(10_000),
    ]
    for data in garbage:
        with socket.create_connection((address.hostname, address.port), timeout=10) as line:
            try:
                line.sendall(data)
                line.shutdown(socket.SHUT_WR)
                answer = line.recv(1000)
            except TimeoutError:
                raise
            except OSError:  # reset, or closed before we could say that we are done
                answer = b""
        assert not answer.startswith(b"HTTP/1.1 5"), (data[:50], answer)
        assert request(the_server, "GET", "/status")[0] == 200


def test_fuzz(the_server, an_episode):
    """Does no random message whatsoever end in a 5xx or in harm?"""
    rng, address = random.Random(2), urlsplit(the_server.address)
    step = {"observation": OBSERVATION, "action": 1, "reward": 0.5}
    good = {
        "start_episode": {"episode_id": "fuzz", "training_enabled": True},
        "get_action": {"episode_id": an_episode, "observation": OBSERVATION, "reward": 1.0,
                       "steps": [step], "patience": 0.01, "explain": True},
        "log_action": {"episode_id": an_episode, "observation": OBSERVATION, "action": 1},
        "log_steps": {"episode_id": an_episode, "steps": [step, step], "reward": 1, "patience": 0},
        "log_returns": {"episode_id": an_episode, "reward": 1.0, "info": {"a": None}},
        "end_episode": {"episode_id": "nobody", "observation": OBSERVATION, "truncated": False},
    }  # fmt: skip
    scalars = [
        None,
        True,
        0,
        -1,
        1.5,
        1e18,
        -1e300,
        2**70,
        "",
        "x",
        "\x00",
        "é" * 50,
        [],
        {},
        [[]],
        an_episode,
    ]

    def junk(depth=0):
        kind = rng.random()
        if depth > 3 or kind < 0.6:
            return rng.choice(scalars)
        if kind < 0.8:
            return [junk(depth + 1) for _ in range(rng.randrange(5))]
        return {rng.choice(["episode_id", "action", "x"]): junk(depth + 1) for _ in range(3)}

    def mutated(message):
        if rng.random() < 0.3 or not message:
            return junk()
        if isinstance(message, dict):
            key = rng.choice(sorted(message))
            return {**message, key: mutated(message[key])}
        if isinstance(message, list):
            at = rng.randrange(len(message))
            return [*message[:at], mutated(message[at]), *message[at + 1 :]]
        return junk()

    def body(call: str) -> bytes:
        kind, text = rng.random(), bytearray(json.dumps(good[call]).encode())
        if kind < 0.15:
            return rng.randbytes(rng.randrange(300))
        if kind < 0.6:
            return json.dumps(mutated(good[call])).encode()
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(text))
            text[at : at + rng.randrange(3)] = rng.choice(
                [
                    b"",
                    b"\xff",
                    b"NaN",
                    b"1e999",
                    b"[",
                    b"}",
                    b'"',
                    b"-",
                    b"\\u0000",
                    rng.randbytes(2),
                ]
            )
        return bytes(text)

    statuses, deadline = [], time.monotonic() + 40
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    with closing(connection):
        for _ in range(2_000):
            call = rng.choice(POSTS)
            message = body(call)
            path = f"/{call}" if rng.random() < 0.95 else f"/{quote(rng.randbytes(8))}"
            connection.request(rng.choice(["POST"] * 9 + ["PATCH"]), path, message)
            response = connection.getresponse()
            answer = response.read()
            assert response.status < 500, (call, message, answer)
            statuses.append(response.status)
            if response.status not in (200, 202):
                assert json.loads(answer)["error"], (call, message)
            if time.monotonic() > deadline:
                break
    assert len(statuses) > 500
    assert {200, 400, 404, 405} <= set(statuses)
    assert get(the_server, "/status")["state"] != "failed"


# -- who may talk to it ----------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [
    "http://evil.example", "https://evil.example:8900", "null", "http://[",
    "http://localhost.evil.example",
    "file://", "http://localhost", "http://localhost:1", "http://127.0.0.2",
])  # fmt: skip
def test_pages_of_other_sites_are_kept_out(the_server, origin):
    """Is a request that a browser sends for another site's page refused, to every path?"""
    before = counted(the_server)
    for method, path in (("POST", "/start_episode"), ("GET", "/status"), ("GET", "/nothing")):
        status, refusal = request(the_server, method, path, b"{}", {"Origin": origin})
        assert status == 403
        assert origin in refusal["error"]
    assert counted(the_server) == before


def test_its_own_pages_are_let_in(the_server):
    """May a page that was loaded from the server's own address talk to it?"""
    port = urlsplit(the_server.address).port
    for name in ("localhost", "127.0.0.1"):
        headers = {"Origin": f"http://{name}:{port}", "Host": f"{name}:{port}"}
        assert request(the_server, "GET", "/status", headers=headers)[0] == 200


def test_a_name_that_was_pointed_at_loopback_is_kept_out(the_server):
    """Is a foreign page refused also if its name resolves to this machine (DNS rebinding)?"""
    headers = {"Origin": "http://evil.example:8900", "Host": "evil.example:8900"}
    for method, path in (("POST", "/start_episode"), ("GET", "/status"), ("GET", "/")):
        assert request(the_server, method, path, b"{}", headers)[0] == 403
        assert request(the_server, method, path, b"{}", {"Host": headers["Host"]})[0] == 403


def test_no_other_site_may_read_answers(the_server):
    """Does no answer carry a CORS permission?"""
    address = urlsplit(the_server.address)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    with closing(connection):
        asking = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
        for method in ("GET", "OPTIONS", "POST"):
            connection.request(method, "/status", headers=asking)
            response = connection.getresponse()
            response.read()
            names = {name.lower() for name, _ in response.getheaders()}
            assert not any(name.startswith("access-control") for name in names)


def test_a_token():
    """With --token, does every request need it, and is a wrong one refused?"""
    with RunningServer(SIZE, ACTIONS, token="open sesame") as server:
        right = {"Authorization": "Bearer open sesame"}
        for wrong in (None, "Bearer open", "open sesame", "Bearer open sesame2", "Bearer é"):
            headers = {} if wrong is None else {"Authorization": wrong.encode()}
            for method, path in (("GET", "/status"), ("POST", "/start_episode"), ("GET", "/x")):
                status, refusal = request(server, method, path, b"{}", headers)
                assert status == 401
                assert "token" in refusal["error"]
                assert "open sesame" not in refusal["error"]
        assert request(server, "GET", "/status", headers=right)[0] == 200
        assert request(server, "POST", "/start_episode", b"{}", right)[0] == 200
        foreign = {**right, "Origin": "http://evil.example"}
        assert request(server, "GET", "/status", headers=foreign)[0] == 403
        assert server.client(token="open sesame").status().episodes == 0


# -- the description -------------------------------------------------------------------------------


@pytest.fixture
def the_description(the_server) -> dict:
    return get(the_server, "/openapi.json")


def validate(description: dict, path: str, method: str, status: int, answer) -> None:
    """Raises unless `answer` is what the description says of this path, method and status."""
    schema = description["paths"][path][method]["responses"][str(status)]["content"]
    schema = {**schema["application/json"]["schema"], "components": description["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer)


def test_the_description_is_openapi(the_description):
    """Is it an OpenAPI 3.1 document: required fields, resolvable references, valid schemas?"""
    assert the_description["openapi"].startswith("3.1.")
    assert the_description["info"]["title"] and the_description["info"]["version"]
    operations = []
    for path, item in the_description["paths"].items():
        assert path.startswith("/")
        for method, operation in item.items():
            assert method in {"get", "post"}
            operations.append(operation["operationId"])
            assert operation["responses"]
            for status, response in operation["responses"].items():
                assert 200 <= int(status) < 600
                assert response["description"]
            named = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}
            for parameter in operation.get("parameters", []):
                assert parameter["in"] in {"path", "query"} and parameter["schema"]
                assert parameter["in"] != "path" or parameter["required"] is True
            assert (method == "post") == ("requestBody" in operation)
    assert len(operations) == len(set(operations))
    for schema in the_description["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)

    def references(part):
        if isinstance(part, dict):
            if "$ref" in part:
                yield part["$ref"]
            for value in part.values():
                yield from references(value)
        elif isinstance(part, list):
            for value in part:
                yield from references(value)

    for reference in references(the_description):
        kind, _, name = reference.rpartition("/")
        assert kind == "#/components/schemas"
        assert name in the_description["components"]["schemas"]


def test_every_route_is_documented_and_every_documented_path_exists(the_server, the_description):
    """Do the routes that are served and those that are described agree?"""
    configure = Configure("s", "DQN", SIZE, ACTIONS, {}, "policy", None, "logs")
    book = EpisodeBook(SIZE, ACTIONS)
    learner = LearnerSupervisor(configure, book, untrained(SIZE, ACTIONS, [8]), 1)
    routes = make_app(PolicyServer(book, learner)).app.routes
    served = {
        (route.path.replace(":path}", "}"), method.lower())
        for route in routes
        if not f"{route.path}/".startswith("/page/")  # files
        for method in route.methods - {"HEAD"}
    }
    documented = {
        (path, method) for path, item in the_description["paths"].items() for method in item
    }
    # The description itself, and the page for people and its stream, need no description.
    page = {("/", "get"), ("/events", "get")}
    assert served - documented == {("/openapi.json", "get"), *page}
    assert documented <= served
    for path, method in documented:
        status, _ = request(the_server, method.upper(), path.replace("{episode_id}", "x"), b"{}")
        assert status != 405
        assert status != 404 or "{" in path


def test_live_answers_are_as_described(the_server, the_description):
    """Do real answers, refusals among them, match the schemas of their path and status?"""
    seen = set()

    def call(method: str, path: str, message=None, template: str | None = None):
        status, answer = request(the_server, method, path, message)
        template = template or path.split("?")[0]
        validate(the_description, template, method.lower(), status, answer)
        seen.add((template, status))
        return answer

    episode_id = call("POST", "/start_episode", {})["episode_id"]
    this = {"episode_id": episode_id}
    step = {"observation": OBSERVATION, "action": 1.0}
    call("POST", "/log_returns", {**this, "reward": 1.0})  # 409
    call("POST", "/get_action", {**this, "observation": OBSERVATION})
    call("POST", "/get_action", {**this, "observation": OBSERVATION, "explain": True})
    call("POST", "/log_returns", {**this, "reward": 1.0})
    call("POST", "/log_action", {**this, **step})
    call("POST", "/log_steps", {**this, "steps": [step]})
    call("GET", f"/episodes/{episode_id}", template="/episodes/{episode_id}")  # open
    call("POST", "/end_episode", {**this, "observation": [0.0]})  # 400
    call("POST", "/end_episode", {**this, "observation": OBSERVATION})
    call("POST", "/end_episode", {**this, "observation": OBSERVATION})  # 409
    call("POST", "/start_episode", {**this})  # 409
    call("POST", "/get_action", {"episode_id": "nobody", "observation": OBSERVATION})  # 404
    call("POST", "/log_steps", b" " * (protocol.LARGEST_BODY + 1))  # 413
    call("GET", "/status")
    call("GET", "/curve")
    call("GET", "/policy")
    call("GET", "/policies")
    call("GET", "/policy?version=0")
    call("GET", "/policy?version=first")
    call("GET", "/policy?version=999999")  # 410
    call("POST", "/keep_policy", {"version": 0, "name": "first"})
    call("POST", "/keep_policy", {"version": 0, "name": "a name"})  # 400
    call("POST", "/keep_policy", {"version": 999999, "name": "last"})  # 410
    call("POST", "/serve_policy", {"version": 0})
    call("POST", "/serve_policy", {"version": None})
    call("POST", "/start_episode", {"policy_version": 999999, "training_enabled": False})  # 410
    call("GET", "/episodes?last=3")
    call("GET", "/episodes?last=x")
    call("GET", f"/episodes/{episode_id}", template="/episodes/{episode_id}")
    call("GET", "/episodes/nobody", template="/episodes/{episode_id}")
    assert {path for path, status in seen if status == 200} == set(the_description["paths"])
    assert {status for _, status in seen} == {200, 400, 404, 409, 410, 413}


def test_a_wait_is_as_described(the_server, the_description):
    """Is status 202 what the description says, and was nothing recorded?"""
    episode_id = post(the_server, "start_episode")[1]["episode_id"]
    message = {"episode_id": episode_id, "observation": OBSERVATION, "patience": 0.0}
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        steps = counted(the_server)["env_steps"]
        status, answer = post(the_server, "get_action", **message)
        if status == 202:
            break
        # Acting runs ahead of learning until it has to wait.
        assert status == 200
    assert status == 202
    validate(the_description, "/get_action", "post", 202, answer)
    assert answer["waiting_for"].startswith("the learner")
    assert counted(the_server)["env_steps"] == steps


def test_documented_requests_are_accepted(the_description):
    """Does the description's schema of a request agree with what the server decodes?"""
    steps = [{"observation": OBSERVATION, "action": 1}]
    good = {
        "episode_id": "e",
        "observation": OBSERVATION,
        "reward": 1,
        "patience": 1,
        "steps": steps,
    }
    schema = the_description["paths"]["/get_action"]["post"]["requestBody"]["content"]
    schema = {**schema["application/json"]["schema"], "components": the_description["components"]}
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(good)
    for bad in ({"episode_id": ""}, {"observation": "x"}, {"patience": 61}, {"reward": "1"},
                {"unknown": 1}, {"steps": [{}]}):  # fmt: skip
        assert not validator.is_valid({**good, **bad}), bad
