"""nbgrader in a terminal of one's own: as it is in JupyterLab."""

load_subconfig("tools/jupyter/students/nbgrader_config.py")  # noqa: F821 - traitlets defines it
