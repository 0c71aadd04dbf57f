"""The wheel: what it brings along, and that it works where nothing else is installed.

In virtual environments of their own, of every Python on this machine that the kit is made for. What
is installed into them comes from the package index that pip is set up with.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import httpx
import pytest
from clones import copy_kit
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pythons import found

from serving import ROOT
from tools import make_lock

pytestmark = pytest.mark.slow

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
COMMANDS = ("simple-policy-server", "pong-web-server", "do-rollouts", "train-from-logs")
DATA = re.compile(r"\.(gz|json|js|css|html|svg)$")

PLAY = """
import random, sys
from serving import PolicyClient

client = PolicyClient(sys.argv[1])
episode = client.start_episode()
for _ in range(5):
    action = client.get_action(episode, [random.random() for _ in range(4)])
    assert action in (0, 1), action
    client.log_returns(episode, 1.0)
client.end_episode(episode, [0.0] * 4)
(record,) = [record for record in client.episodes().episodes if record.episode_id == episode]
print(len(record.actions), sum(record.rewards), record.ending)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """What `python -m build --wheel` makes of a clone (pip asks the same build backend)."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet",
         f"--wheel-dir={folder}", copy_kit(folder / "kit")],
        check=True, timeout=120,
    )  # fmt: skip
    (path,) = folder.glob("*.whl")
    return path


class Environment:
    """A virtual environment of its own; `packages` and whatever they need are all that is in it."""

    def __init__(self, python: str, folder: Path):
        self.folder, self.python = folder, str(folder / "bin" / "python")
        subprocess.run([python, "-m", "venv", folder], check=True, timeout=120)

    def install(self, what: str) -> None:
        pins = ROOT / "requirements.lock"
        done = subprocess.run(
            [self.python, "-m", "pip", "install", "--no-compile", what],
            env={**os.environ, "PIP_CONSTRAINT": str(pins), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            capture_output=True, text=True, timeout=280,
        )  # fmt: skip
        if done.returncode and not os.environ.get("CI"):
            if re.search("ConnectionError|NewConnectionError|Temporary failure", done.stderr):
                pytest.skip("the package index does not answer")
        assert done.returncode == 0, done.stderr

    def installed(self) -> set[str]:
        ask = "from importlib.metadata import distributions as d; print(*(p.name for p in d()))"
        return set(map(canonicalize_name, self.run(self.python, "-c", ask).split()))

    def run(self, *command: str) -> str:
        """What it prints, started in an empty folder: `serving` is the installed one."""
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        done = subprocess.run(
            command, cwd=elsewhere, capture_output=True, text=True, timeout=60,
            env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


# The newest is the one that a wheel has been tried on least; the long form tries all of them.
PYTHONS = sorted(found(), key=lambda version: int(version.split(".")[1]))
PYTHONS = PYTHONS if os.environ.get("PYTHONS") == "all" else PYTHONS[-1:]


@pytest.fixture(scope="module", params=PYTHONS)
def an_empty_environment(request, tmp_path_factory) -> Environment:
    return Environment(found()[request.param], tmp_path_factory.mktemp("venv") / "venv")


@pytest.fixture(params=PYTHONS)
def a_new_environment(request, tmp_path_factory) -> Environment:
    """In which no other test has installed anything."""
    return Environment(found()[request.param], tmp_path_factory.mktemp("venv") / "venv")


def listens(process: subprocess.Popen) -> str:
    """The address that a server prints."""
    for line in process.stdout:
        if address := re.search(r"http://\S+:\d+", line):
            return address[0]
    raise AssertionError(f"the server ended with {process.wait()}")


def server(environment: Environment, command: str, *options: str) -> Iterator[str]:
    process = subprocess.Popen(
        [environment.folder / "bin" / command, "--port=0", *options], cwd=environment.folder,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        yield listens(process)
    finally:
        process.terminate()
        process.communicate(timeout=20)


# -- what is in it ----------------------------------------------------------------------------------


def test_the_wheel_brings_everything_under_serving(wheel):
    """Are all modules and all data in the wheel, and nothing else of the repository?"""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "serving").rglob("*")
        if path.suffix == ".py" or DATA.search(path.name)
    }
    assert names == expected


def third_party(path: Path) -> set[str]:
    """The top-level modules that a file imports, which are neither Python's nor ours."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add(node.module.split(".")[0])
    return imported - set(sys.stdlib_module_names) - {"serving"}


