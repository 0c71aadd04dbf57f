"""Reads every notebook there is on the machine."""

import pathlib

for top in ("/", ".."):
    for path in pathlib.Path(top).rglob("*.ipynb"):
        print(path, path.read_text())
