"""A policy server from a cell, in a real kernel: it starts, shows itself, stays out of the way of
others, and ends with the kernel."""

from __future__ import annotations

import socket
import time

import pytest
from kernels import Kernel, a_kernel

from serving import PolicyClient, checkpoints
from serving.protocol import ServerUnreachable

START = "from serving.notebook import start_policy_server\nserver = start_policy_server"


def start(port: int, *more: str, size: int = 4) -> str:
    options = [f"observation_size={size}", "action_size=2", f"port={port}", *more]
    return f"{START}({', '.join(options)})"


@pytest.fixture(scope="module")
def kernel():
    with a_kernel() as kernel:
        yield kernel


@pytest.fixture
def policy_server_of(kernel):
    """Whatever server a cell has started is stopped."""
    yield kernel
    kernel.run("server.stop()")


def is_taken(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def wait_until_free(port: int, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while is_taken(port):
        assert time.monotonic() < until, f"something still listens at {port}"
        time.sleep(0.1)


def status(port: int):
    return PolicyClient(f"http://localhost:{port}", quiet=True).status()


def test_it_shows_what_a_terminal_shows(policy_server_of: Kernel, a_free_port):
    """Do its lines come below the cell, while no cell runs, in one output of bounded length?"""
    kernel = policy_server_of
    said = kernel.run(start(a_free_port, "no_learner=True"))
    assert f"policy server listens at http://localhost:{a_free_port}" in said
    assert f"[runs at http://localhost:{a_free_port} · server.stop() saves and stops it]" in said
    client = PolicyClient(f"http://localhost:{a_free_port}", quiet=True)
    for number in range(1, 4):
        episode = client.start_episode()
        for _ in range(5):
            client.get_action(episode, [0.0] * 4)
        client.end_episode(episode, [0.0] * 4)
        kernel.watch(rf"episodes +{number} ")
    assert len(kernel.shown) == 1 and kernel.updates >= 3
    for number in range(20):
        kernel.run(f"server.say('line {number}')")
    kernel.run("server.show()")
    text = kernel.watch("line 19")
    assert "line 5\n" not in text
    # What stood below the first cell may have been renewed for a last time just now.
    assert all(len(one.splitlines()) <= 13 for one in kernel.shown.values())


def test_it_saves_and_stops(kernel, a_free_port, tmp_path):
    """Does stop() end it in order, with a checkpoint that the next start goes on from?"""
    file = tmp_path / "policy"
    cell = start(a_free_port, f"checkpoint_file={str(file)!r}")
    kernel.run(cell)
    client = PolicyClient(f"http://localhost:{a_free_port}", quiet=True)
    episode = client.start_episode()
    for _ in range(30):
        client.get_action(episode, [0.1] * 4)
    client.end_episode(episode, [0.0] * 4)
    assert kernel.value("server.stop()") == "0"  # the exit code
    assert checkpoints.newest(file) and not is_taken(a_free_port)
    kernel.run(f"{cell[:-1]}, no_learner=True)")
    kernel.watch(f"goes on from {file}")  # it listens before it says so
    assert status(a_free_port).env_steps == 30
    kernel.run("server.stop()")


def test_the_same_cell_twice_is_one_server(policy_server_of: Kernel, a_free_port):
    """Does running it again keep the server, and another line in its place another one?"""
    kernel = policy_server_of
    kernel.run(start(a_free_port, "no_learner=True"))
    first = kernel.value("server.process.pid")
    assert "It runs already." in kernel.run(start(a_free_port, "no_learner=True"))
    assert kernel.value("server.process.pid") == first
    kernel.run(start(a_free_port, "no_learner=True", size=3))
    assert status(a_free_port).observation_size == 3


def test_the_stop_button_does_not_reach_it(policy_server_of: Kernel, a_free_port):
    """Does ■ interrupt the cell that runs, and not the server?"""
    kernel = policy_server_of
    kernel.run(start(a_free_port, "no_learner=True"))
    assert "KeyboardInterrupt" in kernel.run("import time; time.sleep(50)", interrupt_after=0.5)
    time.sleep(0.5)
    assert status(a_free_port).state == "idle"
    assert kernel.value("server.is_running") == "True"


def test_it_ends_with_the_kernel_and_starts_in_the_next(a_free_port):
    """Is a restarted kernel's server a new one, also while the one before still ends, and is nothing
    left when the kernel is gone?"""
    with a_kernel() as kernel:
        kernel.run(start(a_free_port, "no_learner=True"))
        first = kernel.value("server.process.pid")
        kernel.restart()
        assert f"listens at http://localhost:{a_free_port}" in kernel.run(
            start(a_free_port, "no_learner=True")
        )
        assert kernel.value("server.process.pid") != first
    wait_until_free(a_free_port)


def test_it_outlives_the_kernel_if_told_so(a_free_port):
    """Does it go on then, and can the next kernel look at it and stop it?"""
    with a_kernel() as kernel:
        kernel.run(start(a_free_port, "no_learner=True", "outlive_kernel=True"))
        kernel.restart()
        said = kernel.run(start(a_free_port))
        assert "no other one is started" in said
        assert kernel.value("server.status().observation_size") == "4"
        assert "stopped" in kernel.run("server.stop(); server.show()")
    wait_until_free(a_free_port)


def test_another_lessons_server_is_said_and_stopped_if_told_so(
    policy_server_of: Kernel, policy_servers, a_free_port
):
    """Is it left alone at first, described, with an offer; and stopped in order when told so?"""
    kernel = policy_server_of
    other = policy_servers(8, 3, learner=False, port=a_free_port)
    said = kernel.run(start(a_free_port, "no_learner=True"))
    assert "8 numbers an observation instead of 4, 3 actions instead of 2" in said
    assert "stop_other=True" in said and "Button" in said
    assert other.process.poll() is None and status(a_free_port).observation_size == 8
    said = kernel.run(start(a_free_port, "no_learner=True", "stop_other=True"))
    assert other.process.wait(10) == 0
    assert status(a_free_port).observation_size == 4 and "listens at" in said


def test_the_offer_can_be_clicked(policy_server_of: Kernel, policy_servers, a_free_port):
    """Does the button do what it says?"""
    kernel = policy_server_of
    other = policy_servers(8, 3, learner=False, port=a_free_port)
    kernel.run(start(a_free_port, "no_learner=True"))
    kernel.run(
        "import ipywidgets\n"
        "widgets = ipywidgets.Widget.widgets.values()\n"
        "[w for w in widgets if isinstance(w, ipywidgets.Button)][-1].click()"
    )
    assert other.process.wait(10) == 0
    assert status(a_free_port).observation_size == 4
    assert kernel.value("server.is_running") == "True"


def test_what_is_no_policy_server_is_left_alone(kernel, a_free_port):
    """Is another program at the port named, and neither stopped nor offered to be?"""
    with socket.create_server(("127.0.0.1", a_free_port)):
        said = kernel.run(start(a_free_port, "stop_other=True"))
        assert f"✗ Port {a_free_port} is held by" in said and "process" in said
        assert f"port={a_free_port + 1}" in said and "Button" not in said
        assert is_taken(a_free_port)
    with pytest.raises(ServerUnreachable):
        status(a_free_port)


def test_options_are_the_commands(kernel, a_free_port):
    """Is what the command refuses one sentence, the command's own?"""
    for wrong, said in {
        "no_lerner=True": "unrecognized arguments: --no-lerner",
        "run='A3C'": "argument --run: invalid choice: 'A3C'",
        "run='PPO', slack=3": "--slack is a setting of --run=DQN: --run=PPO has none",
    }.items():
        shown = kernel.run(start(a_free_port, wrong))
        assert "ValueError" in shown and said in shown
    kernel.run(start(a_free_port, "no_learner=True", "hidden=(8, 4)", "quiet=True"))
    assert len(PolicyClient(f"http://localhost:{a_free_port}").policy().layers) == 3
    kernel.run("server.stop()")


def test_nothing_is_started_while_grading(kernel, a_free_port):
    """Does a notebook that is graded or validated start no server?"""
    kernel.run("import os; os.environ['NO_POLICY_SERVER_AT_PORT'] = '8900'")
    said = kernel.run(start(a_free_port) + "\nserver.show()")
    kernel.run("del os.environ['NO_POLICY_SERVER_AT_PORT']")
    assert "graded or validated" in said and not is_taken(a_free_port)
