"""do_rollouts: games against the live policy, alone and on Ray, and what becomes of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from serving import PolicyClient, do_rollouts
from serving.exercises.played_episodes import known_to
from serving.logs import check_log, read_log
from serving.protocol import Transcript
from serving.running_server import RunningServer

SCRIPT = Path(do_rollouts.__file__)
SUMMARY = re.compile(
    r"([\d,]+) games, ([\d,]+) steps in \d+ s \(([\d,]+) steps/s\); "
    r"won (\d+%|none) of ([\d,]+) points"
)


@pytest.fixture(scope="module")
def a_policy_server():
    with RunningServer(8, 3) as server:
        yield server


@pytest.fixture
def a_settled_server(a_policy_server):
    """Its policy does not change meanwhile: it has learned from what other tests have left."""
    a_policy_server.wait_until(lambda status: status.state == "idle", 120, "learning to end")
    return a_policy_server


@pytest.fixture
def a_learning_server(policy_servers):
    server = policy_servers(8, 3)
    server.wait_until(lambda status: status.state == "idle", 120, "the learner")
    return server


def start(server: RunningServer, *options: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), f"--policy-server={server.address}", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_a_game(server: RunningServer) -> None:
    """Until one has been played to its end, which on a busy machine takes its time."""
    client, deadline = server.client(), time.monotonic() + 120
    while not any(episode.ending for episode in client.episodes(last=50).episodes):
        assert time.monotonic() < deadline, "waited 120 s for a game to end"
        time.sleep(0.1)
    time.sleep(1)  # it is counted and written down after it has ended


def since(known: set[str], client: PolicyClient) -> list[Transcript]:
    """The episodes that are not `known`; others may have left some open."""
    seen = client.episodes(last=50).episodes
    return [transcript for transcript in seen if transcript.episode_id not in known]


def finish(process: subprocess.Popen, seconds: float = 120.0) -> tuple[int, str, str]:
    try:
        out, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, out, said


def run(server: RunningServer, *options: str) -> str:
    code, out, said = finish(start(server, *options))
    assert code == 0, said
    return out


def summary(out: str) -> dict[str, int]:
    found = SUMMARY.search(out)
    assert found, out
    games, steps, rate, _, points = (number.replace(",", "") for number in found.groups())
    return {"games": int(games), "steps": int(steps), "rate": int(rate), "points": int(points)}


def test_it_evaluates_without_teaching(a_policy_server):
    before = a_policy_server.client().status()
    result = summary(run(a_policy_server, "--games=3", "--no-train", "--quiet"))
    after = a_policy_server.client().status()
    assert result["games"] == 3 and result["points"] >= 15
    assert after.evaluation_steps - before.evaluation_steps == result["steps"]
    assert after.env_steps == before.env_steps


def test_the_policy_learns_from_it(a_learning_server):
    result = summary(run(a_learning_server, "--steps=1500", "--quiet"))
    assert result["steps"] >= 1500
    status = a_learning_server.wait_until(
        lambda status: status.updates > 0 and status.steps_waiting == 0, 60, "learning"
    )
    assert status.env_steps == result["steps"] and status.logged_steps == 0
    assert status.episodes == result["games"] and status.policy_version > 1
    transcript = a_learning_server.client().episodes(last=1).episodes[0]
    assert set(transcript.sources) == {"policy"} and transcript.ending == "terminated"


def test_off_policy_logs_random_actions(a_policy_server):
    client = a_policy_server.client()
    before, known = client.status(), known_to(client)
    result = summary(run(a_policy_server, "--games=2", "--off-policy", "--quiet"))
    after = client.status()
    assert after.logged_steps - before.logged_steps == result["steps"]
    transcript = since(known, client)[-1]
    assert set(transcript.sources) == {"log"} and set(transcript.actions) == {0, 1, 2}


def test_games_are_written_as_they_were_played(a_policy_server, tmp_path):
    """Does the log say the same as the server's own record?"""
    log, client = tmp_path / "games.gz", a_policy_server.client()
    known = known_to(client)
    out = run(a_policy_server, "--games=3", "--no-train", f"--out={log}", "--quiet")
    assert f"wrote 3 games to {log}" in out
    assert check_log(log, 8, 3).steps == summary(out)["steps"]
    for episode, transcript in zip(read_log(log), since(known, client), strict=True):
        assert [step["action"] for step in episode] == transcript.actions
        assert [step["reward"] for step in episode] == pytest.approx(transcript.rewards)
        for step, observation in zip(episode, transcript.observations):  # the last has no action
            assert step["obs"] == pytest.approx(observation, abs=1e-6)


