"""Whatever players, learner and server do in whatever order: is recorded what must be recorded?

Hypothesis makes up sequences of calls, valid, invalid, repeated, late and abandoned ones, of several
players, with learners that die and servers that start anew in between. A model says what has to come
out: every accepted step once, with its reward, in the transcript and at the learner.

SEQUENCES=5000 is the long form.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field

import hypothesis
import msgspec
import numpy as np
from hypothesis import strategies as st

from serving import link
from serving.link import Configure
from serving.policy import untrained
from serving.protocol import (
    Disconnected,
    EndEpisode,
    EpisodeConflict,
    EpisodeNotFound,
    GetAction,
    InvalidMessage,
    LogAction,
    LogReturns,
    LogSteps,
    PolicyServerError,
    StartEpisode,
    Waiting,
)
from serving.server import pacing
from serving.server.calls import PolicyServer
from serving.server.episodes import EpisodeBook
from serving.server.pacing import Caller
from serving.server.supervisor import LearnerSupervisor

SIZE, ACTIONS = 2, 3
SEQUENCES = int(os.environ.get("SEQUENCES", "150"))
ROOM = pacing.MOST_STEPS_KEPT
MESSAGES = {
    "start_episode": StartEpisode,
    "get_action": GetAction,
    "log_action": LogAction,
    "log_steps": LogSteps,
    "log_returns": LogReturns,
    "end_episode": EndEpisode,
}

CALLS = [call for call in MESSAGES if call != "start_episode"]
CALLS += ["get_action"] * 4  # episodes that end at once teach little

observations = st.lists(st.integers(-9, 9), min_size=SIZE, max_size=SIZE)
rewards = st.none() | st.integers(-4, 4).map(lambda k: k / 2)
steps = st.lists(
    st.fixed_dictionaries(
        {
            "observation": observations,
            "action": st.integers(0, ACTIONS - 1),
            "reward": st.integers(-4, 4),
        }
    ),
    max_size=4,
)


@dataclass
class Expected:
    """What must be recorded of one episode."""

    training: bool
    observations: list = field(default_factory=list)
    actions: list = field(default_factory=list)
    rewards: list = field(default_factory=list)
    logged: list = field(default_factory=list)
    ending: str | None = None
    said: list = field(default_factory=list)  # (call, body, answer) of what was accepted

    def take(self, call: str, message: dict, answer) -> None:
        if message.get("reward") is not None:
            self.rewards[-1] += message["reward"]
        for step in message.get("steps", ()):
            self.add(step["observation"], step["action"], step["reward"], True)
        if call == "get_action":
            self.add(message["observation"], answer.action, 0.0, False)
        elif call == "log_action":
            self.add(message["observation"], message["action"], 0.0, True)
        elif call == "end_episode":
            self.ending = "truncated" if message["truncated"] else "terminated"
            self.observations.append(message["observation"])

    def add(self, observation, action, reward, logged) -> None:
        self.observations.append(observation)
        self.actions.append(action)
        self.rewards.append(float(reward))
        self.logged.append(logged)

    @property
    def complete(self) -> int:
        return len(self.actions) - (self.ending is None and bool(self.actions))


class Line:
    """A caller who can hang up."""

    def __init__(self):
        self.hung_up = asyncio.Event()

    async def receive(self) -> dict:
        await self.hung_up.wait()
        return {"type": "http.disconnect"}


class World:
    """A policy server, its players and its learner, and what must be recorded."""

    def __init__(self):
        self.runner = asyncio.Runner()
        self.begin()
        self.gone: list[str] = []  # episodes of earlier sessions

    def begin(self) -> None:
        self.book = EpisodeBook(SIZE, ACTIONS)
        configure = Configure("s", "DQN", SIZE, ACTIONS, {}, "policy", None, "logs")
        policy = untrained(SIZE, ACTIONS, [4], seed=0)
        self.learner = LearnerSupervisor(configure, self.book, policy, 10**9)
        self.server = PolicyServer(self.book, self.learner, 0)
        self.expected: dict[str, Expected] = {}
        self.taught: list[link.Experience] = []  # what the learner holds
        self.saved = 0  # how much of it a checkpoint holds

    # -- calls ---------------------------------------------------------------------------------

    async def say(self, call: str, body: bytes, line: Line):
        message = msgspec.json.decode(body, type=MESSAGES[call])
        return await getattr(self.server, call)(message, Caller(line.receive, body))

    def ask(self, call: str, body: bytes):
        """The answer, or the error."""

        async def asked():
            try:
                return await self.say(call, body, Line())
            except PolicyServerError as error:
                return error

        return self.runner.run(asked())

    def message(self, name: str, is_numbered: bool, **fields) -> tuple[bytes, dict]:
        if is_numbered:
            fields["step"] = len(self.expected[name].actions)
        return msgspec.json.encode({"episode_id": name, **fields}), fields

    def open(self) -> list[str]:
        return [name for name, e in self.expected.items() if e.ending is None]

    def accept(self, call: str, name: str, body: bytes, fields: dict, answer) -> None:
        expected = self.expected[name]
        if fields.get("reward") is not None and not expected.actions:
            assert isinstance(answer, EpisodeConflict), answer
            return
        last = expected.said[-1] if expected.said else None
        if "step" in fields and last and last[:2] == (call, body):
            assert answer == last[2]  # the same words again are the same message
            return
        assert not isinstance(answer, PolicyServerError | Waiting), answer
        expected.take(call, fields, answer)
        if "step" in fields:
            expected.said.append((call, body, answer))

    def start(self, data):
        training, has_key = data.draw(st.booleans()), data.draw(st.booleans())
        name = f"e{len(self.expected)}-{len(self.gone)}"
        fields = {"episode_id": name, "training_enabled": training}
        body = msgspec.json.encode({**fields, **({"key": name} if has_key else {})})
        assert self.ask("start_episode", body).episode_id == name
        again = self.ask("start_episode", body)
        if has_key:
            assert again.episode_id == name
        else:
            assert isinstance(again, EpisodeConflict)
        self.expected[name] = Expected(training)

    def play(self, data):
        """One valid call of a player."""
        if not self.open():
            return self.start(data)
        name, call = data.draw(st.sampled_from(self.open())), data.draw(st.sampled_from(CALLS))
        is_numbered, reward = data.draw(st.integers(0, 3)) > 0, data.draw(rewards)
        fields: dict = {}
        if call in ("get_action", "log_action", "end_episode"):
            fields["observation"] = data.draw(observations)
        if call in ("get_action", "log_steps", "end_episode"):
            fields |= {"reward": reward, "steps": data.draw(steps)}
        if call == "log_action":
            fields["action"] = data.draw(st.integers(0, ACTIONS - 1))
        if call == "log_returns":
            fields["reward"] = reward or 0.0
        if call == "end_episode":
            fields["truncated"] = data.draw(st.booleans())
        body, fields = self.message(name, is_numbered, **fields)
        self.accept(call, name, body, fields, self.ask(call, body))

    def say_again(self, data):
        """The latest numbered message, once more, whatever was said without a number since."""
        names = [n for n, e in self.expected.items() if e.said]
        if not names:
            return
        name = data.draw(st.sampled_from(names))
        call, body, answer = self.expected[name].said[-1]
        assert self.ask(call, body) == answer

    def say_late(self, data):
        """An earlier numbered message, when the episode has gone on: nothing of it is recorded."""
        names = [n for n, e in self.expected.items() if len(e.said) > 1]
        if not names:
            return
        name = data.draw(st.sampled_from(names))
        said = self.expected[name].said
        call, body, _ = said[data.draw(st.integers(0, len(said) - 2))]
        step = msgspec.json.decode(body)["step"]
        if step == len(self.expected[name].actions) or (call, body) == said[-1][:2]:
            return  # nothing but rewards came after it
        assert isinstance(self.ask(call, body), EpisodeConflict)

    def say_nonsense(self, data):
        if not self.open():
            return
        name = data.draw(st.sampled_from(self.open()))
        good = {"observation": [0] * SIZE, "action": 0, "reward": 0}
        call, fields = data.draw(
            st.sampled_from(
                [
                    ("get_action", {"observation": [0.0]}),
                    ("get_action", {"observation": [0.0] * SIZE, "steps": [good, {**good, "action": 7}]}),
                    ("log_steps", {"steps": [good, {**good, "observation": [1e9] * SIZE}]}),
                    ("log_action", {"observation": [0.0] * SIZE, "action": 0.5}),
                    ("log_returns", {"reward": 1e9}),
                    ("end_episode", {"observation": [0.0] * (SIZE + 1), "steps": [good]}),
                    ("end_episode", {"observation": [0.0] * SIZE, "step": 10**6}),
                ]
            )
        )  # fmt: skip
        body = msgspec.json.encode({"episode_id": name, **fields})
        assert isinstance(self.ask(call, body), InvalidMessage | EpisodeConflict)

    def say_and_wait(self, data):
        """A message that has to wait, sent several times; who does not `stay` hangs up."""
        names = [n for n in self.open() if self.expected[n].training]
        if not names:
            return
        copies, stay = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 3))
        last = data.draw(st.integers(0, 3)) == 0
        name = data.draw(st.sampled_from(names))
        call = "end_episode" if last else "get_action"
        step = {"observation": [1, 1], "action": 1, "reward": 1}
        fields = {"observation": data.draw(observations), "steps": [step]}
        if last:
            fields["truncated"] = True
        body, fields = self.message(name, True, **fields)
        said = self.expected[name].said
        if said and said[-1][:2] == (call, body):
            return

        async def asked():
            lines = [Line() for _ in range(copies)]
            calls = [asyncio.create_task(self.say(call, body, line)) for line in lines]
            while self.server.pacing.waiting_clients < copies:
                await asyncio.sleep(0)
            for line in lines[stay:]:
                line.hung_up.set()
            while self.server.pacing.waiting_clients > min(stay, copies):
                await asyncio.sleep(0)
            pacing.MOST_STEPS_KEPT = ROOM
            self.server.pacing.wake()
            return await asyncio.gather(*calls, return_exceptions=True)

        pacing.MOST_STEPS_KEPT = 0
        try:
            answers = self.runner.run(asked())
        finally:
            pacing.MOST_STEPS_KEPT = ROOM
        assert all(isinstance(answer, Disconnected) for answer in answers[stay:])
        for answer in answers[:stay]:
            self.accept(call, name, body, fields, answer)

    def say_to_another_server(self, data):
        """The server was restarted: it knows no episode of before."""
        if not self.gone:
            return
        call = data.draw(st.sampled_from(["get_action", "end_episode"]))
        name = data.draw(st.sampled_from(self.gone))
        body = msgspec.json.encode({"episode_id": name, "observation": [0] * SIZE, "step": 3})
        assert isinstance(self.ask(call, body), EpisodeNotFound)

    # -- what happens to learner and server ----------------------------------------------------

    def the_learner_takes(self, data=None):
        """Some of what the server has for it; the rest is on its way."""
        most = 10**6 if data is None else data.draw(st.sampled_from([1, 2, 10**6]))
        self.learner._collect()
        for sequence, _, frame in self.learner._unsent()[:most]:
            self.taught.append(link._decoder.decode(frame[4:]))
            self.learner._sent = sequence

    def the_learner_saves(self, data):
        self.saved = len(self.taught)
        if self.taught:
            self.learner._forget(self.taught[-1].sequence)

    def the_learner_dies(self, data):
        """Its successor goes on from the checkpoint."""
        del self.taught[self.saved :]
        self.learner._sent = self.taught[-1].sequence if self.taught else 0

    def the_server_starts_anew(self, data):
        self.compare()
        self.gone += self.expected
        self.begin()

    # -- what must have come of it -------------------------------------------------------------

    def compare(self) -> None:
        self.the_learner_takes()
        training = [e for e in self.expected.values() if e.training]
        assert self.book.env_steps == sum(len(e.actions) for e in training)
        assert self.book.logged_steps == sum(sum(e.logged) for e in training)
        assert self.book.evaluation_steps == sum(
            len(e.actions) for e in self.expected.values() if not e.training
        )
        assert set(self.book.open) == set(self.open())
        assert [x.sequence for x in self.taught] == list(range(1, len(self.taught) + 1))
        for name, expected in self.expected.items():
            if expected.actions:
                transcript = self.book.transcript(name)
                assert transcript.observations == expected.observations
                assert transcript.actions == expected.actions
                assert transcript.rewards == expected.rewards
                assert transcript.ending == expected.ending
                assert transcript.sources == [("policy", "log")[e] for e in expected.logged]
            self.compare_taught(name, expected)

    def compare_taught(self, name: str, expected: Expected) -> None:
        parts = [x for x in self.taught if x.episode_id == name]
        if not expected.training or not expected.complete:
            assert not parts
            return
        actions, paid, seen = [], [], []
        for part in parts:
            rows = np.frombuffer(part.observations, "<f4").reshape(-1, SIZE).tolist()
            assert len(rows) == part.steps + 1
            assert not seen or seen[-1] == rows[0]
            seen = seen[:-1] + rows
            actions += np.frombuffer(part.actions, "<i4").tolist()
            paid += np.frombuffer(part.rewards, "<f4").tolist()
        complete = expected.complete
        assert actions == expected.actions[:complete]
        assert paid == expected.rewards[:complete]
        assert seen == expected.observations[: complete + 1]
        assert [part.ending for part in parts if part.ending] == [expected.ending] * bool(
            expected.ending
        )


HAPPENINGS = {  # how often, one beside the other
    World.play: 24,
    World.start: 3,
    World.say_again: 4,
    World.say_late: 3,
    World.say_nonsense: 2,
    World.say_and_wait: 3,
    World.say_to_another_server: 1,
    World.the_learner_takes: 5,
    World.the_learner_saves: 3,
    World.the_learner_dies: 2,
    World.the_server_starts_anew: 1,
}


@hypothesis.settings(
    max_examples=SEQUENCES,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(st.data())
def test_what_must_be_recorded_is_recorded_once(data):
    """After any sequence, do transcripts, counters and learner hold exactly what was accepted?"""
    kinds = [kind for kind, often in HAPPENINGS.items() for _ in range(often)]
    world = World()
    try:
        for kind in data.draw(st.lists(st.sampled_from(kinds), min_size=20, max_size=60)):
            kind(world, data)
        world.compare()
    finally:
        world.runner.close()
