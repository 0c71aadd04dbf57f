"""The policy server's page as it is sent: who gets it, what comes with it, and its stream."""

from __future__ import annotations

import contextlib
import json
import re
import time

import httpx
import pytest

from serving import ROOT
from serving.running_server import RunningServer
from serving.server import live

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def a_server():
    with RunningServer(4, 2, learner=False) as server:
        yield server


@pytest.fixture
def a_fresh_server():
    """One that nobody has played against."""
    with RunningServer(4, 2, learner=False) as server:
        yield server


@contextlib.contextmanager
def listening(address: str, **options):
    """An iterator over the messages of a server's stream."""
    with httpx.stream("GET", f"{address}/events", timeout=30, verify=False, **options) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield (json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: "))


def play(client, steps: int, training: bool = True) -> str:
    """An episode of `steps` steps, each with a reward of 1."""
    episode_id = client.start_episode(training_enabled=training)
    for step in range(steps):
        client.get_action(episode_id, [step, 0, 0, 0])
        client.log_returns(episode_id, 1.0)
    client.end_episode(episode_id, [steps, 0, 0, 0])
    return episode_id


def test_browsers_get_a_page_and_programs_a_line(a_server):
    """Does GET / answer each in what it asks for?"""
    page = httpx.get(f"{a_server.address}/", headers=BROWSER)
    assert page.headers["content-type"].startswith("text/html") and "<h1>" in page.text
    for headers in ({}, {"Accept": "*/*"}):
        line = httpx.get(f"{a_server.address}/", headers=headers)
        assert line.text.count("\n") == 1 and "/openapi.json" in line.text
        assert line.headers["content-type"].startswith("text/plain")


def test_everything_the_page_names_is_there_under_a_strict_policy(a_server):
    """Are all files that the page and its scripts ask for served here, by relative addresses, with
    a Content-Security-Policy that lets nothing else in?"""
    waiting, seen = ["/"], set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = httpx.get(a_server.address + path, headers=BROWSER)
        assert answer.status_code == 200, path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy and "http" not in policy
        found = re.findall(r'(?:src|href|from|import\(|URL\()\s*=?\s*"([^"?]+\.\w+)"', answer.text)
        assert not [name for name in found if name.startswith("/") or "//" in name]
        waiting += [
            str(httpx.URL(f"http://x{path}").join(name).path)
            for name in found
            if "openapi" not in name
        ]
    assert {"/page/main.js", "/page/look/player.js", "/page/pong/court.json"} <= seen


def test_the_page_is_open_and_its_figures_are_not():
    """With a token: may anybody see the page, and nobody the stream who does not present it?"""
    with RunningServer(4, 2, learner=False, token="let-me-in") as server:
        assert httpx.get(f"{server.address}/", headers=BROWSER).status_code == 200
        assert httpx.get(f"{server.address}/page/main.js").status_code == 200
        for path in ("/events", "/status", "/episodes"):
            assert httpx.get(server.address + path).status_code == 401
        with listening(server.address, headers={"Authorization": "Bearer let-me-in"}) as messages:
            assert next(messages)["status"]["env_steps"] == 0
        assert any(line.endswith("/?token=let-me-in") for line in server.lines)


def test_a_page_of_another_site_hears_nothing(a_server):
    """Is the stream refused to a page of another site?"""
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}
    assert httpx.get(f"{a_server.address}/events", headers=headers).status_code == 403


def test_a_message_holds_what_happened(a_fresh_server):
    """Do episodes, curve, refusals and players come as they were?"""
    a_server, client = a_fresh_server, a_fresh_server.client()
    first, second = play(client, 3), play(client, 5, training=False)
    open_id = client.start_episode()
    client.get_action(open_id, [0, 0, 0, 0])
    refused = httpx.post(f"{a_server.address}/get_action", json={"episode_id": "nobody's"})
    assert refused.status_code == 400
    with listening(a_server.address) as messages:
        seen = next(messages)
    assert seen["status"] | {"uptime": 0, "learner_cpus": 0} == json.loads(
        httpx.get(f"{a_server.address}/status").content
    ) | {"uptime": 0, "learner_cpus": 0}
    assert [(one["episode_id"], one["total"], one["sketch"]) for one in seen["ended"][:2]] == [
        (second, 5.0, [1, 2, 3, 4, 5]),
        (first, 3.0, [1, 2, 3]),
    ]
    steps, last, mean, exploration, version = seen["history"][-1]
    assert (steps, last, mean, version) == (3, 3.0, 3.0, 0) and 0 < exploration <= 1
    assert seen["best"] == 3.0 and seen["newest"] == open_id
    assert seen["playing"][0]["episode_id"] == open_id and seen["playing"][0]["steps"] == 1
    assert "observation" in seen["refused"][0]["error"]
    client.end_episode(open_id, [0, 0, 0, 0])


def test_messages_come_twice_a_second(a_server):
    """Is a listener told at an even pace, and not more often?"""
    with listening(a_server.address) as messages:
        times = [time.monotonic() for _, _ in zip(range(5), messages)]
    assert 3 * live.EVERY * 0.9 < times[-1] - times[1] < 3 * live.EVERY + 5  # the first at once


def test_one_message_serves_all(a_server):
    """Do two who listen get the very same message, made once?"""
    with listening(a_server.address) as one, listening(a_server.address) as other:
        next(one), next(other)  # each got one at once
        uptimes = [
            {next(messages)["status"]["uptime"] for _ in range(3)} for messages in (one, other)
        ]
    assert uptimes[0] & uptimes[1]


def test_listeners_are_bounded(a_server):
    """Does one too many take the oldest one's place?"""
    with contextlib.ExitStack() as stack:
        all_ = [
            stack.enter_context(listening(a_server.address)) for _ in range(live.MOST_LISTENERS + 1)
        ]
        for messages in all_:
            next(messages)
        assert len(list(all_[0])) < live.MESSAGES_EACH / 10  # its stream ends
        assert next(all_[1]) and next(all_[-1])


def test_open_streams_do_not_hold_up_the_end():
    """Does a server with a page open stop at once?"""
    with RunningServer(4, 2, learner=False) as server, listening(server.address) as messages:
        next(messages)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 2.0  # uvicorn itself would wait as long
        assert len(list(messages)) < live.MESSAGES_EACH / 10


def test_a_transcript_can_be_asked_for_from_a_step_on(a_server):
    """Does ?since= leave out what came before, and nothing else?"""
    client = a_server.client()
    episode_id = play(client, 6)
    whole = httpx.get(f"{a_server.address}/episodes/{episode_id}").json()
    part = httpx.get(f"{a_server.address}/episodes/{episode_id}?since=4").json()
    assert part["dropped_steps"] == 4
    columns = ("observations", "actions", "rewards", "sources", "policy_versions", "seconds")
    assert {name: part[name] for name in columns} == {name: whole[name][4:] for name in columns}
    past = httpx.get(f"{a_server.address}/episodes/{episode_id}?since=99").json()
    assert past["actions"] == [] and past["dropped_steps"] == 6 and past["ending"] == "terminated"
    assert httpx.get(f"{a_server.address}/episodes/{episode_id}?since=-1").status_code == 400


def test_pages_share_their_colours():
    """Does the Pong page take its colours from where the policy server's page has them?"""
    pong = (ROOT / "serving/javascript-pong/static/style.css").read_text()
    assert ":root" not in pong
    assert "--right:" in (ROOT / "serving/web/static/look.css").read_text()
