"""The published loops that replay a log: every step of it, and how each episode ended."""

from __future__ import annotations

import re

import pytest

from serving import ROOT, PolicyClient
from serving.logs import EpisodeLog, LogWriter, read_log
from serving.notebook.experiment import replay

EPISODES = [
    [{"obs": [k, k + 0.5, -k], "action": k % 4, "reward": k / 2} for k in range(steps)]
    for steps in (1, 3, 700)
]
ENDINGS = ["terminated", "truncated", "truncated"]


@pytest.fixture
def a_log(tmp_path):
    """Episodes of both endings, as every writer of logs writes them."""
    path = tmp_path / "games.gz"
    with LogWriter(path) as log:
        for episode, ending in zip(EPISODES, ENDINGS):
            steps = [dict(step) for step in episode]
            if ending == "truncated":
                steps[-1]["truncated"] = True
            log.write(steps)
    return path


def by_readme(client: PolicyClient, path) -> None:
    """README's own lines, word by word."""
    readme = (ROOT / "README.md").read_text()
    (block,) = (
        b for b in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "read_log(" in b
    )
    exec(re.sub(r'read_log\(".*?"\)', f"read_log({str(path)!r})", block), {"client": client})


def by_lesson_04(client: PolicyClient, path) -> None:
    replay(client, read_log(path))


@pytest.mark.parametrize("loop", [by_readme, by_lesson_04])
def test_the_loop_says_how_each_episode_ended(served, a_log, loop):
    """Does the server hear every step, and of each episode whether it was only cut short?"""
    served.begin_anew()
    loop(PolicyClient(served.address), a_log)
    heard = served.book.latest_transcripts(10)
    assert [t.ending for t in heard] == ENDINGS
    for transcript, episode in zip(heard, EPISODES):
        assert transcript.observations == [s["obs"] for s in [*episode, episode[-1]]]
        assert transcript.actions == [s["action"] for s in episode]
        assert transcript.rewards == [s["reward"] for s in episode]
        assert set(transcript.sources) == {"log"}


def test_what_the_server_wrote_down_is_replayed_as_it_was(served, a_log, tmp_path):
    """Is a log that a server writes of a replay the log that was replayed?"""
    from serving.server.process import write_down

    served.begin_anew()
    written = EpisodeLog(tmp_path / "served")
    served.book.on_ended = lambda episode: write_down(episode, written)
    by_readme(PolicyClient(served.address), a_log)
    written.close()
    (again,) = (tmp_path / "served").iterdir()
    assert list(read_log(again)) == list(read_log(a_log))
