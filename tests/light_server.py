"""Stands in for `RunningServer` where only what was said matters: a thread instead of a process."""

from __future__ import annotations

import pytest
from leftovers import free_port
from served import Served

from serving import PolicyClient, running_server
from serving.exercises import compare_algorithms, pong, visible  # noqa: F401 - pong before the patch


class LightServer:
    """What the checks use of `serving.running_server.RunningServer`."""

    def __init__(self, observation_size: int, action_size: int, learner: bool = True, **options):
        given = {"observation_size": observation_size, "action_size": action_size, **options}
        self.command = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
        chosen = {name: options[name] for name in ("run", "seed") if name in options}
        self._served = Served(free_port(), None, observation_size, action_size, **chosen)
        self.process: LightServer | None = None

    def start(self) -> LightServer:
        self._served.start()
        self.process = self
        return self

    def poll(self) -> int | None:
        return None if self._served.is_running else 0

    def client(self) -> PolicyClient:
        return PolicyClient(self._served.address, quiet=True)

    def stop(self, seconds: float = 0.0) -> int:
        if self.process and self._served.is_running:
            self._served.stop()
        return 0

    def __enter__(self) -> LightServer:
        return self.start()

    def __exit__(self, *exception) -> None:
        self.stop()


@pytest.fixture
def light_servers(monkeypatch) -> None:
    """Checks, and the notebooks they look at, start light servers in this test."""
    for module in (running_server, compare_algorithms, visible):
        monkeypatch.setattr(module, "RunningServer", LightServer)