def test_a_seed_repeats_the_games(a_settled_server, tmp_path):
    logs = [tmp_path / name for name in ("a.gz", "b.gz", "c.gz")]
    for log, seed in zip(logs, (7, 7, 8)):
        run(
            a_settled_server, "--games=2", "--no-train", f"--seed={seed}", f"--out={log}", "--quiet"
        )
    a, b, c = (log.read_bytes() for log in logs)
    assert a == b != c


def test_the_bar_shows_games_speed_share_and_time_left(a_policy_server):
    code, _, said = finish(start(a_policy_server, "--games=4", "--no-train"))
    assert code == 0
    last = said.strip().split("\r")[-1]
    assert re.search(
        r"100%\|█+\| 4 games, [\d,]+ steps/s, won \d+% of the last \d+ points, 00:00 left", last
    )


@pytest.mark.parametrize("until_", ["--steps=150", "--games=2"])
def test_the_bar_ends_full(policy_servers, until_):
    """Also where the last game has gone beyond the steps that were asked for?"""
    server = policy_servers(8, 3, learner=False)
    code, _, err = finish(start(server, "--no-train", until_))
    assert code == 0
    last = re.split(r"[\r\n]+", err.strip())[-1]
    assert last.startswith("100%|████████████████████|"), last


def test_ctrl_c_ends_it_cleanly(policy_servers, tmp_path):
    """Is what was played kept, and no episode left open?"""
    log, server = tmp_path / "games.gz", policy_servers(8, 3)
    process = start(server, f"--out={log}", "--no-train")
    wait_for_a_game(server)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    code, out, said = finish(process)
    assert code == 0 and time.monotonic() - started < 20
    assert "Traceback" not in said
    assert check_log(log).episodes == summary(out)["games"] > 0
    assert server.client().status().open_episodes == 0


@pytest.mark.slow
def test_two_workers_play_on_ray(a_settled_server, tmp_path, ray_cluster):
    log = tmp_path / "games.gz"
    options = ("--games=6", "--no-train", "--num-workers=2", "--seed=3", "--quiet")
    result = summary(run(a_settled_server, *options, f"--out={log}"))
    assert result["games"] == check_log(log, 8, 3).episodes == 6
    # The same games that one player alone plays, in whichever order they ended.
    alone = tmp_path / "alone.gz"
    run(a_settled_server, "--games=6", "--no-train", "--seed=3", "--quiet", f"--out={alone}")
    assert sorted(map(str, read_log(log))) == sorted(map(str, read_log(alone)))


@pytest.mark.slow
def test_two_workers_play_at_the_same_time(a_policy_server, ray_cluster):
    """How much faster that is, the bench says."""
    client = a_policy_server.client()
    before = client.status().open_episodes
    process = start(a_policy_server, "--games=40", "--no-train", "--num-workers=2", "--quiet")
    until(lambda: client.status().open_episodes == before + 2, 90, "two games under way")
    assert finish(process)[0] == 0


def workers_at(server: RunningServer) -> list[psutil.Process]:
    """Ray's processes that play there: they are Ray's children, not ours, but they have a
    connection to the policy server."""
    port = int(server.address.rsplit(":", 1)[1])
    found = []
    for candidate in psutil.process_iter():
        try:
            if candidate.name().startswith("ray::") and any(
                connection.raddr and connection.raddr.port == port
                for connection in candidate.net_connections("tcp")
            ):
                found.append(candidate)
        except psutil.Error:
            continue
    return found


