"""The client, against the real HTTP interface served from a thread of this process."""

from __future__ import annotations

import contextlib
import gc
import re
import signal
import socket
import socketserver
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from leftovers import free_port
from served import ACTIONS, Served

from serving import PolicyClient, client
from serving.evaluation import TookTooLong, time_limit
from serving.protocol import (
    EpisodeConflict,
    EpisodeNotFound,
    InvalidMessage,
    PolicyServerError,
    ServerUnreachable,
    Unauthorized,
    Waiting,
)


@pytest.fixture(scope="module")
def the_served() -> Iterator[Served]:
    server = Served(free_port()).start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def served(the_served) -> Iterator[Served]:
    """The server of this file, with an empty book."""
    the_served.begin_anew()
    the_served.calls.clear()
    yield the_served
    if not the_served.is_running:
        the_served.start()


@pytest.fixture
def player(served) -> Iterator[PolicyClient]:
    player = PolicyClient(served.address)
    yield player
    player.close()


def seen(k: float) -> np.ndarray:
    return np.array([k, -k, k / 2], np.float32)


# -- the plain loop --------------------------------------------------------------------------------


def test_the_plain_loop_is_recorded_as_it_was_played(served, player):
    """Do observations, actions and rewards arrive in order and in the right pairing?"""
    episode_id, actions = player.start_episode(), []
    for k in range(20):
        actions.append(player.get_action(episode_id, seen(k)))
        player.log_returns(episode_id, k / 4)
    player.end_episode(episode_id, seen(20))
    transcript = player.episode(episode_id)
    assert transcript.observations == [seen(k).tolist() for k in range(21)]
    assert transcript.actions == actions
    assert transcript.rewards == [k / 4 for k in range(20)]
    assert transcript.ending == "terminated"
    assert all(type(action) is int for action in actions)


def test_a_step_costs_one_round_trip(served, player):
    """Do rewards travel with the next request, so that n steps cost n + 2 requests?"""
    episode_id = player.start_episode()
    for k in range(10):
        player.get_action(episode_id, seen(k))
        player.log_returns(episode_id, 1.0)
        player.log_returns(episode_id, 0.5)
    player.end_episode(episode_id, seen(10), truncated=True)
    assert served.calls == ["/start_episode", *["/get_action"] * 10, "/end_episode"]
    assert player.episode(episode_id).rewards == [1.5] * 10
    assert player.episode(episode_id).ending == "truncated"


def test_logged_steps_cost_less(served, player):
    """Do steps that were taken elsewhere travel together?"""
    episode_id = player.start_episode()
    for k in range(100):
        player.log_action(episode_id, seen(k), k % ACTIONS)
        player.log_returns(episode_id, float(k))
    player.end_episode(episode_id, seen(100))
    assert served.calls == ["/start_episode", "/end_episode"]
    transcript = player.episode(episode_id)
    assert transcript.observations == [seen(k).tolist() for k in range(101)]
    assert transcript.actions == [k % ACTIONS for k in range(100)]
    assert transcript.rewards == [float(k) for k in range(100)]
    assert set(transcript.sources) == {"log"}


@pytest.mark.parametrize(
    ("size", "steps", "blocks"), [(3, 1_500, 2), (3, 1_501, 3), (50_000, 9, 8)]
)
def test_long_logs_are_sent_in_blocks(a_free_port, size, steps, blocks):
    """Does a log of any length take a bounded amount of memory, here and in each message?"""
    served = Served(a_free_port, size=size).start()
    try:
        player = PolicyClient(served.address)
        episode_id = player.start_episode()
        for k in range(steps):
            player.log_action(episode_id, np.full(size, k), 0)
            player.log_returns(episode_id, float(k))
        assert served.calls.count("/log_steps") == blocks
        player.end_episode(episode_id, np.full(size, steps))
        transcript = player.episode(episode_id)
        assert transcript.rewards == [float(k) for k in range(steps)]
        assert [row[0] for row in transcript.observations] == list(range(steps + 1))
    finally:
        served.stop()


