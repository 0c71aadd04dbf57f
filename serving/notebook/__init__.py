"""What a notebook shows, and what JupyterLab's Launcher offers."""
