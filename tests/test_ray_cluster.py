"""Finding a Ray that runs, and not believing in one that does not."""

import socket
import time

import pytest
from ray._private import services

from serving.ray_cluster import attach_ray, find_ray


@pytest.fixture
def no_ray(tmp_path, monkeypatch):
    """A machine on which no Ray is known of; yields Ray's folder for its notes."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(services, "_find_address_from_flag", lambda flag: set())
    folder = tmp_path / "ray"
    folder.mkdir()
    yield folder
    monkeypatch.undo()
    services.find_gcs_addresses.cache_clear()


@pytest.mark.slow
def test_a_running_ray_is_found(ray_cluster, monkeypatch):
    assert find_ray() == find_ray(ray_cluster) == ray_cluster
    monkeypatch.delenv("RAY_ADDRESS")
    assert ":" in find_ray()  # by looking at this machine's processes


def test_no_ray(no_ray):
    with pytest.raises(ConnectionError, match="no Ray is running"):
        find_ray()


def test_the_note_of_a_ray_that_was_killed_is_not_believed(no_ray, a_free_port):
    """Ray itself would knock there for more than two minutes."""
    (no_ray / "ray_current_cluster").write_text(f"127.0.0.1:{a_free_port}")
    assert services.find_bootstrap_address(None) == f"127.0.0.1:{a_free_port}"
    began = time.monotonic()
    with pytest.raises(ConnectionError, match="no Ray is running"):
        find_ray()
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("use", [find_ray, attach_ray])
def test_an_address_where_nobody_is(a_free_port, use):
    with pytest.raises(ConnectionError, match=f"nobody answers at 127.0.0.1:{a_free_port}"):
        use(f"127.0.0.1:{a_free_port}")


def test_the_address_of_the_environment_comes_first(no_ray, a_free_port, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{a_free_port}")
    with pytest.raises(ConnectionError, match=str(a_free_port)):
        find_ray()


@pytest.fixture
def another_version(monkeypatch, no_ray):
    """A Ray that answers, and refuses in Ray's own words; yields its address and what is started."""
    import ray
    from ray._private.utils import check_version_info

    started = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"

        def init(address, **options):
            if address == "local":
                return started.append(address)
            theirs = {"ray_version": "2.9.3", "python_version": "3.8.1"}
            check_version_info(theirs, "this process", True, "minor")

        monkeypatch.setattr(ray, "init", init)
        (no_ray / "ray_current_cluster").write_text(address)
        yield address, started


def test_a_ray_of_another_version(another_version):
    """Is it passed over where any will do, and told in one sentence where it was asked for?"""
    address, started = another_version
    said = attach_ray()
    assert started == ["local"]
    assert said.startswith(
        f"started a local Ray: the Ray at {address} is one of Ray 2.9.3 and Python 3.8.1"
    )
    with pytest.raises(ConnectionError, match="is one of Ray 2.9.3 and Python 3.8.1") as refusal:
        attach_ray(address)
    assert "\n" not in str(refusal.value)


def test_a_ray_of_ones_own_can_be_asked_for(another_version, monkeypatch):
    """Does RAY_ADDRESS=local keep "auto" from looking for anybody's?"""
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert attach_ray() == "started a local Ray"


def test_a_ray_that_starts_slowly_is_waited_for(no_ray, monkeypatch):
    """Ray gives up after half a minute: is it tried once more, and the second failure a sentence?"""
    tried = []

    def too_busy(**options):
        tried.append(options["address"])
        raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.delenv("EXAMINER", raising=False)
    monkeypatch.setattr("ray.init", too_busy)
    with pytest.raises(ConnectionError, match="this machine is very busy"):
        attach_ray()
    assert tried == ["local", "local"]