@pytest.mark.parametrize("seed", range(10))
def test_any_mixture_of_calls(served, player, seed):
    """Do random interleaved episodes of acted and logged steps arrive as they were played?"""
    rng, naive, ended = np.random.default_rng(seed), {}, {}
    for _ in range(300):
        choice = rng.random()
        if choice < 0.05 or not naive:
            naive[player.start_episode(training_enabled=bool(rng.random() < 0.5))] = []
            continue
        episode_id = str(rng.choice(sorted(naive)))
        steps, k = naive[episode_id], float(rng.integers(100))
        if choice < 0.3:
            steps.append([player.get_action(episode_id, seen(k)), k, 0.0, "policy"])
        elif choice < 0.6:
            action = int(rng.integers(ACTIONS))
            player.log_action(episode_id, seen(k), action)
            steps.append([action, k, 0.0, "log"])
        elif choice < 0.95:
            if steps:
                reward = float(rng.integers(-8, 8)) / 4
                player.log_returns(episode_id, reward)
                steps[-1][2] += reward
        else:
            player.end_episode(episode_id, seen(k))
            ended[episode_id] = naive.pop(episode_id)
    for episode_id, steps in ended.items():
        if steps:
            transcript = player.episode(episode_id)
            assert transcript.actions == [step[0] for step in steps]
            assert [row[0] for row in transcript.observations[:-1]] == [step[1] for step in steps]
            assert transcript.rewards == [step[2] for step in steps]
            assert transcript.sources == [step[3] for step in steps]
    assert sum(map(bool, ended.values())) >= 2


@pytest.mark.parametrize("observation", [
    [1, 2.5, -3], (1.0, 2.5, -3.0), np.array([1, 2.5, -3], np.float32), np.array([[1, 2.5, -3]]),
    np.array([1, 2.5, -3], np.float16), [np.float32(1), 2.5, np.int64(-3)],
])  # fmt: skip
def test_observations_of_any_kind(player, observation):
    """Is whatever holds the right numbers an observation?"""
    episode_id = player.start_episode()
    player.get_action(episode_id, observation)
    player.log_action(episode_id, observation, np.int64(1))
    player.end_episode(episode_id, observation)
    assert player.episode(episode_id).observations == [[1.0, 2.5, -3.0]] * 3


@pytest.mark.parametrize("action", [1, 1.0, np.int64(1), np.float32(1), np.array(1), True])
def test_actions_of_any_kind(player, action):
    """Is an integral number of any type an action?"""
    episode_id = player.start_episode()
    player.log_action(episode_id, seen(0), action)
    player.end_episode(episode_id, seen(1))
    assert player.episode(episode_id).actions == [1]


# -- mistakes --------------------------------------------------------------------------------------


def test_observation_and_info(player):
    """Does the client know the most frequent mistake, passing on what env.reset() returns?"""
    episode_id = player.start_episode()
    for call in (lambda: player.get_action(episode_id, (seen(0), {})),
                 lambda: player.log_action(episode_id, (seen(0), {"a": 1}), 0),
                 lambda: player.end_episode(episode_id, (seen(0), {}))):  # fmt: skip
        with pytest.raises(InvalidMessage, match=r"env.reset\(\) returns \(observation, info\)"):
            call()


