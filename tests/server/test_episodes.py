"""The rules of open episodes, and what the learner and the transcripts get of them."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest

from serving.policy import Decision
from serving.protocol import (
    EpisodeConflict,
    EpisodeNotFound,
    InvalidMessage,
    LoggedStep,
    TooManyEpisodes,
)
from serving.server import episode as one_episode
from serving.server import episodes
from serving.server.episodes import EpisodeBook

SIZE, ACTIONS = 2, 3


@pytest.fixture
def book() -> EpisodeBook:
    return EpisodeBook(SIZE, ACTIONS)


def observation(k: float) -> list[float]:
    return [float(k), -float(k)]


def act(book: EpisodeBook, episode_id: str, k: float, action: int = 1, reward=None, version=5):
    """What get_action does once the policy has decided."""
    episode = book.find(episode_id)
    book.check(episode, reward, [], observation(k))
    book.record(episode, reward, [])
    decision = Decision(action, np.zeros(ACTIONS, np.float32), True, -0.5)
    book.record_decision(episode, observation(k), decision, version)


def log(book: EpisodeBook, episode_id: str, *steps, reward=None):
    episode = book.find(episode_id)
    book.check(episode, reward, list(steps))
    book.record(episode, reward, list(steps))


def end(book: EpisodeBook, episode_id: str, k: float, reward=None, steps=(), truncated=False):
    episode = book.find(episode_id)
    book.check(episode, reward, list(steps), observation(k))
    book.record(episode, reward, list(steps))
    book.end(episode, observation(k), truncated)


def step(k: float, action: float = 0, reward: float = 0.0) -> LoggedStep:
    return LoggedStep(observation(k), action, reward)


class Fragment:
    """An Experience, unpacked by its documentation alone."""

    def __init__(self, experience):
        self.id, self.ending, self.logged = (
            experience.episode_id, experience.ending, experience.logged,
        )  # fmt: skip
        self.steps = experience.steps
        self.observations = np.frombuffer(experience.observations, "<f4").reshape(-1, SIZE)
        self.actions = np.frombuffer(experience.actions, "<i4").tolist()
        self.rewards = np.frombuffer(experience.rewards, "<f4").tolist()
        self.log_probabilities = np.frombuffer(experience.log_probabilities, "<f4").tolist()
        self.versions = np.frombuffer(experience.versions, "<i4").tolist()
        self.episode_return, self.episode_steps = (
            experience.episode_return, experience.episode_steps,
        )  # fmt: skip
        assert len(self.observations) == self.steps + 1
        for column in (self.actions, self.rewards, self.log_probabilities, self.versions):
            assert len(column) == self.steps


def take(book: EpisodeBook) -> list[Fragment]:
    return [Fragment(experience) for experience in book.take_experience()]


def counts(book: EpisodeBook) -> tuple:
    return (
        book.env_steps, book.logged_steps, book.evaluation_steps, book.acted, book.episodes,
        len(book.open), list(book.history.returns), len(book.transcripts),
    )  # fmt: skip


# -- starting and ending ---------------------------------------------------------------------------


def test_ids_are_made_up_or_chosen(book):
    """Does every episode get an id of its own, or the one its player chose?"""
    made_up = {book.start(None, True) for _ in range(100)}
    assert len(made_up) == 100
    assert book.start("mine", True) == "mine"


def test_an_id_is_used_once(book):
    """Is an id refused while its episode is open, and after it has ended?"""
    book.start("e", True)
    with pytest.raises(EpisodeConflict, match="'e' is open already"):
        book.start("e", True)
    act(book, "e", 0)
    end(book, "e", 1)
    with pytest.raises(EpisodeConflict, match="'e' has ended already"):
        book.start("e", False)


def test_unknown_episodes(book):
    """Does the refusal of an unknown id say how to get a known one?"""
    with pytest.raises(EpisodeNotFound, match=r"no episode 'x' here; start one with start_episode"):
        book.find("x")


def test_ended_episodes(book):
    """Is every call refused after the end, with what to do instead?"""
    book.start("e", True)
    act(book, "e", 0)
    end(book, "e", 1)
    before = counts(book)
    for call in (lambda: act(book, "e", 2), lambda: log(book, "e", step(2)),
                 lambda: log(book, "e", reward=1.0), lambda: end(book, "e", 2)):  # fmt: skip
        with pytest.raises(EpisodeConflict, match=r"'e' has ended; start a new one"):
            call()
    assert counts(book) == before


@pytest.mark.parametrize("training", [True, False])
def test_started_and_ended_with_nothing_between(book, training):
    """Does an episode without a step leave no trace, in the learner or in the transcripts?"""
    before = counts(book)
    book.start("e", training)
    end(book, "e", 0)
    assert counts(book) == before
    assert take(book) == []
    with pytest.raises(EpisodeNotFound):
        book.transcript("e")
    with pytest.raises(EpisodeConflict, match="has ended"):  # but it did exist
        book.find("e")


def test_too_many_open_episodes(monkeypatch, book):
    """Is there a limit of open episodes, and room again once one has ended?"""
    monkeypatch.setattr(episodes, "MOST_OPEN_EPISODES", 3)
    ids = [book.start(None, True) for _ in range(3)]
    with pytest.raises(TooManyEpisodes, match="3 episodes are open"):
        book.start(None, True)
    end(book, ids[0], 0)
    book.start(None, True)


def test_ended_ids_are_not_remembered_for_ever(monkeypatch, book):
    """Does a server that runs for weeks keep a bounded number of ended ids?"""
    monkeypatch.setattr(episodes, "ENDED_IDS_REMEMBERED", 3)
    for number in range(10):
        book.start(f"e{number}", True)
        end(book, f"e{number}", 0)
    with pytest.raises(EpisodeConflict):
        book.find("e9")
    with pytest.raises(EpisodeNotFound):
        book.find("e0")


# -- rewards ---------------------------------------------------------------------------------------


def test_a_reward_needs_an_action(book):
    """Is a reward before the first action refused, and nothing recorded?"""
    book.start("e", True)
    before = counts(book)
    with pytest.raises(EpisodeConflict, match="no action yet"):
        log(book, "e", reward=1.0)
    with pytest.raises(EpisodeConflict, match="no action yet"):
        act(book, "e", 0, reward=1.0)
    with pytest.raises(EpisodeConflict, match="no action yet"):
        end(book, "e", 0, reward=1.0)
    assert counts(book) == before
    assert book.find("e").steps == 0


def test_rewards_between_two_actions_add_up(book):
    """Is a reward credited to the latest action: several add up, none counts 0?"""
    book.start("e", True)
    act(book, "e", 0)
    log(book, "e", reward=1.0)
    log(book, "e", reward=0.25)
    act(book, "e", 1, reward=-3.0)  # travels with the next request, belongs to the first action
    act(book, "e", 2)
    log(book, "e", step(3, reward=4.0))
    log(book, "e", reward=0.5)
    end(book, "e", 4, reward=0.125)
    transcript = book.transcript("e")
    assert transcript.rewards == [1.0 + 0.25 - 3.0, 0.0, 0.0, 4.0 + 0.5 + 0.125]
    assert list(book.history.returns) == [sum(transcript.rewards)]
    assert [r for f in take(book) for r in f.rewards] == transcript.rewards


# -- what the learner gets -------------------------------------------------------------------------


def test_the_curve_goes_back_to_the_start_and_stays_short(book):
    """Is each training episode's mean in it at first, and a thinned out one of many?"""
    for number, training in enumerate((True, False, True)):
        episode_id = book.start(None, training)
        act(book, episode_id, 0)
        end(book, episode_id, 1, reward=number)
    assert book.history.curve == [(1, 0.0), (2, 1.0)]  # means of 0, and of 0 and 2
    for _ in range(3_000):
        episode_id = book.start(None, True)
        act(book, episode_id, 0)
        end(book, episode_id, 1, reward=7)
        assert len(book.history.curve) <= 240
    assert book.history.curve[0] == (1, 0.0) and book.history.curve[-1] == (3_002, 7.0)
    assert len(book.history.curve) > 100 and book.history.curve == sorted(book.history.curve)


