"""The pictures of the lessons are what tools/make_images.py draws, and fit for a page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image, ImageDraw

from serving import ROOT
from tools import make_images

DRAWN = sorted(make_images.PICTURES)


def check(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "tools/make_images.py", "--check", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_pictures_are_up_to_date():
    """Does drawing again give the pictures that are there?"""
    done = check()
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", DRAWN)
def test_picture_fits_a_page(name):
    """Is the picture small, and twice as wide as it is shown?"""
    path = ROOT / "images" / f"{name}.png"
    assert path.stat().st_size < 150_000
    with Image.open(path) as image:
        assert image.width == 1600
        assert image.width / 2.5 < image.height < image.width


def test_a_changed_picture_is_noticed(tmp_path):
    """Is one more stroke on a picture enough to differ, and a faint change of shade not?"""
    kept = ROOT / "images" / "episode.png"
    scratched, faded = tmp_path / "scratched.png", tmp_path / "faded.png"
    image = Image.open(kept).convert("RGB")
    image.point(lambda value: max(0, value - 1) if value < 250 else value).save(faded)
    ImageDraw.Draw(image).line((100, 100, 700, 700), fill="black", width=8)
    image.save(scratched)
    assert make_images.difference(kept, kept) == 0
    assert make_images.difference(kept, faded) < make_images.TOLERANCE
    assert make_images.difference(kept, scratched) > make_images.TOLERANCE


def test_a_missing_picture_is_noticed(tmp_path, monkeypatch, capsys):
    """Does --check name the picture that is not there?"""
    shutil.copy(ROOT / "images" / "dqn.png", tmp_path)
    monkeypatch.setattr(make_images, "IMAGES", tmp_path)
    monkeypatch.setattr(sys, "argv", ["make_images.py", "--check", "dqn", "episode"])
    assert make_images.main() == 1
    said = capsys.readouterr().out
    assert "episode.png" in said and "dqn.png" not in said


def test_pictures_in_texts_exist():
    """Is every picture that a lesson or a page shows in the repository?"""
    texts = {path: path.read_text() for path in ROOT.glob("*.md")}
    for path in ROOT.glob("solutions/*/*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        texts[path] = "\n".join("".join(cell["source"]) for cell in cells)
    shown = {
        (path, ROOT / "images" / name)
        for path, text in texts.items()
        for name in re.findall(r"images/([\w.-]+\.(?:png|svg|gif|jpg))", text)
    }
    assert shown
    assert not [f"{path.name} shows {image}" for path, image in shown if not image.exists()]
