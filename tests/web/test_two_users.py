"""Two users of one machine, real accounts: neither gets at the other's servers."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from serving import ROOT
from serving.web import peers

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]

ALICE, BOB = (pwd.getpwnam(name) for name in ("daemon", "bin"))  # every Debian has them

# Everything is imported before the account changes: the interpreter may be in root's home.
SERVE = """
import encodings.idna, os, sys, uvicorn.lifespan.off, uvicorn.lifespan.on, uvicorn.loops.auto
sys.path.insert(0, {root!r})
from serving.{command} import main
os.setgid({gid}); os.setuid({uid})
sys.exit(main({arguments!r}))
"""


class Theirs:
    """A server that runs as somebody; `address` is where it listens."""

    def __init__(self, user: pwd.struct_passwd, command: str, folder, *arguments: str):
        code = SERVE.format(
            root=str(ROOT), command=command, gid=user.pw_gid, uid=user.pw_uid,
            arguments=["--port=0", *arguments],
        )  # fmt: skip
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, cwd=folder, env={**os.environ, "TMPDIR": str(folder), "HOME": str(folder)},
        )  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()
        deadline = time.monotonic() + 60
        while not any("http://" in line for line in self.lines):
            assert time.monotonic() < deadline and self.process.poll() is None, self.lines
            time.sleep(0.05)
        self.address = self.lines[0].split()[-1].rstrip("/")

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()


def curl(user: pwd.struct_passwd | None, *arguments: str) -> tuple[int, str]:
    """Status and body of a request that a user makes."""
    done = subprocess.run(
        ["curl", "--silent", "--max-time", "20", "--write-out", "\n%{http_code}", *arguments],
        capture_output=True, text=True, cwd="/",
        user=user and user.pw_uid, group=user and user.pw_gid,
    )  # fmt: skip
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


@pytest.fixture(scope="module")
def a_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    for one in (folder, *folder.parents[:3]):
        one.chmod(one.stat().st_mode | 0o055)
    folder.chmod(0o1777)
    return folder


@pytest.fixture(scope="module")
def alices_policy_server(a_folder) -> Iterator[Theirs]:
    server = Theirs(ALICE, "simple_policy_server", a_folder, "--observation-size=8",
                    "--action-size=3", "--no-learner", "--quiet")  # fmt: skip
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def bobs_web_server(a_folder, alices_policy_server) -> Iterator[Theirs]:
    """Bob's Pong web server, pointed at Alice's policy server."""
    server = Theirs(
        BOB, "pong_web_server", a_folder, f"--policy-server={alices_policy_server.address}"
    )
    try:
        yield server
    finally:
        server.stop()


def test_its_own_user_and_root_may_use_a_server(alices_policy_server, bobs_web_server):
    """Does curl work as before for whoever started the server?"""
    for user in (ALICE, None):
        assert curl(user, f"{alices_policy_server.address}/status")[0] == 200
        assert curl(user, "-d", "{}", f"{alices_policy_server.address}/start_episode")[0] == 200
    for user in (BOB, None):
        assert curl(user, f"{bobs_web_server.address}/live")[0] == 200


@pytest.mark.parametrize("path", ["status", "episodes", "policy", "openapi.json", "", "nothing"])
def test_nobody_else_may_read_it(alices_policy_server, path):
    """Is every request of another account refused, with a sentence that names both?"""
    status, body = curl(BOB, f"{alices_policy_server.address}/{path}")
    assert status == 403
    assert "is daemon's, and you are bin" in body


def test_nobody_else_may_act(alices_policy_server, bobs_web_server):
    """Is nothing recorded of what another account posts, itself or through a relay of its own?"""
    before = curl(ALICE, f"{alices_policy_server.address}/status")[1]
    before = before.split('"open_episodes":')[1].split(",")[0]
    call = f"{alices_policy_server.address}/start_episode"
    assert curl(BOB, "-d", "{}", call)[0] == 403
    assert curl(BOB, "-d", "{}", "-H", "Authorization: Bearer guess", call)[0] == 403
    status, body = curl(BOB, "-d", "{}", f"{bobs_web_server.address}/start_episode")
    assert status == 403 and "is daemon's" in body
    after = curl(ALICE, f"{alices_policy_server.address}/status")[1]
    assert after.split('"open_episodes":')[1].split(",")[0] == before


def test_nobody_else_may_use_the_page(bobs_web_server):
    """Is the Pong page's server its user's own, too?"""
    for path in ("", "live", "main.js"):
        assert curl(ALICE, f"{bobs_web_server.address}/{path}")[0] == 403
    assert curl(ALICE, "-d", "{}", f"{bobs_web_server.address}/start_episode")[0] == 403


def test_nobody_else_may_stop_it(alices_policy_server):
    """Can another account neither signal the process nor take its port?"""
    done = subprocess.run(
        ["kill", "-INT", str(alices_policy_server.process.pid)],
        capture_output=True, user=BOB.pw_uid, group=BOB.pw_gid, cwd="/",
    )  # fmt: skip
    assert done.returncode != 0
    assert curl(ALICE, f"{alices_policy_server.address}/status")[0] == 200


def test_a_taken_port_says_whose_it_is(alices_policy_server):
    """Does whoever finds the port taken read by whom?"""
    port = alices_policy_server.address.rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, str(ROOT / "serving/simple_policy_server.py"), "--observation-size=8",
         "--action-size=3", f"--port={port}"], capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.endswith("it is daemon's\n") and done.stderr.count("\n") == 1


def test_who_posts_and_leaves_at_once_is_nobody(alices_policy_server):
    """A connection whose client has left belongs to root, says the kernel: is it no way in?"""
    if not peers.can_tell():
        pytest.skip("this machine does not tell")
    port = int(alices_policy_server.address.rpartition(":")[2])
    before = curl(ALICE, f"{alices_policy_server.address}/episodes")[1]
    code = (
        "import os, socket\n"
        f"os.setgid({BOB.pw_gid}); os.setuid({BOB.pw_uid})\n"
        "for _ in range(200):\n"
        f"    line = socket.socket(); line.connect(('127.0.0.1', {port}))\n"
        "    line.send(b'POST /log_returns HTTP/1.1\\r\\nHost: localhost\\r\\n"
        "Content-Length: 2\\r\\n\\r\\n{}')\n"
        "    line.close()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert curl(ALICE, f"{alices_policy_server.address}/episodes")[1] == before
