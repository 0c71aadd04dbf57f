"""The Pong web server: relays what a page may say, refuses the rest, and outlives both ends."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from web_server import SCRIPT, WebServer

from serving import do_rollouts
from serving.pong import PongEnv
from serving.pong.court import COURT_FILE
from serving.running_server import RunningServer

OBSERVATION = [0.0] * 8


@pytest.fixture
def web_servers():
    """Makes web servers, and stops them at the end."""
    servers = []

    def make(*arguments, **options) -> WebServer:
        servers.append(WebServer(*arguments, **options))
        return servers[-1]

    try:
        yield make
    finally:
        for server in servers:
            server.stop()


@pytest.fixture
def nobody(a_free_port) -> str:
    """An address at which nobody answers."""
    return f"http://localhost:{a_free_port}"


@pytest.fixture(scope="module")
def pong_policy_server():
    """A policy server of Pong's sizes that no test stops."""
    with RunningServer(8, 3) as server:
        yield server


@pytest.fixture
def a_web_server(web_servers, pong_policy_server) -> WebServer:
    server = web_servers(pong_policy_server.address)
    server.says("plays against")
    return server


def refusal(response: httpx.Response) -> str:
    return response.json()["error"]


def played(page: httpx.Client, training: bool, games: int = 1) -> list[float]:
    """Plays as the page does; the returns."""
    env, returns = PongEnv(), []
    for game in range(games):
        observation, _ = env.reset(seed=game)
        message = {"training_enabled": training}
        episode = page.post("start_episode", json=message).json()["episode_id"]
        reward, total, done, truncated = None, 0.0, False, False
        while not done:
            message = {"episode_id": episode, "observation": observation.tolist(), "reward": reward}
            answer = page.post("get_action", json={**message, "explain": True}).json()
            assert len(answer["values"]) == 3
            observation, reward, terminated, truncated, _ = env.step(answer["action"])
            total, done = total + reward, terminated or truncated
        message = {"episode_id": episode, "observation": observation.tolist(), "reward": reward}
        answer = page.post("end_episode", json={**message, "truncated": truncated})
        assert answer.status_code == 200
        returns.append(total)
    return returns


def test_a_game_reaches_the_policy_server_as_it_was_played(a_web_server, pong_policy_server):
    with httpx.Client(base_url=a_web_server.address) as page:
        returns = played(page, training=True) + played(page, training=False)
        live = page.get("live").json()
        snapshot = page.get("policy").json()
    transcripts = pong_policy_server.client().episodes(last=2).episodes
    assert [sum(episode.rewards) for episode in transcripts] == pytest.approx(returns)
    assert [episode.training_enabled for episode in transcripts] == [True, False]
    assert [episode.ending for episode in transcripts] == ["terminated"] * 2
    assert live["problem"] is None
    assert (live["status"]["observation_size"], live["status"]["action_size"]) == (8, 3)
    assert len(snapshot["layers"][0]["weights"]) == 8


def test_the_page_and_the_courts_numbers_are_served(a_web_server):
    with httpx.Client(base_url=a_web_server.address) as page:
        index = page.get("")
        assert index.status_code == 200 and "<title>Pong" in index.text
        for name in ("main.js", "physics.js", "style.css", "favicon.svg"):
            assert page.get(name).status_code == 200, name
        assert page.get("main.js").headers["content-type"].startswith("text/javascript")
        assert page.get("court.json").json() == json.loads(COURT_FILE.read_text())
        # Nothing from elsewhere, and no old modules after an update of the kit.
        assert "default-src 'self'" in index.headers["content-security-policy"]
        assert index.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "call, body, status, said",
    [
        ("get_action", b'{"episode_id": 3, "observation": []}', 400, "got int - at episode_id"),
        ("get_action", b'{"episode_id": "e", "observation": "x"}', 400, "at observation"),
        ("get_action", b'{"episode_id": "e"}', 400, "missing required field observation"),
        ("get_action", b'{"episode_id": "e", "observation": [1]}', 404, "no episode 'e'"),
        ("start_episode", b'{"training": true}', 400, "unknown field training"),
        ("start_episode", b"[1, 2]", 400, "Expected object"),
        ("end_episode", b"{", 400, "not JSON"),
        ("end_episode", b"\xff\xfe", 400, "not JSON"),
        ("log_steps", b'{"episode_id": "e", "steps": [{"action": 1}]}', 400, "observation"),
        ("get_action", b"x" * 1_000_000, 413, "larger than"),
        ("format_disk", b"{}", 405, "a page may post start_episode, get_action"),
        ("log_returns", b"{}", 405, "POST /log_returns is not possible"),
        ("episodes", b"{}", 405, "POST /episodes is not possible"),
        ("live", b"{}", 405, "POST /live is not possible"),
    ],
)
def test_a_bad_message_is_refused_with_a_reason(a_refusing_server, call, body, status, said):
    response = httpx.post(a_refusing_server + call, content=body)
    assert response.status_code == status
    assert said in refusal(response)