def until(condition, seconds: float, what: str):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)
    return found


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_no_game_is_lost(a_settled_server, tmp_path, ray_cluster):
    log = tmp_path / "games.gz"
    options = ("--games=20", "--no-train", "--num-workers=2", "--seed=5", "--quiet")
    until(lambda: not workers_at(a_settled_server), 30, "the end of earlier workers")
    process = start(a_settled_server, *options, f"--out={log}")
    victim = until(lambda: workers_at(a_settled_server), 90, "a worker that plays")[0]
    victim.kill()
    code, out, said = finish(process)
    assert code == 0, said
    assert summary(out)["games"] == check_log(log, 8, 3).episodes == 20
    assert len(set(map(str, read_log(log)))) == 20  # each game once
    alone = tmp_path / "alone.gz"
    run(a_settled_server, "--games=20", "--no-train", "--seed=5", "--quiet", f"--out={alone}")
    assert sorted(map(str, read_log(log))) == sorted(map(str, read_log(alone)))


@pytest.mark.slow
def test_ctrl_c_ends_workers_cleanly(a_policy_server, ray_cluster):
    # The episodes of workers that were killed stay open until the server closes them.
    before = a_policy_server.client().status().open_episodes
    until(lambda: not workers_at(a_policy_server), 30, "the end of earlier workers")
    process = start(a_policy_server, "--no-train", "--num-workers=2")
    players = until(lambda: len(found := workers_at(a_policy_server)) == 2 and found, 90,
                    "two workers")  # fmt: skip
    process.send_signal(signal.SIGINT)
    code, out, said = finish(process, 30)
    assert code == 0 and "Traceback" not in said
    assert SUMMARY.search(out)
    until(lambda: not any(player.is_running() for player in players), 20, "the workers' end")
    assert a_policy_server.client().status().open_episodes == before


@pytest.mark.parametrize(
    "options, said",
    [
        (["--games=0"], "expected a whole number from 1 on"),
        (["--level=brutal"], "invalid choice"),
        (["--seed=-1"], "--seed=-1: expected"),
        (["--policy-server=http://localhost:1"], "no policy server answers at http://localhost:1"),
        (["--policy-server=ftp://x"], "expected something like"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(options, said):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options], capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert said in done.stderr and "Traceback" not in done.stderr


def test_a_policy_server_of_other_sizes_and_an_unwritable_file_are_named(
    policy_servers, a_policy_server
):
    code, _, said = finish(start(policy_servers(4, 2), "--games=1"))
    assert code == 1 and "Pong needs 8 and 3" in said and said.count("\n") == 1
    code, _, said = finish(start(a_policy_server, "--games=1", "--out=/nonexistent/x.gz"))
    assert code == 1 and "cannot be written" in said


def test_a_policy_server_that_goes_away_is_named(policy_servers, tmp_path):
    server = policy_servers(8, 3, folder=tmp_path)
    log = tmp_path / "games.gz"
    process = start(server, "--no-train", f"--out={log}")
    wait_for_a_game(server)
    server.kill()
    code, _, said = finish(process)
    assert code == 1
    # It depends on what the client was just doing.
    assert re.search(r"do_rollouts: (no policy server answers|the policy server .* closed)", said)
    assert "Traceback" not in said
    assert check_log(log).episodes > 0  # what was played is kept


def test_it_needs_no_ray_unless_there_are_workers(a_policy_server):
    code = (
        "import sys; sys.argv[0] = 'do_rollouts'; from serving.do_rollouts import main; "
        f"main(['--policy-server={a_policy_server.address}', '--games=1', '--no-train', '--quiet']);"
        "sys.exit('ray' in sys.modules or 'torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
    done = subprocess.run([sys.executable, "-c", code], timeout=60, env=environment)
    assert done.returncode == 0
