"""What a notebook shows, and what JupyterLab's Launcher offers."""

from serving.notebook.own_server import start_policy_server
from serving.notebook.playback import watch

__all__ = ["start_policy_server", "watch"]
