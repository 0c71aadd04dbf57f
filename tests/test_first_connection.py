"""The first line of a lesson: what it says about who answers, and about who should."""

from __future__ import annotations

import subprocess
import sys

import pytest
from served import ACTIONS, SIZE, Served

import serving
from serving.connection import GRADING
from serving.first_connection import command
from serving.protocol import PolicyServerError, ServerUnreachable

LESSONS = {"observation_size": SIZE, "action_size": ACTIONS, "run": "DQN"}


@pytest.fixture(autouse=True)
def anew(served):
    served.begin_anew()


def test_the_right_server_is_described(served, capsys):
    """Does a lesson hear which policy it has found, and no complaint?"""
    client = serving.connect(**LESSONS, checkpoint_file="policy", address=served.address)
    assert capsys.readouterr().out == (
        f"Policy server at {served.address}: DQN, {SIZE} numbers an observation, {ACTIONS} actions,"
        " checkpoint 'policy'; it has not learned anything yet, and its learner is starting: "
        "starting the learner process.\n"
    )
    assert client.status().observation_size == SIZE
    served.book.env_steps = 12_345
    serving.connect(address=served.address)
    assert "it has learned from 12,345 steps so far" in capsys.readouterr().out


@pytest.mark.parametrize(
    "other, said",
    [
        ({"observation_size": 8}, "3 numbers an observation instead of 8"),
        ({"action_size": 2}, "4 actions instead of 2"),
        ({"run": "PPO"}, "DQN instead of PPO"),
        ({"checkpoint_file": "runs/pong"}, "checkpoint 'policy' instead of 'pong'"),
    ],
)
def test_another_lessons_server_is_named(served, capsys, other, said):
    """Does a lesson hear in what the server differs, and the command that starts its own?"""
    client = serving.connect(**{**LESSONS, **other}, address=served.address)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(f"✗ It was started for something else: {said}. Stop it with Ctrl-C")
    wanted = {**LESSONS, **other}
    assert lines[3].startswith("    python serving/simple_policy_server.py ")
    assert f"--action-size={wanted['action_size']} " in lines[3]
    assert f"--observation-size={wanted['observation_size']} " in lines[3]
    assert client.start_episode()  # it is a client all the same


def test_nobody_answers(a_free_port, capsys):
    """Does it say the very command to type, and say it again when the client is used?"""
    address = f"http://localhost:{a_free_port}"
    client = serving.connect(**LESSONS, checkpoint_file="cartpole", address=address)
    typed = (
        f"python serving/simple_policy_server.py --action-size={ACTIONS} "
        f"--observation-size={SIZE} --run=DQN --checkpoint-file=cartpole --port={a_free_port}"
    )
    said = capsys.readouterr().out
    assert said.startswith("✗ no policy server answers") and said.rstrip().endswith(typed)
    with pytest.raises(ServerUnreachable, match=typed):
        client.start_episode()


def test_the_command_is_one_that_starts_a_server():
    """Does the server's parser take what we tell people to type?"""
    from serving.simple_policy_server import parse

    typed = command(
        action_size=3, observation_size=8, run="PPO", checkpoint_file="pong", batch_size=64, port=1
    )
    options = parse(typed.split()[2:])
    assert (options.action_size, options.observation_size, options.run) == (3, 8, "PPO")
    assert (options.checkpoint_file, options.batch_size, options.port) == ("pong", 64, 1)


def test_a_server_that_wants_a_token(capsys, a_free_port):
    """Is a refusal said, and no traceback?"""
    server = Served(a_free_port, token="secret").start()
    try:
        serving.connect(address=server.address)
        assert "✗" in (said := capsys.readouterr().out) and "token" in said
        serving.connect(address=server.address, token="secret")
        assert "✗" not in capsys.readouterr().out
    finally:
        server.stop()


def test_while_grading_it_finds_nobody(served, capsys, monkeypatch):
    """Does a graded notebook go on with a client that reaches nobody?"""
    monkeypatch.setenv(GRADING, str(served.port))
    serving.connect(**LESSONS, address=served.address)
    assert "graded or validated" in capsys.readouterr().out


def test_a_notebook_shows_an_error_in_two_lines():
    """Is a refused call one sentence and the student's own line, with none of ours?"""
    done = subprocess.run(
        [sys.executable, "-c",
         "from IPython.core.interactiveshell import InteractiveShell\n"
         "shell = InteractiveShell.instance()\n"
         "shell.run_cell('import serving\\nclient = serving.PolicyClient(\"localhost:1\")\\n"
         "def play():\\n    client.start_episode()\\nplay()')"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    said = done.stdout.strip().splitlines()
    assert len(said) == 2, done.stdout + done.stderr
    assert said[0].startswith("ServerUnreachable: no policy server answers at http://localhost:1")
    assert said[1] == "    in play(), line 4: client.start_episode()"


def test_errors_of_the_client_are_its_own():
    """Can an error without a traceback be shown, too?"""
    assert PolicyServerError("said")._render_traceback_() == ["PolicyServerError: said"]
