"""Tiles for JupyterLab's Launcher: jupyter-server-proxy starts what is behind them when clicked.

Each function returns the dictionary that
https://jupyter-server-proxy.readthedocs.io/en/latest/server-process.html describes, and is named
in pyproject.toml. jupyter-server-proxy puts a free port where `{port}` stands.

They are in the category "Notebook": only there and in "Console" the Launcher shows the icon that
jupyter-server-proxy gives it. In any other it looks for the icon of a command, which a tile has not.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

SERVING = Path(__file__).resolve().parents[1]
ICONS = Path(__file__).with_name("icons")
# Of a wheel, and of a hub's kit, which is everybody's, the folder is whichever Jupyter is started in.
_OWN = (SERVING.parent / "START.md").exists() and os.access(SERVING.parent, os.W_OK)
KIT = SERVING.parent if _OWN else Path.cwd()


def my_lessons() -> dict:
    """How far one's lessons are, and buttons for one's own policy server: in a tab of JupyterLab's, so
    that lessons open beside it."""
    command = ["-m", "serving.start_page", "--port={port}"]
    tile = _tile("My lessons", "icon_my_lessons.svg", command, 20) | _token("START_PAGE_TOKEN")
    return tile | {"new_browser_tab": False}


def pong() -> dict:
    """The Pong page, against the policy server of this machine."""
    command = [str(SERVING / "pong_web_server.py"), "--port={port}"]
    return _tile("Pong", "icon_pong.svg", command, 20) | _token("PONG_WEB_SERVER_TOKEN")


def policy_server() -> dict:
    """The page of this machine's policy server, which says what to do if there is none."""
    command = ["-m", "serving.server.relay", "--port={port}"]
    return _tile("Policy server", "icon_policy_server.svg", command, 20) | _token(
        "POLICY_PAGE_TOKEN"
    )


def tensorboard() -> dict:
    """TensorBoard, on the events of every policy server that was started in the kit's folder."""
    command = [
        "-m", "tensorboard.main", f"--logdir={KIT}", "--host=localhost", "--port={port}",
        "--reload_interval=10",
    ]  # fmt: skip
    return _tile("TensorBoard", "icon_tensorboard.svg", command, 60)


def _tile(title: str, icon: str, command: list[str], timeout: int) -> dict:
    """A tile that starts Python with `command`, and waits `timeout` seconds for what it serves."""
    return {
        "command": [sys.executable, *command],
        "timeout": timeout,
        "launcher_entry": {
            "title": title,
            "icon_path": str(ICONS / icon),
            "category": "Notebook",
        },
    }


def _token(variable: str) -> dict:
    """A token for a server that learns of it by the environment variable.

    Browsers know the page by Jupyter's name, which nobody here can know (a hub's, Binder's): Jupyter,
    which has seen who asks, presents the token for them.
    """
    token = secrets.token_urlsafe(16)
    return {
        "environment": {variable: token},
        "request_headers_override": {"Authorization": f"Bearer {token}"},
    }
