"""What is kept of a graded submission, and what it is worth without the submission.

One compressed file: when and with which seed and versions it was examined, the verdicts, what else was
to be said, and the tape of the examination. `problems_of` holds the examination again from the tape.
"""

from __future__ import annotations

import gzip
import hashlib
from importlib import metadata
from pathlib import Path

import msgspec

import serving
from serving.examiner.lessons import examination_of
from serving.examiner.tape import Player

VERSIONS = ("gymnasium", "msgspec", "nbgrader", "numpy", "ray", "torch")
KIT = "kit"
SUFFIX = ".evidence.gz"
LEVEL = 6  # more takes seconds, and saves little: most of it are policies


def write(path: Path, evidence: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {**evidence, "digest": digest_of(evidence)}
    path.write_bytes(gzip.compress(msgspec.msgpack.encode(whole), LEVEL))


def read(path: Path) -> dict:
    """Raises OSError if there is none, ValueError if it is none."""
    try:
        found = msgspec.msgpack.decode(gzip.decompress(path.read_bytes()))
    except (EOFError, gzip.BadGzipFile, msgspec.MsgspecError) as error:
        raise ValueError(f"{path} is no evidence ({type(error).__name__})") from None
    if not isinstance(found, dict) or "verdicts" not in found:
        raise ValueError(f"{path} is no evidence")
    return found


def digest_of(evidence: dict) -> str:
    """Of all but the digest itself."""
    rest = {name: value for name, value in evidence.items() if name != "digest"}
    return hashlib.sha256(msgspec.msgpack.encode(rest)).hexdigest()


def problems_of(evidence: dict) -> list[str]:
    """What speaks against the verdicts that were kept, in sentences; none if they follow from the tape.

    The digest finds any change, by accident or by somebody who does not know of it. The tape finds
    what a new digest cannot hide: the environments are played again, so each observation has to
    follow from the one before; the records are compared and the policies judged again.
    """
    problems = []
    if evidence.get("digest") != digest_of(evidence):
        problems.append("the digest does not fit: something in the file has been changed")
    if not evidence.get("tape"):
        return [*problems, "there is no tape to hold the examination again from"]
    kept = {verdict["question"]: verdict for verdict in evidence["verdicts"]}
    again = set()
    player = Player(evidence["seed"], evidence["tape"])
    for verdict, wrong in player.verdicts(examination_of(evidence["lesson"]), evidence["seed"]):
        if verdict is None:
            problems.append(f"the examination cannot be held to its end: {wrong}")
            break
        again.add(verdict.question)
        problems += [f"{verdict.question}: {wrong}"] if wrong else []
        problems += differences(kept.get(verdict.question), msgspec.to_builtins(verdict))
    for question, verdict in kept.items():
        if verdict["sentence"] is None and question not in again:
            problems.append(f"{question}: it counts as passed, and was not asked")
    if problems and (other := other_versions(evidence.get("versions", {}))):
        problems.append(
            f"this may be because it was examined with {other}: with these it can be held again, or "
            "grade the submission once more (--regrade)"
        )
    return problems


def differences(kept: dict | None, again: dict) -> list[str]:
    """Between a verdict that was kept and the one that follows from the tape."""
    question = again["question"]
    if kept is None:
        return [f"{question}: it was asked, and there is no verdict on it"]
    said, follows = kept["sentence"], again["sentence"]
    if (said is None) != (follows is None) or not (said or "").startswith(follows or ""):
        return [
            f"{question}: kept is {said or 'passed'!r}, and what follows is {follows or 'passed'!r}"
        ]
    return [
        f"{question}: the {what} that was kept is not the one that follows"
        for what in ("curve", "policy")
        if kept.get(what) != again[what]
    ]


def versions() -> dict[str, str]:
    """Of what an examination depends on. Of the kit it is a digest of what it is made of: a question
    that is asked otherwise than before is another one, whatever number is on the box."""
    folder = Path(serving.__file__).parent
    kit = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        kit.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return {**{name: metadata.version(name) for name in VERSIONS}, KIT: kit.hexdigest()[:12]}


def other_versions(kept: dict[str, str]) -> str:
    now = versions()
    return " and ".join(f"{name} {was}" for name, was in kept.items() if was != now.get(name))
