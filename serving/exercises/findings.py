"""What a verdict says: sentences by topic, each of which says what was expected and what was seen."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from serving.evaluation import TookTooLong
from serving.own_line import own_line
from serving.protocol import PolicyServerError


@dataclass
class Findings:
    """Sentences by topic; a topic without a sentence is right.

    stopped
        a function that ran until its time was up: there is no use in calling it again
    """

    by_topic: dict[str, list[str]] = field(default_factory=dict)
    stopped: bool = False

    def add(self, topic: str, sentence: str) -> None:
        self.by_topic.setdefault(topic, []).append(sentence)

    def of(self, *topics: str) -> list[str]:
        """The sentences about these topics, or about all."""
        return [s for topic in topics or self.by_topic for s in self.by_topic.get(topic, [])]

    def __bool__(self) -> bool:
        return any(self.by_topic.values())


def report(
    findings: Findings,
    topics: dict[str, str],
    not_yet: str = "change your code above, run it, and check again",
    hint: str = "",
) -> bool:
    """Prints a line per topic, below it what to change, and at last how far it is, and a hint; True
    if all is right."""
    said = set()
    for topic, meaning in topics.items():
        sentences = findings.by_topic.get(topic, [])
        print(f"{'✗' if sentences else '✓'} {meaning}")
        for sentence in sentences:
            if sentence not in said:
                print(f"    {sentence}")
                said.add(sentence)
    if not findings:
        print("Well done!")
        return True
    right = sum(not findings.of(topic) for topic in topics)
    print(f"Not yet: {f'{right} of {len(topics)} are right; ' if right else ''}{not_yet}.")
    if hint:
        print(f"Hint: {hint}")
    return False


def explain(error: BaseException, function: str) -> str:
    """What a student's function raised, and in which of its lines if that can be known."""
    line = own_line(error)
    where = f", in {line}" if line else ""
    if isinstance(error, PolicyServerError):
        return f"the policy server refused: {error}{where}"
    if isinstance(error, TookTooLong):
        return str(error)
    return f"{function} raised {type(error).__name__}: {error}{where}"


def equal(expected, answer) -> bool:
    """Whether a function's answer is the number, or are the numbers, expected of it."""
    try:
        answer = np.array(answer, float)
    except (TypeError, ValueError):
        return False
    return answer.shape == np.shape(expected) and same(expected, answer)


def same(expected, seen) -> bool:
    expected, seen = np.ravel(expected), np.ravel(seen)
    return expected.shape == seen.shape and np.allclose(expected, seen, rtol=1e-5, atol=1e-6)


def shown(observation) -> str:
    numbers = [f"{number:.3g}" for number in np.ravel(observation)[:6]]
    return f"[{', '.join(numbers)}{', ...' if np.size(observation) > 6 else ''}]"
