"""What a server's options say about who may use it, and the token for machines that do not tell."""

from __future__ import annotations

import stat
import subprocess
import sys

import pytest

from serving import ROOT, PolicyClient
from serving import simple_policy_server as command
from serving.command_line import StartError
from serving.running_server import RunningServer
from serving.token_file import read_token, token_file, token_left
from serving.web import peers
from serving.web.access import Access, access_for

REQUIRED = ["--observation-size=4", "--action-size=2"]


def access(*options: str) -> Access:
    return access_for(command.parse([*REQUIRED, *options]))


@pytest.fixture(autouse=True)
def no_token_around(monkeypatch, tmp_path):
    monkeypatch.delenv("POLICY_SERVER_TOKEN", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def a_silent_kernel(monkeypatch):
    """A machine that does not tell whose a connection is."""
    monkeypatch.setattr(peers, "can_tell", lambda: False)


def test_on_loopback_the_kernel_is_enough():
    """Is no token needed where the kernel tells whose a connection is?"""
    if not peers.can_tell():
        pytest.skip("this machine does not tell")
    assert access() == Access(("localhost",), None, only_ours=True)
    assert access("--host=127.0.0.9").only_ours


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "lab-3"])
def test_beyond_loopback_a_token_is_made_up(host):
    """Is a token made up, each time another one, for a server that others can reach?"""
    one, other = access(f"--host={host}"), access(f"--host={host}")
    assert one.token and other.token and one.token != other.token
    assert access(f"--host={host}", "--token=mine").token == "mine"


@pytest.mark.parametrize("token", ["", " ", " x", "x ", "a\nb", "é", "\x00"])
def test_a_token_that_is_none_is_refused(token, monkeypatch):
    """Is an empty token, which everybody would have, refused at start?"""
    with pytest.raises(StartError, match="(?s)--token=.*: expected letters"):
        access(f"--token={token}")
    if "\x00" not in token:
        monkeypatch.setenv("POLICY_SERVER_TOKEN", token)
        with pytest.raises(StartError, match="expected letters"):
            access()


@pytest.mark.parametrize("host", ["", "http://hub", "hub:443", "hub/x", "*"])
def test_what_is_no_host_is_refused(host):
    with pytest.raises(StartError, match="--allowed-host=.*: expected a name such as"):
        access(f"--allowed-host={host}")


def test_allowed_hosts_add_up():
    hosts = access("--allowed-host=hub.example.org", "--allowed-host=::1", "--host=::1").hosts
    assert set(hosts) == {"hub.example.org", "::1"}


def test_where_nothing_tells_a_token_is_left_for_our_own_programs(a_silent_kernel):
    """Is a token needed then, and does it lie where only its owner finds it?"""
    one = access()
    assert one.token and one.leaves_token and not one.only_ours
    with one.left_for_own_programs(8900):
        assert read_token(8900) == one.token
        assert read_token(8901) is None
        assert stat.S_IMODE(token_file(8900).stat().st_mode) == 0o600
        assert stat.S_IMODE(token_file(8900).parent.stat().st_mode) == 0o700
    assert read_token(8900) is None


def test_a_successors_token_stays():
    """Does a server that ends leave the token of the one that has its port now?"""
    with token_left(8900, "first"):
        successor = token_left(8900, "second")
        successor.__enter__()
    assert read_token(8900) == "second"
    successor.__exit__(None, None, None)
    assert read_token(8900) is None


def test_our_client_finds_the_token_by_itself():
    """On a machine that does not tell: does the client of the same user play as before, and is
    whoever has no token refused?"""
    code = (
        "import sys; from serving.web import peers; peers.can_tell = lambda: False; "
        "from serving.simple_policy_server import main; sys.exit(main(sys.argv[1:]))"
    )
    server = RunningServer(4, 2, learner=False)
    server.command[1:2] = ["-c", code]
    with server:
        client = PolicyClient(server.address, quiet=True)
        episode = client.start_episode()
        assert client.get_action(episode, [0.0] * 4) in (0, 1)
        done = subprocess.run(
            [sys.executable, "-c", f"import urllib.request as u; u.urlopen('{server.address}/status')"],
            capture_output=True, text=True, cwd=ROOT,
        )  # fmt: skip
        assert "401" in done.stderr
