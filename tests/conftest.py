"""Policy servers on free ports, a Ray for what fans out, and a last look around: what tests of all files share."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from leftovers import MARK, RAY_TEMP, end, free_port, leftovers, marked_processes
from uvicorn.config import LOGGING_CONFIG

from serving.learner_start import FORK_SERVER, learners_are_forked
from serving.ray_cluster import OBJECT_STORE, show_token
from serving.running_server import RunningServer

os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # what starts a Ray by accident fails instead
SECONDS_TO_VANISH = 30.0  # a learner whose server was killed saves before it goes


def pytest_configure() -> None:
    # Started in the background, a shell lets us ignore Ctrl-C, and all that we start with us.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A server in this process would close the handlers that there are, and absl's, which RLlib
    # brings, closes with itself the file in which pytest keeps what is printed.
    LOGGING_CONFIG.clear()
    LOGGING_CONFIG.update(version=1, incremental=True)


# -- what is left behind ---------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """The session's mark and its folder for temporary files; fails the run if at its end there is
    a process, a listening port or a temporary folder of ours."""
    mark, folder = f"{os.getpid()}-{time.time_ns()}", tmp_path_factory.mktemp("temporary")
    before = {name: os.environ.get(name) for name in (MARK, "TMPDIR", RAY_TEMP, "RAY_ADDRESS")}
    # Ray looks for a running one in its own temporary folder, which has to stay where it was.
    os.environ.setdefault(RAY_TEMP, tempfile.gettempdir())
    os.environ[MARK], os.environ["TMPDIR"] = mark, str(folder)
    os.environ["RAY_ADDRESS"] = "local"  # a Ray that happens to run here is somebody else's
    tempfile.tempdir = None  # read TMPDIR again
    try:
        yield mark, folder
        deadline = time.monotonic() + SECONDS_TO_VANISH
        while (found := leftovers(mark, folder)) and time.monotonic() < deadline:
            time.sleep(0.2)
        end(marked_processes(mark))
        assert not found, "the tests have left behind:\n" + "\n".join(found)
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        tempfile.tempdir = None


# -- Ray -------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def ray_cluster(nothing_left_behind) -> Iterator[str]:
    """The address of a small Ray of this test process's own, which nobody else ends or stumbles
    over; whatever fans out in these tests finds this one, and no other."""
    ray = _StartedRay()
    before = {name: os.environ.get(name) for name in ("RAY_ADDRESS", "RAY_AUTH_MODE")}
    os.environ["RAY_ADDRESS"] = ray.address
    show_token()
    try:
        yield ray.address
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        ray.stop()


@pytest.fixture(scope="session")
def rllib() -> None:
    """RLlib in this process as in the learner's, for tests that build its algorithms here."""
    import torch

    torch.set_num_threads(1)  # on a busy machine two would wait for each other


class _StartedRay:
    ATTEMPTS = 3  # on a busy machine one may fail: the raylet waits 15 s for its agents, no longer

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets need a short path
        self.address = ""
        for _ in range(self.ATTEMPTS):
            said = self._start()
            if self.address:
                return
            self.stop()
        raise RuntimeError(f"Ray did not start; it said: {said}")

    def _start(self) -> str:
        self.folder.mkdir(exist_ok=True)
        command = [
            str(Path(sys.executable).with_name("ray")),
            "start",
            "--head",
            "--port=0",
            "--include-dashboard=false",
            "--include-log-monitor=false",
            "--disable-usage-stats",
            f"--object-store-memory={OBJECT_STORE}",
            f"--temp-dir={self.folder}",
            f"--ray-client-server-port={free_port()}",
        ]
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            env={**environment, MARK: str(self.folder)},
        )
        if done.returncode == 0:
            self.address = (self.folder / "ray_current_cluster").read_text().strip()
        return done.stdout

    def stop(self) -> None:
        found = marked_processes(str(self.folder))
        for process in list(found):  # Ray's agents write their name over the mark
            with contextlib.suppress(psutil.Error):
                found += process.children(recursive=True)
        end(list(set(found)))
        shutil.rmtree(self.folder, ignore_errors=True)


# -- policy servers --------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def forked_learners(nothing_left_behind) -> Iterator[None]:
    """Learners of these tests' policy servers are forked from a process that has imported RLlib, as
    those are that grade a class: two seconds of a processor less each."""
    with learners_are_forked():
        yield


@pytest.fixture
def learners_of_their_own(monkeypatch) -> None:
    """Each learner is a Python of its own, as a student's is: for tests of how it starts and ends."""
    monkeypatch.delenv(FORK_SERVER, raising=False)


@pytest.fixture
def a_free_port() -> int:
    return free_port()


@pytest.fixture
def policy_servers(nothing_left_behind) -> Iterator[Callable[..., RunningServer]]:
    """Makes policy servers with the arguments of `RunningServer`, and stops them all at the end."""
    servers = []

    def make(observation_size: int = 4, action_size: int = 2, **options) -> RunningServer:
        server = RunningServer(observation_size, action_size, **options)
        servers.append(server)
        return server.start()

    try:
        yield make
    finally:
        for server in servers:
            server.stop()
            print("\n".join(server.lines))  # pytest shows it if the test failed


@pytest.fixture
def a_policy_server(policy_servers) -> RunningServer:
    """A fresh policy server of CartPole's sizes; it may be stopped and killed."""
    return policy_servers()


@pytest.fixture(scope="module")
def served():
    """The HTTP interface in this process, for the tests of a file: a `served.Served`."""
    from served import Served

    server = Served(free_port()).start()
    try:
        yield server
    finally:
        server.stop()


# -- Jupyter -----------------------------------------------------------------------------------------


@pytest.fixture
def a_jupyter_server(a_free_port, tmp_path):
    """A real Jupyter server with nothing but jupyter-server-proxy; yields its address."""
    command = [sys.executable, "-m", "jupyter", "server", "--no-browser", "--allow-root"]
    options = [f"--ServerApp.port={a_free_port}", "--ServerApp.port_retries=0"]
    options += ["--IdentityProvider.token=", "--ServerApp.base_url=/user/ada/"]
    options += ["--ServerApp.allow_remote_access=True"]  # under any name, as behind a hub
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    with open(tmp_path / "jupyter.log", "w") as log:
        server = subprocess.Popen(
            [*command, *options],
            cwd=tmp_path,
            env={**os.environ, **{name: str(tmp_path / name) for name in folders}},
            stdout=log,
            stderr=log,
        )
    try:
        address = f"http://localhost:{a_free_port}/user/ada"
        deadline = time.monotonic() + 180
        while not is_up(f"{address}/api"):
            assert time.monotonic() < deadline, (tmp_path / "jupyter.log").read_text()
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait(20)


def is_up(address: str) -> bool:
    try:
        return httpx.get(address).status_code == 200
    except httpx.HTTPError:
        return False


# -- browsers --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def a_browser():
    from browsers import chromium  # Playwright is for those alone who ask for it

    with chromium() as browser:
        yield browser