@pytest.fixture(scope="module")
def a_refusing_server(pong_policy_server):
    """One web server for all the bad messages: it has to stand them all."""
    server = WebServer(pong_policy_server.address)
    try:
        server.says("plays against")
        yield server.address
        assert httpx.get(server.address + "live").json()["problem"] is None
    finally:
        server.stop()


@pytest.mark.parametrize("path", ["../env.py", "%2e%2e/%2e%2e/pong_web_server.py", "//etc/passwd"])
def test_nothing_but_the_page_is_served(a_refusing_server, path):
    assert httpx.get(a_refusing_server + path).status_code == 404


@pytest.mark.parametrize(
    "headers, allowed",
    [
        ({}, True),  # a program
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://localhost"}, True),  # proxied
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "SELF"}, True),
    ],
)
def test_only_pages_of_the_same_origin_may_talk(a_refusing_server, headers, allowed):
    if headers.get("Origin") == "SELF":
        headers = {"Origin": a_refusing_server.rstrip("/")}
    with httpx.Client(base_url=a_refusing_server, headers=headers) as page:
        for response in (page.post("start_episode", json={}), page.get("live"), page.get("policy")):
            assert response.status_code == (200 if allowed else 403)
            assert allowed or "may not talk to this page" in refusal(response)
            assert "access-control-allow-origin" not in response.headers
        assert page.get("").status_code == 200  # a link to the page is nothing bad


@pytest.mark.slow
def test_two_hundred_connections_at_once(a_web_server):
    """Are 200 browsers answered, while one of them hangs in the middle of a message?"""
    with contextlib.ExitStack() as stack:
        host, port = a_web_server.address.split("//")[1].strip("/").split(":")
        hanging = stack.enter_context(socket.create_connection((host, int(port))))
        hanging.sendall(
            b"POST /get_action HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
        )
        limits = httpx.Limits(max_connections=200)
        pages = stack.enter_context(
            httpx.Client(base_url=a_web_server.address, limits=limits, timeout=60)
        )

        def play(i: int) -> list[int]:
            episode = pages.post("start_episode", json={"training_enabled": False}).json()
            message = {**episode, "observation": OBSERVATION}
            codes = [pages.post("get_action", json=message).status_code for _ in range(3)]
            return [*codes, pages.post("end_episode", json=message).status_code]

        with ThreadPoolExecutor(200) as threads:
            assert set(sum(threads.map(play, range(200)), [])) == {200}
        assert pages.get("live").json()["problem"] is None


@pytest.mark.slow
def test_it_starts_without_a_policy_server_and_recovers(
    web_servers, policy_servers, a_free_port, tmp_path
):
    server = web_servers(f"http://localhost:{a_free_port}")
    said = server.says("no policy server answers")
    assert "simple_policy_server.py --observation-size=8 --action-size=3" in said
    with httpx.Client(base_url=server.address) as page:
        assert "no policy server answers" in page.get("live").json()["problem"]
        response = page.post("start_episode", json={})
        assert response.status_code == 503 and "no policy server" in refusal(response)

        policy_server = policy_servers(8, 3, port=a_free_port, folder=tmp_path)
        server.says("plays against the policy server")
        assert page.get("live").json()["problem"] is None
        assert len(played(page, training=False)) == 1

        policy_server.kill()
        deadline = time.monotonic() + 10
        while page.get("live").json()["problem"] is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert page.post("start_episode", json={}).status_code == 503

        policy_server.start()
        while page.get("live").json()["problem"] is not None:
            assert time.monotonic() < deadline + 30
            time.sleep(0.1)
        assert len(played(page, training=False)) == 1
    assert sum("plays against" in line for line in server.lines) == 2


