"""Looks for keys and tokens."""

import os
import pathlib

for top in ("~", "/root", "/home", "/etc/shadow", "/run", "/var/run", "/srv"):
    path = pathlib.Path(top).expanduser()
    for file in [path, *path.rglob("*")] if path.exists() else []:
        if file.is_file():
            print(file, file.read_bytes()[:200])