NAMED = [
    ("get_action", ("x",), "observation is a str: expected numbers"),
    ("get_action", ({},), "observation is a dict: expected numbers"),
    ("get_action", ([1, [2, 3], 4],), "observation is a list: expected numbers"),
    ("get_action", ([0, float("nan"), 0],), r"observation\[1\] is nan: expected a finite number"),
    ("get_action", ([0, 0, float("inf")],), r"observation\[2\] is inf: expected a finite number"),
    ("get_action", ([0, 0, 10**400],), "observation is a list: expected numbers"),
    ("get_action", ([0, 0],), "observation has 2 numbers: expected 3"),
    ("get_action", ([],), "observation has 0 numbers: expected 3"),
    ("log_action", ([0, 0, float("nan")], 0), r"observation\[2\] is nan"),
    ("log_action", ([0, 0, 0], "left"), "action is 'left': expected a whole number"),
    ("log_action", ([0, 0, 0], "1"), "action is '1': expected a whole number"),
    ("log_action", ([0, 0, 0], None), "action is None: expected a whole number"),
    ("log_action", ([0, 0, 0], 1.5), "action is 1.5: expected a whole number"),
    ("log_action", ([0, 0, 0], float("nan")), "action is nan: expected a whole number"),
    ("log_action", ([0, 0, 0], float("inf")), "action is inf: expected a whole number"),
    ("log_returns", ("a lot",), "reward is 'a lot': expected a number"),
    ("log_returns", (None,), "reward is None: expected a number"),
    ("log_returns", ({"a": 1},), "expected a number"),
    ("log_returns", (float("nan"),), "reward is nan: expected a finite number"),
    ("log_returns", (1e7,), "reward is 10000000.0: expected a finite number"),
    ("log_returns", (10**400,), "expected a number"),
    ("end_episode", ([0, 0],), "observation has 2 numbers: expected 3"),
    ("end_episode", (None,), "observation"),
]


@pytest.mark.parametrize(("call", "arguments", "said"), NAMED)
def test_a_mistake_is_named_with_its_call(player, call, arguments, said):
    """Does an error begin with the call that was wrong, and say what was expected and what came?"""
    episode_id = player.start_episode()
    player.get_action(episode_id, seen(0))
    with pytest.raises(InvalidMessage, match=said) as error:
        getattr(player, call)(episode_id, *arguments)
    assert str(error.value).startswith(f"{call}()")
    assert isinstance(error.value, ValueError)
    player.end_episode(episode_id, seen(1))
    assert player.episode(episode_id).actions.__len__() == 1


def test_a_mistake_that_shows_later_names_its_own_step(served, player):
    """Is a logged step that turns out bad when it is sent named itself, not its sender?"""
    episode_id = player.start_episode()
    player.get_action(episode_id, seen(0))
    for k in range(1, 6):
        player.log_action(episode_id, seen(k), ACTIONS if k == 3 else 0)
    said = rf"^log_action\(\) of step 3 of episode '{episode_id}': action is 4.0: expected"
    with pytest.raises(InvalidMessage, match=said):
        player.get_action(episode_id, seen(6))
    assert served.book.transcript(episode_id).actions.__len__() == 1


