"""Evidence: an examination is held again from its tape, and nothing in it can be changed."""

from __future__ import annotations

import copy
import re

import msgspec
import pytest
from grading import reference_answers
from other_process import notebook_of

from serving.examiner import candidate, evidence
from serving.examiner.exam import Exam
from serving.examiner.serve_and_learn import FEWEST_STEPS, LEARNED, ServeAndLearn
from serving.examiner.stand_ins import Notebook
from serving.examiner.tape import Recorder

LESSON, SEED = "01-serve-and-learn", 7
QUESTIONS = ["test_calls", "test_numbers", "test_ending", "test_result", "test_solved"]
MISTAKE = ("log_returns(episode_id, reward)", "log_returns(episode_id, 1.0)")


def examined(answers: dict[str, str], questions: list[str]) -> dict:
    """What an examiner keeps of a notebook with these answers, in a process of its own."""
    with notebook_of(*answers.values(), first=candidate._play_against) as line:
        notebook, tape = Notebook(), Recorder(SEED)
        notebook.connected(line)
        tape.connected()
        examination = ServeAndLearn(notebook, SEED)
        with tape.running():
            verdicts = [tape.asked(examination, question) for question in questions]
        examination.close()
    return {
        "lesson": LESSON, "seed": SEED, "verdicts": msgspec.to_builtins(verdicts),
        "tape": tape.events, "versions": {},
    }  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> dict:
    """Of a right answer, as it comes back from its file."""
    path = tmp_path_factory.mktemp("evidence") / "ada.evidence.gz"
    evidence.write(path, examined(reference_answers(LESSON), QUESTIONS))
    print(f"{path.stat().st_size:,} bytes")
    return evidence.read(path)


def changed(kept: dict, kind: str, pattern: bytes, by) -> dict:
    """With one event changed, the first of those that match; `by` makes the new bytes."""
    copied = copy.deepcopy(kept)
    found = [
        event for event in copied["tape"]
        if event[0] == kind and re.search(pattern, event[1] if kind == "message" else event[1][1])
    ]  # fmt: skip
    event = found[0]
    if kind == "message":
        event[1] = by(event[1])
    else:
        event[1][1] = by(event[1][1])
    return copied


STEP = rb"\xa4step\xd5\x01\x91"  # of the examiner's environment, and a tuple of one action


def another_action(message: bytes) -> bytes:
    """The other one of CartPole's two."""
    at = re.search(STEP, message).end()
    return message[:at] + bytes([1 - message[at]]) + message[at + 1 :]