def test_a_policy_server_of_other_sizes_is_named(web_servers, policy_servers):
    server = web_servers(policy_servers(4, 2).address)
    said = server.says("--observation-size=4")
    assert "Pong needs 8 and 3" in said
    with httpx.Client(base_url=server.address) as page:
        live = page.get("live").json()
        assert live["problem"] == said and live["status"]["observation_size"] == 4
        response = page.post("start_episode", json={})
        assert response.status_code == 503 and refusal(response) == said


def test_what_is_no_policy_server_is_named(web_servers, a_web_server):
    server = web_servers(a_web_server.address)  # another web server: it has no /status
    assert server.says("is no policy server")


def test_tokens_at_both_ends(web_servers, policy_servers):
    policy_server = policy_servers(8, 3, token="secret")
    server = web_servers(policy_server.address)
    assert "POLICY_SERVER_TOKEN" in server.says("needs its token")

    environment = {"POLICY_SERVER_TOKEN": "secret"}
    server = web_servers(policy_server.address, "--token=open", environment=environment)
    server.says("plays against")
    assert server.address.endswith("/?token=open")
    address = server.address.removesuffix("?token=open")
    with httpx.Client(base_url=address) as page:
        assert page.get("").status_code == 200
        assert page.get("live").status_code == 401
        assert "token" in refusal(page.post("start_episode", json={}))
        headers = {"Authorization": "Bearer open"}
        assert page.post("start_episode", json={}, headers=headers).status_code == 200


def test_beyond_loopback_a_token_is_made_up(web_servers, nobody):
    server = web_servers(nobody, "--host=0.0.0.0")
    assert "/?token=" in server.address


def test_ctrl_c_stops_it_within_seconds_also_while_pages_are_open(web_servers, nobody):
    server = web_servers(nobody)
    with httpx.Client(base_url=server.address) as page:
        page.get("live")
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 5
    assert server.lines[-1] == "stopped"


@pytest.mark.parametrize(
    "options, said",
    [
        (["--policy-server=ftp://x"], "--policy-server=ftp://x: expected something like http://"),
        (["--policy-server=http://x:no"], "expected something like"),
        (["--port=70000"], "expected a number from 0 to 65535"),
        (["--host=203.0.113.1"], "cannot listen on 203.0.113.1"),
    ],
)
def test_what_cannot_be_started_says_why_in_a_sentence(options, said):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert done.stderr.startswith("pong_web_server: ") and said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_in_use_is_named(web_servers, nobody):
    server = web_servers(nobody)
    port = server.address.split(":")[-1].strip("/")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), f"--port={port}"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1 and "does another Pong web server run there" in done.stderr


def test_the_curve_is_there_for_who_comes_later(web_servers, policy_servers):
    """Does a web server that was started after the games show them, as the policy server has them?"""
    policy_server = policy_servers(8, 3, learner=False)
    client = policy_server.client()
    for reward in (1, -1, 5):
        episode = client.start_episode()
        client.get_action(episode, [0.0] * 8)
        client.log_returns(episode, reward)
        client.end_episode(episode, [0.0] * 8)
    server = web_servers(policy_server.address)
    server.says("plays against")
    live = httpx.get(server.address + "live").json()
    assert live["curve"] == [[1, 1.0], [2, 0.0], [3, round(5 / 3, 3)]]


@pytest.mark.slow
def test_a_persons_game_need_not_queue_behind_rollouts(web_servers, policy_servers):
    """While rollouts act as fast as learning allows: is a player who pauses between steps, as a
    person's game does, answered at once?"""
    policy_server = policy_servers(8, 3, updates_per_step=1)
    policy_server.wait_until(lambda status: status.state == "idle", 120, "the learner")
    server = web_servers(policy_server.address)
    server.says("plays against")
    command = [sys.executable, do_rollouts.__file__, f"--policy-server={policy_server.address}"]
    rollouts = subprocess.Popen([*command, "--quiet"], stdout=subprocess.DEVNULL)
    try:
        policy_server.wait_until(lambda status: status.waiting_clients > 0, 60, "rollouts to wait")
        with httpx.Client(base_url=server.address) as page:
            message = {**page.post("start_episode", json={}).json(), "observation": OBSERVATION}
            waits = 0
            for _ in range(60):
                time.sleep(0.05)
                answer = page.post("get_action", json={**message, "patience": 0.1}).json()
                waits += "waiting_for" in answer
            page.post("end_episode", json={**message, "truncated": True})
        assert waits <= 3
    finally:
        rollouts.send_signal(signal.SIGINT)
        assert rollouts.wait(60) == 0