@pytest.mark.parametrize("truncated", [False, True])
def test_the_learner_gets_complete_steps_at_once(book, truncated):
    """Does a step go to the learner as soon as the next observation is known?"""
    book.start("e", True)
    act(book, "e", 0)
    assert take(book) == []
    act(book, "e", 1, reward=1.0)
    (first,) = take(book)
    assert (first.steps, first.rewards, first.ending) == (1, [1.0], None)
    assert first.observations.tolist() == [observation(0), observation(1)]
    assert take(book) == []
    end(book, "e", 2, reward=2.0, truncated=truncated)
    (last,) = take(book)
    assert last.observations.tolist() == [observation(1), observation(2)]
    assert last.ending == ("truncated" if truncated else "terminated")
    assert (last.episode_return, last.episode_steps) == (3.0, 2)
    assert take(book) == []


def test_a_reward_is_never_late(book):
    """Can the latest action still be rewarded after the learner has taken what there was?"""
    book.start("e", True)
    act(book, "e", 0)
    act(book, "e", 1, reward=1.0)
    take(book)
    log(book, "e", reward=5.0)
    end(book, "e", 2, reward=0.5)
    assert take(book)[0].rewards == [5.5]


def test_evaluation_never_reaches_the_learner(book):
    """Is evaluation kept from the learner and the mean return, whatever happens in it?"""
    book.start("e", False)
    act(book, "e", 0)
    log(book, "e", step(1, reward=7.0), step(2, reward=7.0))
    act(book, "e", 3)
    assert take(book) == []
    end(book, "e", 4, reward=1.0)
    assert take(book) == []
    assert (book.env_steps, book.logged_steps, book.acted, book.episodes) == (0, 0, 0, 0)
    assert book.evaluation_steps == 4
    assert list(book.history.returns) == []
    assert book.transcript("e").training_enabled is False
    assert book.transcript("e").rewards == [0.0, 7.0, 7.0, 1.0]


