"""JupyterLab as `make lab` and Binder open it, for everybody.

`students/` adds to it what students should not have in their way.
"""

from pathlib import Path

c = get_config()  # noqa: F821 - traitlets defines it

KIT = Path(__file__).resolve().parents[2]

c.ServerApp.default_url = c.LabApp.default_url = "/lab/tree/START.md"
# The page My lessons, in a tab, opens lessons beside itself.
c.LabApp.expose_app_in_browser = True
# Terminals open in the kit's folder, whatever folder the file browser shows.
c.ServerApp.terminado_settings = {
    "shell_command": ["bash", "--rcfile", str(KIT / "tools" / "terminal.sh")]
}

# A style sheet of the kit's own; its folder is not a trait of jupyter_server's, but a setting of tornado's.
c.LabApp.custom_css = True
c.ServerApp.tornado_settings = {"static_custom_path": [str(KIT / "tools" / "jupyter" / "custom")]}
