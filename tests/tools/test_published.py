"""BENCHMARKS.md: does it say what was measured, and README what it says?"""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from serving import ROOT
from tools.bench import published

FIGURES = {
    "machine": {"date": "2031-02-03 04:05", "system": "Linux x86_64", "cpus": 2, "memory_gib": 8.0,
                "python": "3.11.7", "versions": {"torch": "9.9"}},
    "figures": {
        "start": [{"first_action": 0.25, "learner": 2.5}, {"first_action": 0.75, "learner": 4.5}],
        "cartpole": [{"seed": seed, "solved": True, "seconds": 5.0 + seed, "episodes": 70,
                      "evaluation": 200.0} for seed in range(3)],
        "clients": [{"clients": count, "training": training, "recorded": 9 * count,
                     "steps": [9] * count, "seconds": 1.0}
                    for training in (False, True) for count in (1, 64)],
    },
}  # fmt: skip


@pytest.fixture
def a_folder(tmp_path, monkeypatch):
    for name, path in (("FIGURES", "figures.json"), ("PAGE", "BENCHMARKS.md"), ("IMAGES", "")):
        monkeypatch.setattr(published, name, tmp_path / path)
    return tmp_path


def test_a_run_becomes_a_page(a_folder):
    """Has each part its meaning, its rows with their verdicts, and its picture?"""
    published.publish(FIGURES)
    page = (a_folder / "BENCHMARKS.md").read_text()
    assert "2031-02-03, Linux x86_64, 2 cores, 8 GiB, Python 3.11.7; torch 9.9." in page
    ready = "| learner ready after the command, median | 3.50 s (worst 4.50 s) | at most 3.0 s |"
    assert f"{ready} **not met** |" in page
    assert "| CartPole to a mean of 195, slowest | 7.0 s | at most 15 s | met |" in page
    assert published.part("start").MEANS in page
    for image in re.findall(r"\]\(images/(.*?)\)", page):
        assert (a_folder / image).stat().st_size < 150_000
    assert page.count("![") == 2  # of CartPole and of clients


def test_every_part_says_what_it_means():
    """Does each part have a sentence for those who are not interested in milliseconds?"""
    for name in published.PARTS:
        assert len(published.part(name).MEANS) > 40, name


def test_the_page_follows_from_the_figures_that_are_kept():
    """Is BENCHMARKS.md what its figures say, with pictures that are there?"""
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench.published", "--check"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for image in re.findall(r"\]\((images/.*?)\)", published.PAGE.read_text()):
        assert (ROOT / image).exists(), image


def test_readmes_figures_are_those_of_the_page():
    """Does each row of README's table stand in BENCHMARKS.md, word by word?"""
    readme, page = (ROOT / "README.md").read_text(), published.PAGE.read_text()
    table = readme.split("\n## Measured\n")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 5
    for row in rows:
        assert row in page, row