@pytest.mark.parametrize(("k", "observation", "action", "reward", "call", "said"), [
    (1_234, [0.0, 0.0], 0, 0.0, "log_action", "observation has 2 numbers: expected 3"),
    (700, [0.0, 0.0, 0.0], ACTIONS, 0.0, "log_action", "action is 4.0: expected"),
])  # fmt: skip
def test_a_bad_step_of_a_replay_is_named(
    served, player, k, observation, action, reward, call, said
):
    """Is the bad one of thousands of logged steps named, all before its block kept, none of it, and
    does going on regardless neither help nor fill the memory?"""
    episode_id = player.start_episode("long")
    named = rf"^{call}\(\) of step {k} of episode 'long': {said}"
    refused = 0
    for j in range(4_000):
        bad = j == k
        try:
            player.log_action(episode_id, observation if bad else seen(j), action if bad else 0)
            player.log_returns(episode_id, reward if bad else 1.0)
        except InvalidMessage as error:
            refused += 1
            assert re.match(named, str(error))
    assert refused == 4_000 - (k // 500 + 1) * 500
    with pytest.raises(InvalidMessage, match=named):
        player.end_episode(episode_id, seen(0))
    assert served.book.find(episode_id).steps == k // 500 * 500
    assert len(player._open[episode_id].steps) == 500


def test_a_server_without_room_keeps_a_replay_waiting(served, player, monkeypatch, capsys):
    """Does a replay that is faster than the learner wait, be its games long or short, and then go
    on, with nothing lost and nothing twice?"""
    monkeypatch.setattr("serving.server.pacing.MOST_STEPS_KEPT", 1_000)
    learner, kept = served.learner, []

    pacing = served.server.pacing

    async def wait(episode, may_go_on, patience: float, caller) -> Waiting | None:
        """The learner has saved by the time it is asked a second time."""
        kept.append(learner.steps_kept + served.book.untaken)
        if len(kept) % 2:
            return Waiting(pacing.waiting_for())
        learner._collect()
        learner._forget(10**9)
        assert may_go_on(episode)
        return None

    monkeypatch.setattr(pacing, "wait", wait)
    for steps in (300, 2_400, 90, *[100] * 12):
        episode_id = player.start_episode()
        for k in range(steps):
            player.log_action(episode_id, seen(k), 0)
            player.log_returns(episode_id, 1.0)
        player.end_episode(episode_id, seen(steps))
        assert player.episode(episode_id).rewards == [1.0] * steps
    assert served.book.env_steps == served.book.logged_steps == 300 + 2_400 + 90 + 1_200
    assert 1_000 <= min(kept) and max(kept) < 1_500 and len(kept) >= 4
    assert "waiting for the learner to" in capsys.readouterr().out


def test_rewards_need_an_action(served, player):
    """Is log_returns() before any action an error at once, without a request?"""
    episode_id = player.start_episode()
    with pytest.raises(EpisodeConflict, match=r"^log_returns\(\): .*no action yet"):
        player.log_returns(episode_id, 1.0)
    assert served.calls == ["/start_episode"]


def test_after_the_end(player):
    """Is every call on an ended episode an error, log_returns() too?"""
    episode_id = player.start_episode()
    player.get_action(episode_id, seen(0))
    player.end_episode(episode_id, seen(1))
    for call, arguments in (("log_returns", (1.0,)), ("get_action", (seen(2),)),
                            ("log_action", (seen(2), 0)), ("end_episode", (seen(2),))):  # fmt: skip
        with pytest.raises(EpisodeConflict, match=rf"^{call}\(\).*has ended; start a new one"):
            getattr(player, call)(episode_id, *arguments)
    assert player.episode(episode_id).rewards == [0.0]


def test_unknown_episodes(player):
    """Is an id nobody knows an EpisodeNotFound in every call?"""
    for call, arguments in (("log_returns", (1.0,)), ("get_action", (seen(2),)),
                            ("log_action", (seen(2), 0)), ("end_episode", (seen(2),)),
                            ("episode", ())):  # fmt: skip
        with pytest.raises(EpisodeNotFound, match="'nobody'"):
            getattr(player, call)("nobody", *arguments)


def test_a_refused_call_loses_nothing(served, player):
    """Can a call be corrected and made again, with the reward and steps that travelled with it?"""
    episode_id = player.start_episode()
    player.get_action(episode_id, seen(0))
    player.log_returns(episode_id, 1.0)
    player.log_action(episode_id, seen(1), 2)
    player.log_returns(episode_id, 2.0)
    for _ in range(3):
        with pytest.raises(InvalidMessage, match="has 2 numbers"):
            player.get_action(episode_id, [0, 0])
        assert served.book.transcript(episode_id).rewards == [0.0]
    player.get_action(episode_id, seen(2))
    player.log_returns(episode_id, 4.0)
    with pytest.raises(InvalidMessage, match="has 2 numbers"):
        player.end_episode(episode_id, [0, 0])
    player.end_episode(episode_id, seen(3))
    assert player.episode(episode_id).rewards == [1.0, 2.0, 4.0]


def test_another_clients_episode(served, player):
    """May one client go on with an episode that another one started?"""
    other = PolicyClient(served.address)
    episode_id = other.start_episode()
    player.get_action(episode_id, seen(0))
    player.log_returns(episode_id, 1.0)
    player.log_action(episode_id, seen(1), 1)
    player.log_returns(episode_id, 2.0)
    player.end_episode(episode_id, seen(2))
    transcript = other.episode(episode_id)
    assert transcript.rewards == [1.0, 2.0]
    assert transcript.sources == ["policy", "log"]
    other.close()


@pytest.mark.parametrize("episode_id", ["a b", "ä/ö?x=1#y", "%2F", "../status"])
def test_ids_of_any_kind(player, episode_id):
    """Does an id with special characters work in every call?"""
    assert player.start_episode(episode_id) == episode_id
    player.get_action(episode_id, seen(0))
    player.end_episode(episode_id, seen(1))
    assert player.episode(episode_id).episode_id == episode_id


# -- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("address", "meant"), [
    ("http://localhost:8900", "http://localhost:8900"),
    ("http://localhost:8900/", "http://localhost:8900"),
    ("localhost:8900", "http://localhost:8900"),
    ("127.0.0.1:1", "http://127.0.0.1:1"),
    ("http://[::1]:8900", "http://[::1]:8900"),
    ("http://example.org", "http://example.org:80"),
])  # fmt: skip
def test_addresses(address, meant):
    """Is an address understood with and without its http://?"""
    assert PolicyClient(address).address == meant


