"""Does the kit work on this machine: the lessons open, a policy is served, and it learns."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import nbformat
import pytest
from jupyter_server_proxy.config import ServerProcess

from serving.notebook import tiles
from serving.running_server import a_policy_server, wait_until

ROOT = Path(__file__).resolve().parents[1]
LESSONS = sorted((ROOT / "lessons").glob("*/*.ipynb"))


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_finds_what_it_imports(lesson):
    """Does the notebook open, and is every name there that its cells import?"""
    for cell in nbformat.read(lesson, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        source = "\n".join(line for line in cell.source.split("\n") if line[:1] not in "%!")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                missing = [name.name for name in node.names if not hasattr(module, name.name)]
                assert not missing, f"{node.module} has no {missing}"
            elif isinstance(node, ast.Import):
                for name in node.names:
                    importlib.import_module(name.name)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_carries_its_pictures(lesson):
    """Does a lesson show its pictures wherever its file is?"""
    cells = nbformat.read(lesson, as_version=4).cells
    assert any(cell.get("attachments") for cell in cells)
    assert not any("](../" in cell.source for cell in cells)


@pytest.mark.parametrize(
    "tile", [tiles.policy_server, tiles.pong, tiles.tensorboard], ids=lambda tile: tile.__name__
)
def test_a_tile_of_the_launcher_is_complete(tile):
    """Is there what it starts and shows?"""
    described = tile()
    ServerProcess(name=tile.__name__, **described)
    assert Path(described["launcher_entry"]["icon_path"]).is_file()


def test_a_policy_learns_from_what_it_serves():
    """Do updates follow the steps that were served, with RLlib as the learner?"""
    with a_policy_server(4, 2) as client:
        for _ in range(40):
            episode = client.start_episode()
            for _ in range(20):
                assert client.get_action(episode, [0.1, -0.2, 0.3, -0.4]) in (0, 1)
                client.log_returns(episode, 1.0)
            client.end_episode(episode, [0.0] * 4)
        wait_until(client, lambda status: status.updates > 0, 120, "an update after 800 steps")