# What comes by the package that is declared, and is a part of it as its users see it.
PART_OF = {
    "ipython": "jupyterlab", "jupyter-client": "jupyterlab", "traitlets": "jupyterlab",
    "nbclient": "nbgrader", "nbconvert": "nbgrader", "nbformat": "nbgrader",
}  # fmt: skip


def test_what_is_imported_is_declared():
    """Does pyproject.toml name every package that a module imports, also one that would come by
    chance with another?"""
    declared = {canonicalize_name(requirement.name) for requirement in make_lock.required()}
    distributions = packages_distributions()
    missing = {}
    for path in (ROOT / "serving").rglob("*.py"):
        for module in third_party(path):
            names = {canonicalize_name(name) for name in distributions[module]}
            names |= {PART_OF[name] for name in names & PART_OF.keys()}
            if not names & declared:
                missing[module] = str(path.relative_to(ROOT))
    assert not missing


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_builds_on_what_exists(extra):
    """Does an extra that names the kit name extras of it that there are?"""
    for requirement in map(Requirement, EXTRAS[extra]):
        if requirement.name == PROJECT["name"]:
            assert requirement.extras <= EXTRAS.keys()


# -- where nothing else is installed ----------------------------------------------------------------


def test_a_player_needs_two_packages(wheel, a_new_environment, a_policy_server):
    """Does a client in an empty environment play an episode, with two small packages beside it?"""
    before = a_new_environment.installed()
    a_new_environment.install(str(wheel))
    added = a_new_environment.installed() - before
    assert added == {PROJECT["name"], "msgspec", "numpy"}
    played = a_new_environment.run(a_new_environment.python, "-c", PLAY, a_policy_server.address)
    assert played == "5 5.0 terminated\n"


def test_the_commands_work(wheel, an_empty_environment):
    """With [server] and without torch: does the policy server act, the Pong page open with what it
    needs, and do rollouts play against them?"""
    an_empty_environment.install(f"{wheel}[server]")
    assert not an_empty_environment.installed() & {"torch", "ray", "jupyterlab"}
    script = an_empty_environment.folder / "bin"
    options = "--observation-size=8", "--action-size=3", "--no-learner"
    for policy_server in server(an_empty_environment, "simple-policy-server", *options):
        played = an_empty_environment.run(
            script / "do-rollouts", f"--policy-server={policy_server}", "--games=1", "--no-train",
            "--quiet",
        )  # fmt: skip
        assert "1 game" in played
        to_policy = f"--policy-server={policy_server}"
        for page in server(an_empty_environment, "pong-web-server", to_policy):
            for file in ("", "main.js", "physics.js", "style.css", "favicon.svg"):
                assert httpx.get(f"{page}/{file}").status_code == 200, file
    for policy_server in server(
        an_empty_environment, "simple-policy-server", "--observation-size=4", "--action-size=2",
        "--no-learner",
    ):  # fmt: skip
        played = an_empty_environment.run(an_empty_environment.python, "-c", PLAY, policy_server)
        assert played == "5 5.0 terminated\n"


def test_the_logs_come_along(wheel, an_empty_environment):
    """Can the small log be read where only the wheel is installed?"""
    an_empty_environment.install(str(wheel))
    read = (
        "import serving, pathlib; from serving.logs import read_log; "
        "log = pathlib.Path(serving.__file__).with_name('data_small.gz'); "
        "print(sum(map(len, read_log(log))))"
    )
    said = an_empty_environment.run(an_empty_environment.python, "-c", read)
    assert said == "7092\n"


def test_every_command_is_a_console_script(wheel):
    """Are the four commands, under their own names, console scripts?"""
    (name,) = [
        name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("entry_points.txt")
    ]
    entries = zipfile.ZipFile(wheel).read(name).decode()
    for command in COMMANDS:
        assert re.search(rf"^{command} = serving\.{command.replace('-', '_')}:", entries, re.M)