@pytest.mark.parametrize("address", [
    "", "http://", "https://localhost:1", "http://localhost:x", "http://localhost:99999",
    "http://[", "ftp://x", 8900, None,
])  # fmt: skip
def test_impossible_addresses(address):
    """Is anything else refused with an example?"""
    with pytest.raises(InvalidMessage, match=r"expected something like 'http://localhost:8900'"):
        PolicyClient(address)


def test_a_token(a_free_port, monkeypatch):
    """Is the token of the argument or the environment sent, and a wrong one an error?"""
    served = Served(a_free_port, token="sesame").start()
    try:
        with pytest.raises(Unauthorized, match="token="):
            PolicyClient(served.address).start_episode()
        with pytest.raises(Unauthorized):
            PolicyClient(served.address, token="wrong").status()
        PolicyClient(served.address, token="sesame").start_episode()
        monkeypatch.setenv("POLICY_SERVER_TOKEN", "sesame")
        PolicyClient(served.address).start_episode()
    finally:
        served.stop()


# -- servers that are not there --------------------------------------------------------------------


def test_nobody_answers(a_free_port):
    """Does a client without a server say where it looked and how to start one, and at once?"""
    player, started = PolicyClient(f"http://localhost:{a_free_port}"), time.monotonic()
    for call in (player.start_episode, player.status, player.policy, player.episodes):
        with pytest.raises(
            ServerUnreachable, match=f"localhost:{a_free_port}.*simple_policy_server"
        ):
            call()
    assert issubclass(ServerUnreachable, ConnectionError)
    assert time.monotonic() - started < 10


def test_an_unknown_host():
    """Is a name that does not resolve an error of the same kind?"""
    with pytest.raises(ServerUnreachable, match="no-such-host.invalid"):
        PolicyClient("http://no-such-host.invalid:1").status()


def test_a_silent_server(a_free_port):
    """Is a server that accepts and never answers given up after a bound?"""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", a_free_port))
        listener.listen()
        started = time.monotonic()
        with pytest.raises(ServerUnreachable, match="has not answered /status for 1 s"):
            PolicyClient(f"http://127.0.0.1:{a_free_port}", timeout=0.6).status()
        assert 0.5 < time.monotonic() - started < 10


def test_a_time_limit_of_somebody_elses(a_free_port):
    """Is a function that was stopped while it asked told so, and not that the server is silent?"""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", a_free_port))
        listener.listen()
        player = PolicyClient(f"http://127.0.0.1:{a_free_port}")
        with pytest.raises(TookTooLong, match="playing took longer than 1 s"):
            with time_limit(0.6, "playing"):
                player.status()