def test_logged_and_acted_steps_are_never_in_one_fragment(book):
    """Does a fragment hold either the policy's own steps or somebody else's, in order?"""
    book.start("e", True)
    act(book, "e", 0, version=3)
    log(book, "e", step(1, 2, 1.0), step(2, 0, 1.0))
    act(book, "e", 3, version=4)
    act(book, "e", 4, version=4)
    end(book, "e", 6, steps=[step(5, 1, 9.0)])
    fragments = take(book)
    assert [(f.logged, f.steps) for f in fragments] == [
        (False, 1), (True, 2), (False, 2), (True, 1),
    ]  # fmt: skip
    assert [f.ending for f in fragments] == [None, None, None, "terminated"]
    assert [f.observations[0, 0] for f in fragments] == [0, 1, 3, 5]
    assert [f.observations[-1, 0] for f in fragments] == [1, 3, 5, 6]
    assert [f.versions for f in fragments] == [[3], [0, 0], [4, 4], [0]]
    assert book.transcript("e").sources == ["policy", "log", "log", "policy", "policy", "log"]
    assert (book.env_steps, book.logged_steps) == (6, 3)


def test_fragments_are_bounded(monkeypatch, book):
    """Is a long block cut into fragments, without losing or repeating a step?"""
    monkeypatch.setattr(one_episode, "FRAGMENT_STEPS", 10)
    book.start("e", True)
    end(book, "e", 35, steps=[step(k, k % ACTIONS, k) for k in range(35)])
    fragments = take(book)
    assert [f.steps for f in fragments] == [10, 10, 10, 5]
    assert [r for f in fragments for r in f.rewards] == list(range(35))
    assert [f.ending for f in fragments] == [None, None, None, "terminated"]
    for before, after in zip(fragments, fragments[1:]):
        assert before.observations[-1].tolist() == after.observations[0].tolist()


def test_only_the_policys_own_complete_training_steps_pace_acting(book):
    """Does `acted` count exactly the steps that acting has to wait for?"""
    book.start("train", True)
    book.start("evaluate", False)
    for k in range(3):
        act(book, "evaluate", k)
        act(book, "train", k)
        assert book.acted == k  # the latest one is not complete
    log(book, "train", step(3), step(4))
    assert book.acted == 3
    act(book, "train", 5)
    assert book.acted == 3  # the step before was logged
    end(book, "train", 6)
    assert book.acted == 4
    end(book, "evaluate", 3)
    assert book.acted == 4
    assert sum(f.steps for f in take(book) if not f.logged) == 4


# -- all or nothing --------------------------------------------------------------------------------


BAD_BLOCKS = {
    "size": (LoggedStep([1.0], 0), "log_action", "has 1 numbers: expected 2"),
    "nan": (LoggedStep([1.0, math.nan], 0), "log_action", r"observation\[1\] is nan"),
    "action": (step(1, ACTIONS), "log_action", f"action is {ACTIONS}"),
    "fraction": (step(1, 0.5), "log_action", "action is 0.5"),
    "reward": (step(1, 0, math.inf), "log_returns", "reward is inf"),
}


