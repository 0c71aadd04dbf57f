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


def pong() -> dict:
    """The Pong page, against the policy server of this machine.

    Browsers know it by Jupyter's name, which nobody here can know (a hub's, Binder's): Jupyter, which
    has seen who asks, presents a token for them.
    """
    token = secrets.token_urlsafe(16)
    return {
        "command": [sys.executable, str(SERVING / "pong_web_server.py"), "--port={port}"],
        "environment": {"PONG_WEB_SERVER_TOKEN": token},
        "request_headers_override": {"Authorization": f"Bearer {token}"},
        "timeout": 20,
        "launcher_entry": {
            "title": "Pong",
            "icon_path": str(ICONS / "icon_pong.svg"),
            "category": "Notebook",
        },
    }


def policy_server() -> dict:
    """The page of this machine's policy server, which says what to do if there is none. For the
    token see `pong`."""
    token = secrets.token_urlsafe(16)
    return {
        "command": [sys.executable, "-m", "serving.server.relay", "--port={port}"],
        "environment": {"POLICY_PAGE_TOKEN": token},
        "request_headers_override": {"Authorization": f"Bearer {token}"},
        "timeout": 20,
        "launcher_entry": {
            "title": "Policy server",
            "icon_path": str(ICONS / "icon_policy_server.svg"),
            "category": "Notebook",
        },
    }


def tensorboard() -> dict:
    """TensorBoard, on the events of every policy server that was started in the kit's folder."""
    return {
        "command": [
            sys.executable,
            "-m",
            "tensorboard.main",
            f"--logdir={KIT}",
            "--host=localhost",
            "--port={port}",
            "--reload_interval=10",
        ],
        "timeout": 60,
        "launcher_entry": {
            "title": "TensorBoard",
            "icon_path": str(ICONS / "icon_tensorboard.svg"),
            "category": "Notebook",
        },
    }