@contextlib.contextmanager
def a_stranger(port: int, answer: bytes) -> Iterator[str]:
    """Something else that listens there, and answers everybody the same."""

    class Stranger(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(10_000)
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", port), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.shutdown()
            thread.join(10)


HTML = b"<html>hello</html>"


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(HTML), HTML),
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n[]",
    b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%s" % (len(HTML), HTML),
    b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nOops",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"",
])  # fmt: skip
def test_something_else_listens_there(a_free_port, answer):
    """Is whatever is no policy server an error of the client's own kind?"""
    with a_stranger(a_free_port, answer) as address:
        for call in ("start_episode", "status"):
            with pytest.raises(PolicyServerError) as error:
                getattr(PolicyClient(address, timeout=5), call)()
            assert len(str(error.value)) < 500


def test_a_server_that_was_restarted(served, player):
    """After a restart on the same port, does an old episode say why it is unknown?"""
    episode_id = player.start_episode()
    player.get_action(episode_id, seen(0))
    player.log_returns(episode_id, 1.0)
    served.stop()
    with pytest.raises(ServerUnreachable):
        player.status()
    served.begin_anew()
    served.start()
    with pytest.raises(EpisodeNotFound, match="restarted knows no episode of before"):
        player.get_action(episode_id, seen(1))
    with pytest.raises(EpisodeNotFound):  # and is not silently kept for nobody
        player.log_returns(episode_id, 1.0)
    again = player.start_episode()
    player.get_action(again, seen(0))


def test_a_connection_that_was_closed_meanwhile(served, player):
    """If the server has closed an idle connection, is the request sent over a new one, once?"""
    episode_id = player.start_episode()
    player.get_action(episode_id, seen(0))
    served.stop()
    served.start()  # the same book, and the client's connection is dead
    player.log_returns(episode_id, 1.0)
    player.get_action(episode_id, seen(1))
    player.end_episode(episode_id, seen(2))
    transcript = player.episode(episode_id)
    assert transcript.rewards == [1.0, 0.0]
    assert served.calls == ["/start_episode", *["/get_action"] * 2, "/end_episode",
                            f"/episodes/{episode_id}"]  # fmt: skip


# -- waiting, interrupting, sharing ----------------------------------------------------------------


@contextlib.contextmanager
def held_back(served: Served) -> Iterator[None]:
    """The learner lets nobody act while the block runs."""
    served.learner.allowed = 0
    try:
        yield
    finally:
        served.learner.allowed = 10**9


def test_ctrl_c_never_leaves_an_old_answer_to_be_read(served, player):
    """After Ctrl-C in the middle of a request, does every later call read its own answer?"""
    episode_id = player.start_episode()
    main = threading.main_thread().ident
    with held_back(served):
        for _ in range(3):
            timer = threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGINT))
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                player.get_action(episode_id, seen(0))
            timer.join()
            assert player.status().open_episodes == 1
    assert len(player.start_episode()) == 32
    before = player.status().env_steps
    assert player.get_action(episode_id, seen(1)) in range(ACTIONS)
    assert player.status().env_steps >= before + 1
    assert player.episodes(last=1).episodes


def test_a_wait_says_what_it_waits_for(served, player, capfd):
    """Is a wait of over a second told on standard output, once, and never on standard error?"""
    episode_id = player.start_episode()
    with held_back(served):
        timer = threading.Timer(3.5, lambda: setattr(served.learner, "allowed", 10**9))
        timer.start()
        started = time.monotonic()
        assert player.get_action(episode_id, seen(0)) in range(ACTIONS)
        assert time.monotonic() - started > 2.0
        timer.join()
    out, err = capfd.readouterr()
    assert err == ""
    assert out.count("waiting for the learner") == 1
    assert served.calls.count("/get_action") >= 3
    assert served.book.env_steps == 1  # asked again and again, recorded once
    player.get_action(episode_id, seen(1))
    assert capfd.readouterr() == ("", "")