@pytest.mark.parametrize("kind", sorted(BAD_BLOCKS))
@pytest.mark.parametrize("at", [0, 3, 5])
def test_a_bad_step_spoils_its_whole_block(book, kind, at):
    """If one step is bad, is nothing of its block recorded, and the step named?"""
    bad, call, said = BAD_BLOCKS[kind]
    book.start("e", True)
    act(book, "e", 0)
    act(book, "e", 1)
    take(book)
    block = [step(k, 0, 1.0) for k in range(5)]
    block.insert(at, bad)
    before, transcript = counts(book), book.transcript("e")
    transcript.seconds = None
    for attempt in (lambda: log(book, "e", *block, reward=1.0),
                    lambda: end(book, "e", 9, reward=1.0, steps=block)):  # fmt: skip
        with pytest.raises(InvalidMessage, match=said) as refusal:
            attempt()
        assert (refusal.value.call, refusal.value.step) == (call, 2 + at)
    after = book.transcript("e")
    after.seconds = None
    assert counts(book) == before
    assert after == transcript
    assert take(book) == []
    log(book, "e", *block[:at], *block[at + 1 :], reward=1.0)  # and the book is unharmed
    assert book.find("e").steps == 7


@pytest.mark.parametrize("reward", [math.nan, math.inf, 1e7])
def test_a_bad_reward_is_refused(book, reward):
    """Is a bad reward refused with its call and step, and the reward of the step unchanged?"""
    book.start("e", True)
    act(book, "e", 0)
    log(book, "e", reward=2.0)
    with pytest.raises(InvalidMessage, match="reward is") as refusal:
        act(book, "e", 1, reward=reward)
    assert (refusal.value.call, refusal.value.step) == ("log_returns", 0)
    assert book.transcript("e").rewards == [2.0]


def test_a_bad_last_observation_does_not_end_the_episode(book):
    """Can an episode be ended properly after a bad attempt?"""
    book.start("e", True)
    act(book, "e", 0)
    with pytest.raises(InvalidMessage):
        episode = book.find("e")
        book.check(episode, 1.0, [], [1.0, 2.0, 3.0])
    assert book.transcript("e").rewards == [0.0]
    end(book, "e", 1, reward=1.0)
    assert book.transcript("e").rewards == [1.0]


# -- abandoned episodes ----------------------------------------------------------------------------


def abandon(book: EpisodeBook) -> int:
    for episode in book.open.values():
        episode.touched -= book.abandon_after + 1
    return book.end_abandoned()


@pytest.mark.parametrize("taken_before", [False, True])
def test_abandoned_episodes_are_learned_from_as_truncated(book, taken_before):
    """Does the learner get all of an abandoned episode but its last step, as truncated?"""
    book.start("e", True)
    for k in range(4):
        act(book, "e", k, reward=1.0 if k else None)
    log(book, "e", reward=50.0)
    fragments = take(book) if taken_before else []
    assert book.end_abandoned() == 0  # not yet
    assert abandon(book) == 1
    fragments += take(book)
    assert fragments[-1].ending == "truncated"
    assert [r for f in fragments for r in f.rewards] == [1.0, 1.0, 1.0]
    assert fragments[-1].observations[-1].tolist() == observation(3)
    assert (fragments[-1].episode_return, fragments[-1].episode_steps) == (3.0, 3)
    assert book.transcript("e").ending == "abandoned"
    assert len(book.transcript("e").observations) == len(book.transcript("e").actions) + 1
    with pytest.raises(EpisodeConflict, match="has ended"):
        act(book, "e", 4)