def next_digit(name: bytes):
    def by(content: bytes) -> bytes:
        found = list(re.finditer(name + rb"[^}]*?\d\.\d\d(\d)", content))
        at = found[len(found) // 2].start(1)
        digit = b"%d" % ((content[at] - 48 + 1) % 10)
        return content[:at] + digit + content[at + 1 :]

    return by


CHANGES = {
    "an action that was played": ("message", STEP, another_action),
    "an observation of the record": (
        "answer",
        rb'"observations":\[\[',
        next_digit(rb"observations"),
    ),
    "an observation that was told": ("message", rb"get_action", next_digit(rb"observation")),
}
BY_THE_DIGEST_ONLY = "an observation that was told"  # the server's record of it decides


@pytest.mark.slow
def test_what_was_kept_bears_the_verdicts_out(kept):
    """Is there nothing to say against them, without the notebook and without a policy server?"""
    assert evidence.problems_of(kept) == []


@pytest.mark.slow
def test_a_learner_with_bad_luck_costs_no_points(monkeypatch):
    """Is a fresh server tried where one has not learned enough, and does the evidence bear that out?"""
    learn, exams = Exam._require_learning, []

    def unlucky_at_first(exam, target, most_steps, deadline, fewest_steps):
        if exam not in exams:  # the examination's own, and the one that is held again
            exams.append(exam)
            exam.tried = 0
        exam.tried += 1
        most_steps = 300 if exam.tried == 1 else most_steps
        learn(exam, target, most_steps, deadline, fewest_steps)

    monkeypatch.setattr(Exam, "_require_learning", unlucky_at_first)
    kept = examined(reference_answers(LESSON), ["test_learning"])
    (verdict,) = kept["verdicts"]
    assert verdict["sentence"] is None and verdict["curve"][-1][1] >= LEARNED
    assert sorted(verdict["curve"]) == verdict["curve"], "the curve is of one server"
    servers = [address for kind, address, *_ in kept["tape"] if kind == "server"]
    assert len(servers) == 1 + exams[0].tried, "one for its episodes, others to learn"
    assert exams[0].tried >= 2  # the second one may have bad luck of its own
    assert evidence.problems_of({**kept, "digest": evidence.digest_of(kept)}) == []


@pytest.mark.slow
def test_first_weights_that_balance_the_pole_are_not_taken_for_learning(monkeypatch):
    """Does the examiner wait until there is something that can have been learned?"""
    monkeypatch.setattr(Exam, "judge", lambda exam, policy: 200.0)
    kept = examined(reference_answers(LESSON), ["test_learning"])
    (verdict,) = kept["verdicts"]
    assert verdict["sentence"] is None
    (first, _), (last, _) = verdict["curve"][0], verdict["curve"][-1]
    assert first < FEWEST_STEPS <= last


def test_a_wrong_answer_is_found_wrong_again():
    """Is it the same sentence?"""
    right = reference_answers(LESSON)
    answers = {**right, "run_one_episode": right["run_one_episode"].replace(*MISTAKE)}
    kept = examined(answers, ["test_elsewhere"])
    assert "reward" in kept["verdicts"][0]["sentence"]
    kept["digest"] = evidence.digest_of(kept)
    assert evidence.problems_of(kept) == []


@pytest.mark.parametrize("what", CHANGES)
def test_a_single_number_changed_is_found(kept, what):
    """Is it refused, also where somebody has written a new digest?"""
    other = changed(kept, *CHANGES[what])
    assert other["tape"] != kept["tape"]
    assert "digest" in evidence.problems_of(other)[0]
    other["digest"] = evidence.digest_of(other)
    problems = evidence.problems_of(other)
    assert bool(problems) == (what != BY_THE_DIGEST_ONLY)


def test_a_verdict_changed_is_found(kept):
    """Is a point that was taken, or given, found without the digest's help?"""
    other = copy.deepcopy(kept)
    other["verdicts"][1]["sentence"] = "every reward reaches the server: no"
    other["verdicts"].append({"question": "test_learning", "sentence": None})
    other["digest"] = evidence.digest_of(other)
    first, second = evidence.problems_of(other)
    assert first.startswith("test_numbers: kept is") and second.startswith(
        "test_learning: it counts"
    )


def test_a_tape_cut_off_is_found(kept):
    """Is it said where the examination cannot go on?"""
    other = {**kept, "tape": kept["tape"][: len(kept["tape"]) // 2]}
    other["digest"] = evidence.digest_of(other)
    assert "cannot be held to its end" in "\n".join(evidence.problems_of(other))


def test_another_version_is_named_where_something_is_wrong(kept):
    """Is a teacher who has a newer kit told so before suspecting anybody, and not where all is well?"""
    older = {**kept, "versions": evidence.versions() | {evidence.KIT: "0123456789ab"}}
    older["digest"] = evidence.digest_of(older)
    assert evidence.problems_of(older) == []
    older["verdicts"] = [*kept["verdicts"], {"question": "test_learning", "sentence": None}]
    older["digest"] = evidence.digest_of(older)
    assert "examined with kit 0123456789ab" in evidence.problems_of(older)[-1]
    same = {**older, "versions": evidence.versions()}
    same["digest"] = evidence.digest_of(same)
    assert not any("examined with" in problem for problem in evidence.problems_of(same))


def test_what_is_no_evidence_is_said(tmp_path):
    """Is a torn file a sentence?"""
    for content in (b"", b"\x1f\x8b", b"{}"):
        (tmp_path / "ada.evidence.gz").write_bytes(content)
        with pytest.raises(ValueError, match="is no evidence"):
            evidence.read(tmp_path / "ada.evidence.gz")