def test_a_short_wait_and_a_quiet_client_say_nothing(served, capfd):
    """Is a wait of less than a second silent, and any wait if the client is to be quiet?"""
    for quiet, seconds in ((False, 0.2), (True, 1.8)):
        player = PolicyClient(served.address, quiet=quiet)
        episode_id = player.start_episode()
        with held_back(served):
            timer = threading.Timer(seconds, lambda: setattr(served.learner, "allowed", 10**9))
            timer.start()
            player.get_action(episode_id, seen(0))
            timer.join()
        player.close()
    assert capfd.readouterr() == ("", "")


def test_evaluation_and_logging_never_wait(served, player):
    """Do evaluation episodes and logged steps go on while training episodes wait?"""
    with held_back(served):
        started = time.monotonic()
        evaluation = player.start_episode(training_enabled=False)
        for k in range(20):
            player.get_action(evaluation, seen(k))
        player.end_episode(evaluation, seen(20))
        logged = player.start_episode()
        for k in range(600):
            player.log_action(logged, seen(k), 0)
        player.end_episode(logged, seen(600))
        assert time.monotonic() - started < 5
        assert served.book.evaluation_steps == 20
        assert served.book.logged_steps == 600


def test_a_reward_that_travelled_with_a_wait_counts_once(served, player):
    """Is nothing of a message recorded as long as the answer is that one has to wait?"""
    episode_id = player.start_episode()
    player.get_action(episode_id, seen(0))
    player.log_returns(episode_id, 1.0)
    with held_back(served):
        timer = threading.Timer(2.3, lambda: setattr(served.learner, "allowed", 10**9))
        timer.start()
        time.sleep(0.2)
        assert served.book.transcript(episode_id).rewards == [0.0]
        player.get_action(episode_id, seen(1))
        timer.join()
    player.end_episode(episode_id, seen(2))
    assert player.episode(episode_id).rewards == [1.0, 0.0]


def test_threads_share_a_client(served, player):
    """Do many threads with one client each get their own answers?"""

    def play(number: int) -> None:
        for episode in range(5):
            episode_id, actions = player.start_episode(), []
            for k in range(20):
                actions.append(player.get_action(episode_id, seen(1_000 * number + k)))
                player.log_returns(episode_id, number + k / 64)
            player.end_episode(episode_id, seen(episode))
            transcript = player.episode(episode_id)
            assert transcript.actions == actions
            assert transcript.rewards == [number + k / 64 for k in range(20)]
            assert transcript.observations[0][0] == 1_000 * number
        player.close()

    with ThreadPoolExecutor(16) as pool:
        for future in [pool.submit(play, number) for number in range(16)]:
            future.result(60)
    assert served.book.env_steps == 16 * 5 * 20


def test_close_and_go_on(player):
    """May a client be closed twice, and used again after it?"""
    player.close()
    player.close()
    assert player.start_episode()


# A destructor's warning is none that `simplefilter` can raise where the test sees it.
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_nothing_is_warned_about(served, capfd):
    """Does ordinary use leave no warning and no word on standard error?"""
    gc.collect()  # what tests before this one have left is not this one's
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        player = PolicyClient(served.address)
        episode_id = player.start_episode()
        player.get_action(episode_id, seen(0))
        player.log_action(episode_id, seen(1), np.array(1))
        player.log_returns(episode_id, np.float32(1))
        player.end_episode(episode_id, seen(2))
        player.status()
        player.close()
        del player
        gc.collect()
    assert capfd.readouterr() == ("", "")


def test_the_client_is_light():
    """Can a notebook use the client without importing torch or Ray?"""
    import subprocess
    import sys

    code = (
        "import sys, serving, serving.running_server\n"
        "print(sorted({'torch', 'ray', 'starlette', 'uvicorn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_the_defaults_are_documented():
    """Is the default address the policy server's default port?"""
    assert PolicyClient().address == "http://localhost:8900"
    assert client.PATIENCE <= 1.0  # "a wait of over a second says what it waits for"
