"""Every message once: repeated, late and abandoned ones, over real connections."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from leftovers import free_port
from served import ACTIONS, SIZE, Served

from serving import PolicyClient
from serving.protocol import EpisodeConflict, ServerUnreachable
from serving.server import episodes as book_module

SEEN = [0.5, -1.0, 0.25][:SIZE]


@pytest.fixture(scope="module")
def the_served() -> Iterator[Served]:
    server = Served(free_port()).start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def served(the_served) -> Served:
    the_served.begin_anew()
    return the_served


def raw(call: str, **message) -> bytes:
    body = json.dumps(message).encode()
    return b"POST /%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (
        call.encode(),
        len(body),
        body,
    )


def post(served: Served, call: str, **message) -> tuple[int, dict]:
    """One request as curl would make it."""
    with closing(http.client.HTTPConnection("localhost", served.port, timeout=30)) as connection:
        connection.request("POST", f"/{call}", json.dumps(message))
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def wait_for(condition, what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


def recorded(served: Served) -> tuple:
    book = served.book
    return (
        book.env_steps,
        book.logged_steps,
        book.episodes,
        {name: (episode.steps, episode.total) for name, episode in book.open.items()},
    )


STEPS = [{"observation": SEEN, "action": 1, "reward": 2.0}] * 3
WAITING = {
    "get_action": {"observation": SEEN, "reward": 5.0},
    "log_steps": {"steps": STEPS, "reward": 5.0},
    "end_episode": {"observation": SEEN, "steps": STEPS, "reward": 5.0},
}


@pytest.mark.parametrize("is_numbered", [True, False], ids=["with a step", "without one"])
@pytest.mark.parametrize("call", WAITING)
def test_who_has_left_has_said_nothing(served, monkeypatch, call, is_numbered):
    """Does a message whose sender closes the connection stop waiting, and leave no trace?"""
    client = PolicyClient(served.address)
    client.start_episode("e")
    client.get_action("e", SEEN)
    before = recorded(served)
    message = {"episode_id": "e", "patience": 60, **WAITING[call]}
    if is_numbered:
        message["step"] = 1
    with monkeypatch.context() as patch:
        patch.setattr("serving.server.pacing.MOST_STEPS_KEPT", 0)
        with socket.create_connection(("localhost", served.port)) as gone:
            gone.sendall(raw(call, **message))
            wait_for(lambda: client.status().waiting_clients == 1, "the message to wait")
        wait_for(lambda: client.status().waiting_clients == 0, "the server to notice")
    assert recorded(served) == before
    assert not served.book.rejected
    status, _ = post(served, call, **message)  # and it can be said again
    assert status == 200
    assert served.book.transcript("e").rewards[0] == 5.0


def test_a_client_that_gave_up_and_asks_again(served):
    """Is one step recorded, and its reward once, if the client's own patience ended before?"""
    client = PolicyClient(served.address, timeout=0.4)
    episode_id = client.start_episode()
    client.get_action(episode_id, SEEN)
    client.log_returns(episode_id, 1.5)
    served.learner.allowed = 0
    for _ in range(3):
        with pytest.raises(ServerUnreachable, match="has not answered"):
            client.get_action(episode_id, SEEN)
    served.learner.allowed = 10**9
    client.get_action(episode_id, SEEN)
    client.log_returns(episode_id, 2.5)
    client.end_episode(episode_id, SEEN)
    assert served.book.transcript(episode_id).rewards == [1.5, 2.5]
    assert served.book.env_steps == 2


def test_a_player_who_waits_is_not_absent(served):
    """Is an episode open still after a wait that is longer than --abandon-after?"""
    served.book.abandon_after = 0.2
    episode_id = PolicyClient(served.address).start_episode()
    served.learner.allowed = 0
    threading.Timer(0.8, lambda: setattr(served.learner, "allowed", 10**9)).start()
    ended = []
    thread = threading.Thread(
        target=lambda: ended.append(
            post(served, "get_action", episode_id=episode_id, observation=SEEN, patience=30)[0]
        )
    )
    thread.start()
    wait_for(lambda: served.server.pacing.waiting_clients, "the message to wait")
    time.sleep(0.4)
    assert served.book.end_abandoned() == 0
    thread.join()
    assert ended == [200]