@pytest.mark.parametrize("kind", ["policy", "log", "evaluation"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_counters_after_an_abandoned_episode_are_what_the_learner_gets(book, kind, steps):
    """Do counters after an abandoned episode agree with what the learner gets of it?"""
    book.start("e", kind != "evaluation")
    for k in range(steps):
        log(book, "e", step(k)) if kind == "log" else act(book, "e", k)
    abandon(book)
    fragments = take(book)
    got = sum(f.steps for f in fragments)
    assert got == (0 if kind == "evaluation" else steps - 1)
    assert book.env_steps == got
    assert book.logged_steps == (got if kind == "log" else 0)
    assert book.acted == (got if kind == "policy" else 0)
    assert book.evaluation_steps == (steps - 1 if kind == "evaluation" else 0)
    assert book.episodes == sum(f.ending is not None for f in fragments)
    assert book.incomplete_steps == 0


def test_an_episode_in_use_is_not_abandoned(book):
    """Does any call on an episode keep it open?"""
    book.start("e", True)
    for call in (lambda: act(book, "e", 0), lambda: log(book, "e", reward=1.0),
                 lambda: log(book, "e", step(1)),
                 lambda: book.find("e")):  # a player who waits for the learner  # fmt: skip
        book.open["e"].touched -= book.abandon_after + 1
        call()
        assert book.end_abandoned() == 0


def test_incomplete_steps(book):
    """Are steps that still wait for their next observation counted, and evaluation's not?"""
    book.start("a", True)
    book.start("b", True)
    book.start("c", False)
    assert book.incomplete_steps == 0
    for name in "abc":
        act(book, name, 0)
        act(book, name, 1)
    assert book.incomplete_steps == 2
    assert book.env_steps - book.incomplete_steps == sum(f.steps for f in take(book))
    end(book, "a", 2)
    assert book.incomplete_steps == 1


# -- very long episodes ----------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_very_long_episodes_forget_old_steps_but_no_experience(monkeypatch, book, training):
    """Does an episode that never ends stay small, while the learner gets every step of it once?"""
    monkeypatch.setattr(one_episode, "STEPS_KEPT", 50)
    monkeypatch.setattr(one_episode, "FRAGMENT_STEPS", 40)
    rng, steps, got = np.random.default_rng(0), 2_000, []
    book.start("e", training)
    for k in range(steps):
        act(book, "e", k, reward=float(k - 1) if k else None)
        if rng.random() < 0.1:
            got += take(book)
        assert len(book.find("e").actions) <= 200
    end(book, "e", steps, reward=float(steps - 1))
    got += take(book)
    transcript = book.transcript("e")
    kept = steps - transcript.dropped_steps
    assert 50 <= kept <= 200
    assert transcript.rewards == [float(k) for k in range(steps - kept, steps)]
    assert [o[0] for o in transcript.observations] == list(range(steps - kept, steps + 1))
    if training:
        assert [r for f in got for r in f.rewards] == [float(k) for k in range(steps)]
        assert [f.observations[0, 0] for f in got if f.steps][0] == 0
        assert got[-1].episode_steps == steps
        assert got[-1].episode_return == sum(range(steps))
        assert book.env_steps == book.acted == steps
    else:
        assert got == []


def test_long_episodes_nobody_learns_from_lose_nothing(monkeypatch, book):
    """Is nothing forgotten that the learner has not got yet?"""
    monkeypatch.setattr(one_episode, "STEPS_KEPT", 20)
    book.start("e", True)
    log(book, "e", *[step(k, 0, k) for k in range(500)])
    for k in range(500, 600):
        act(book, "e", k)
        log(book, "e", reward=float(k))
    fragments = take(book)
    assert [r for f in fragments for r in f.rewards] == [float(k) for k in range(599)]


# -- everything at once ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_random_players_against_a_naive_book(monkeypatch, seed):
    """Do learner and transcripts get exactly what random interleaved players did?"""
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(one_episode, "FRAGMENT_STEPS", int(rng.integers(2, 20)))
    monkeypatch.setattr(episodes, "TRANSCRIPTS_KEPT", 1_000)
    book, fragments = EpisodeBook(SIZE, ACTIONS), defaultdict(list)
    done: dict[str, dict] = {}  # what the naive book says of ended episodes
    now: dict[str, dict] = {}  # ... and of open ones

    def take_some():
        for fragment in take(book):
            fragments[fragment.id].append(fragment)

    for _ in range(int(rng.integers(50, 400))):
        choice, names = rng.random(), sorted(now)
        if choice < 0.1 or not names:
            training = bool(rng.random() < 0.7)
            name = book.start(None, training)
            now[name] = {"training": training, "steps": [], "end": None}
            continue
        name = str(rng.choice(names))
        naive, k = now[name], float(rng.integers(1_000))
        reward = None
        if naive["steps"] and rng.random() < 0.5:
            reward = float(rng.integers(10))
            naive["steps"][-1][2] += reward
        block = []
        if rng.random() < 0.3:
            block = [
                step(float(rng.integers(1_000)), int(rng.integers(ACTIONS)), float(rng.integers(5)))
                for _ in range(rng.integers(1, 6))
            ]
        new = [[s.observation, int(s.action), s.reward, "log"] for s in block]
        if choice < 0.6:
            action = int(rng.integers(ACTIONS))
            episode = book.find(name)
            book.check(episode, reward, block, observation(k))
            book.record(episode, reward, block)
            decision = Decision(action, np.zeros(ACTIONS, np.float32), True, -1.0)
            book.record_decision(episode, observation(k), decision, 1)
            naive["steps"] += [*new, [observation(k), action, 0.0, "policy"]]
        elif choice < 0.9:
            log(book, name, *block, reward=reward)
            naive["steps"] += new
        else:
            truncated = bool(rng.random() < 0.5)
            end(book, name, k, reward, block, truncated)
            naive["steps"] += new
            naive["end"] = (observation(k), "truncated" if truncated else "terminated")
            done[name] = now.pop(name)
        if rng.random() < 0.2:
            take_some()
    take_some()

    for name, naive in {**done, **now}.items():
        steps = naive["steps"]
        if not naive["training"]:
            assert name not in fragments
        else:
            complete = len(steps) if naive["end"] else max(0, len(steps) - 1)
            flat = [
                [
                    f.observations[i].tolist(),
                    f.actions[i],
                    f.rewards[i],
                    "log" if f.logged else "policy",
                ]
                for f in fragments[name]
                for i in range(f.steps)
            ]
            assert flat == steps[:complete]
            endings = [f.ending for f in fragments[name] if f.ending]
            assert endings == ([naive["end"][1]] if naive["end"] and steps else [])
            if endings:
                last = fragments[name][-1]
                assert last.ending and last.observations[-1].tolist() == naive["end"][0]
                assert last.episode_return == sum(s[2] for s in steps)
                assert last.episode_steps == len(steps)
        if steps:
            transcript = book.transcript(name)
            rows = [s[0] for s in steps] + ([naive["end"][0]] if naive["end"] else [])
            assert transcript.observations == rows
            assert transcript.actions == [s[1] for s in steps]
            assert transcript.rewards == [s[2] for s in steps]
            assert transcript.sources == [s[3] for s in steps]
            assert transcript.ending == (naive["end"][1] if naive["end"] else None)
    training = [n for n in (*done.values(), *now.values()) if n["training"]]
    assert book.env_steps == sum(len(n["steps"]) for n in training)
    assert book.logged_steps == sum(s[3] == "log" for n in training for s in n["steps"])
    assert book.acted == sum(
        f.steps for of_one in fragments.values() for f in of_one if not f.logged
    )
    assert book.episodes == sum(bool(n["end"] and n["steps"]) for n in training)


# -- transcripts -----------------------------------------------------------------------------------


def test_the_latest_transcripts_come_in_order(monkeypatch):
    """Are transcripts bounded, oldest first, with open episodes at the end?"""
    monkeypatch.setattr(episodes, "TRANSCRIPTS_KEPT", 5)
    book = EpisodeBook(SIZE, ACTIONS)
    for number in range(8):
        book.start(f"e{number}", True)
        act(book, f"e{number}", 0)
        if number != 2:
            end(book, f"e{number}", 1)
    book.start("nothing yet", True)
    names = [t.episode_id for t in book.latest_transcripts(100)]
    assert names == ["e3", "e4", "e5", "e6", "e7", "e2"]
    assert [t.episode_id for t in book.latest_transcripts(2)] == ["e7", "e2"]
    assert book.latest_transcripts(0) == []
    with pytest.raises(EpisodeNotFound, match="latest 5"):
        book.transcript("e0")


def test_a_transcript_does_not_change_afterwards(book):
    """Is a transcript a copy, not a view of a running episode?"""
    book.start("e", True)
    act(book, "e", 0)
    transcript = book.transcript("e")
    act(book, "e", 1, reward=1.0)
    assert (transcript.actions, transcript.rewards) == ([1], [0.0])
    assert transcript.ending is None


def test_seconds_of_a_transcript_rise(book):
    """Does a transcript tell when each step was taken, from its episode's start on?"""
    book.start("e", True)
    for k in range(10):
        act(book, "e", k)
    seconds = book.transcript("e").seconds
    assert seconds == sorted(seconds)
    assert 0 <= seconds[0] <= seconds[-1] < 5


def test_refused_requests_are_remembered(book):
    """Does the book remember the latest refusals, for those who grade?"""
    for number in range(episodes.TRANSCRIPTS_KEPT + 50):
        book.reject("get_action", f"e{number}", InvalidMessage("bad"))
    assert len(book.rejected) == episodes.TRANSCRIPTS_KEPT
    latest = book.rejected[-1]
    assert (latest.call, latest.status, latest.error) == ("get_action", 400, "bad")