MESSAGES = [
    ("get_action", {"observation": SEEN, "reward": 1.0, "explain": True}),
    ("log_action", {"observation": SEEN, "action": 2}),
    ("log_steps", {"steps": STEPS, "reward": 1.0}),
    ("log_returns", {"reward": 3.0}),
    ("end_episode", {"observation": SEEN, "reward": 1.0, "truncated": True, "steps": STEPS}),
]


@pytest.mark.parametrize(("call", "message"), MESSAGES, ids=[call for call, _ in MESSAGES])
def test_sent_twice_recorded_once(served, call, message):
    """Is a message that comes again answered as before, and recorded once?"""
    for episode_id in ("e", "f"):
        post(served, "start_episode", episode_id=episode_id)
        post(served, "get_action", episode_id=episode_id, observation=SEEN)
    message = {"episode_id": "e", "step": 1, **message}
    first = post(served, call, **message)
    assert first[0] == 200
    after = recorded(served)
    for _ in range(3):
        assert post(served, call, **message) == first
    assert recorded(served) == after
    post(served, "get_action", episode_id="f", observation=SEEN)  # of another episode, in between
    assert post(served, call, **message) == first


@pytest.mark.parametrize(("call", "message"), MESSAGES[:-1], ids=[c for c, _ in MESSAGES[:-1]])
def test_without_a_step_each_message_counts(served, call, message):
    """Does curl work as it always did: what is sent twice happened twice?"""
    post(served, "start_episode", episode_id="e")
    post(served, "get_action", episode_id="e", observation=SEEN)
    answers = [post(served, call, episode_id="e", **message) for _ in range(2)]
    assert [status for status, _ in answers] == [200, 200]
    transcript = served.book.transcript("e")
    assert len(transcript.actions) == {"log_returns": 1, "log_steps": 7}.get(call, 3)
    assert sum(transcript.rewards) == {
        "get_action": 2.0, "log_action": 0.0, "log_steps": 14.0, "log_returns": 6.0
    }[call]  # fmt: skip


def test_an_episode_started_twice(served):
    """Is a start that comes again the same episode, open or ended, and another key another one?"""
    for message in ({"key": "k"}, {"key": "l", "episode_id": "chosen"}):
        first = post(served, "start_episode", **message)
        assert first[0] == 200
        assert post(served, "start_episode", **message) == first
        episode_id = first[1]["episode_id"]
        post(served, "get_action", episode_id=episode_id, observation=SEEN)
        post(served, "end_episode", episode_id=episode_id, observation=SEEN)
        assert post(served, "start_episode", **message) == first
        assert episode_id not in served.book.open
    status, answer = post(served, "start_episode", key="m", episode_id="chosen")
    assert status == 409 and "has ended already" in answer["error"]
    assert served.book.episodes == 2


def test_what_does_not_follow_is_refused(served):
    """Is a message out of order a 409 that says which step is recorded, and records nothing?"""
    post(served, "start_episode", episode_id="e")
    for step in range(3):
        post(served, "get_action", episode_id="e", observation=SEEN, step=step)
    before = recorded(served)
    for call, message in MESSAGES:
        for step, why in ((2, "it comes too late"), (4, "one before it has not come")):
            status, answer = post(served, call, episode_id="e", step=step, **message)
            assert (status, answer["call"]) == (409, call)
            assert f"continues step {step} of episode 'e'" in answer["error"]
            assert "3 steps are recorded: " + why in answer["error"]
    # A step that was taken already cannot be taken in another way.
    status, _ = post(served, "get_action", episode_id="e", observation=[9.0] * SIZE, step=2)
    assert status == 409
    assert recorded(served) == before
    assert post(served, "end_episode", episode_id="e", observation=SEEN, step=3)[0] == 200
    for call, message in MESSAGES:
        status, answer = post(served, call, episode_id="e", step=3, **message)
        assert status == 409 and "has ended" in answer["error"], call


def test_steps_that_are_none(served):
    """Is a step that is no count a 400?"""
    post(served, "start_episode", episode_id="e")
    for step in (-1, 1.5, "1", []):
        status, _ = post(served, "get_action", episode_id="e", observation=SEEN, step=step)
        assert status == 400
    assert post(served, "start_episode", key="")[0] == 400
    assert post(served, "start_episode", key="k" * 65)[0] == 400


def test_what_was_answered_is_not_remembered_for_ever(served, monkeypatch):
    """Is the memory of answers bounded?"""
    monkeypatch.setattr(book_module, "KEYS_REMEMBERED", 5)
    monkeypatch.setattr(book_module, "ENDED_IDS_REMEMBERED", 5)
    for k in range(20):
        assert post(served, "start_episode", key=f"k{k}", episode_id=f"e{k}")[0] == 200
        message = {"episode_id": f"e{k}", "observation": SEEN, "step": 0}
        assert post(served, "end_episode", **message)[0] == 200
    assert len(served.book._keys) == len(served.book._ended) == 5
    assert post(served, "end_episode", **message)[0] == 200  # the latest are known
    assert post(served, "end_episode", **{**message, "episode_id": "e3"})[0] == 404


# -- a line that loses answers ---------------------------------------------------------------------


class LossyLine:
    """Passes requests on to a server, and loses some answers: the connection closes instead."""

    def __init__(self, port: int, seed: int, lost: float):
        self.upstream, self.lost = port, lost
        self.losses = 0
        self.is_dead = False  # every answer is lost
        self._rng = np.random.default_rng(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(connection,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        answered = 0
        with client, socket.create_connection(("localhost", self.upstream)) as server:
            with contextlib.suppress(OSError):
                while request := _whole(client):
                    server.sendall(request)
                    answer = _whole(server)
                    # Never the first one: what fails on a new connection is the caller's to repeat.
                    if self.is_dead or (answered and self._rng.random() < self.lost):
                        self.losses += 1
                        return
                    client.sendall(answer)
                    answered += 1


def _whole(sender: socket.socket) -> bytes:
    """A whole request or answer; b"" if the sender has closed."""
    said = b""
    while received := sender.recv(2**20):
        said += received
        head, _, body = said.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if length and len(body) >= int(length[1]):
            return said
    return b""


@pytest.mark.parametrize("seed", range(3))
def test_a_line_that_loses_answers(served, seed):
    """Does a plain loop record exactly what happened, though every fifth answer gets lost?"""
    line, rng = LossyLine(served.port, seed, 0.2), np.random.default_rng(seed)
    client = PolicyClient(f"localhost:{line.port}")
    played: dict[str, tuple[list, list]] = {}
    try:
        for _ in range(6):
            episode_id = client.start_episode()
            actions, rewards = played.setdefault(episode_id, ([], []))
            for _ in range(30):
                if rng.random() < 0.3:
                    actions.append(int(rng.integers(ACTIONS)))
                    client.log_action(episode_id, rng.normal(size=SIZE), actions[-1])
                else:
                    actions.append(client.get_action(episode_id, rng.normal(size=SIZE)))
                rewards.append(float(rng.integers(10)))
                client.log_returns(episode_id, rewards[-1])
            client.end_episode(episode_id, rng.normal(size=SIZE))
    finally:
        line.close()
    assert line.losses > 10
    transcripts = {t.episode_id: t for t in served.book.latest_transcripts(100)}
    assert {name: (t.actions, t.rewards) for name, t in transcripts.items()} == played
    assert served.book.env_steps == 180 and not served.book.open


def test_an_answer_lost_for_good(served):
    """After an error, does the same call go on as if nothing had happened, and another one not?"""
    line = LossyLine(served.port, 0, 0.0)
    client, episode_id = PolicyClient(f"localhost:{line.port}"), "chosen"
    line.is_dead = True
    for _ in range(2):
        with pytest.raises(ServerUnreachable, match="closed the connection"):
            client.start_episode(episode_id)
    line.is_dead = False
    assert client.start_episode(episode_id) == episode_id
    line.is_dead = True
    for _ in range(2):
        with pytest.raises(ServerUnreachable, match="closed the connection"):
            client.get_action(episode_id, SEEN)
    line.is_dead = False
    assert served.book.env_steps == 1
    action = client.get_action(episode_id, SEEN)
    assert served.book.transcript(episode_id).actions == [action]
    line.close()

    client._open[episode_id].known = 0  # as if that answer, too, had been lost
    with pytest.raises(EpisodeConflict, match="it comes too late"):
        client.get_action(episode_id, [7.0] * SIZE)
    assert served.book.env_steps == 1
