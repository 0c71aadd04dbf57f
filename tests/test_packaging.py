"""What is installed where, what the README promises, and what may not be in the repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from jupyter_server_proxy.config import ServerProcess
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from serving import ROOT
from tools import make_lock

README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
INSTALL = (ROOT / "tools/install.sh").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXECUTABLES = ("postBuild", ".ci/run", "tools/start-ray.sh", "tools/install.sh")
LARGEST_FILE = 3_000_000  # bytes


def pins(lines: list[str]) -> dict[str, str]:
    """Names and versions of lines such as `name==1.2.3`; anything else fails."""
    found = {}
    for line in lines:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][0-9A-Za-z.]*)", line)
        assert match, f"{line!r}: expected a name and a version, and nothing else"
        found[canonicalize_name(match[1])] = match[2]
    return found


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return pins([line for line in lines if not line.startswith("#")])


def environment() -> tuple[list[str], list[str]]:
    """What environment.yml takes from conda, and what from pip."""
    described = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert described["channels"][0] == "conda-forge"
    (from_pip,) = [entry["pip"] for entry in described["dependencies"] if isinstance(entry, dict)]
    return [entry for entry in described["dependencies"] if isinstance(entry, str)], from_pip


def blocks(language: str, text: str = README) -> list[str]:
    """The code blocks of a language in a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def tracked() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is not a git repository")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


# -- versions ---------------------------------------------------------------------------------------


def test_lock_is_what_is_installed():
    """Do these tests run with the versions that the lock promises?"""
    versions = make_lock.installed(make_lock.required())
    assert {canonicalize_name(name): version for name, version in versions.items()} == locked()


def test_lock_fits_pyproject():
    """Does the lock hold everything pyproject.toml asks for, in a version it accepts?"""
    for requirement in make_lock.required():
        version = locked()[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}"


def test_environment_agrees_with_lock():
    """Do conda and pip together install exactly the lock?"""
    from_conda, from_pip = environment()
    by_pip = pins(from_pip)
    by_conda = {name: version for name, version in locked().items() if name not in by_pip}
    assert by_pip.items() <= locked().items()
    assert list(by_conda) == ["torch"]
    release = ".".join(by_conda["torch"].split(".")[:2])
    assert from_conda == ["python=3.11", f"pytorch-cpu={release}", "pip"]


def test_environment_has_no_local_reference():
    """Is the environment independent of the repository's files, so that Binder can keep it?"""
    assert not [line for line in environment()[1] if line.startswith("-") or "/" in line]


def test_written_files_are_up_to_date():
    """Would `make lock` write what is there?"""
    versions = make_lock.installed(make_lock.required())
    assert (ROOT / "requirements.lock").read_text() == make_lock.lock(versions)
    assert (ROOT / "environment.yml").read_text() == make_lock.environment(versions)


def test_both_ways_install_the_kit_alike():
    """Do Makefile and postBuild install the package in the same way?"""
    how = "--no-deps --no-build-isolation --editable ."
    assert how in INSTALL and how in (ROOT / "postBuild").read_text()
    assert "install -r requirements.lock" in INSTALL


def test_hashes_are_of_the_locked_files():
    """Is there a hash for every package of the lock but torch, and is each of them one?"""
    lines = (ROOT / "requirements.hashes").read_text().split("\n")
    hashed: dict[str, int] = {}
    for line in lines:
        if found := re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+?)(?: ;.*)?(?: \\)?", line):
            name = canonicalize_name(found[1])
            assert locked()[name] == found[2]
            hashed[name] = 0
        elif line and not line.startswith("#"):
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?", line), line
            hashed[name] += 1
    assert set(hashed) == set(locked()) - {"torch"}
    assert all(hashed.values())


def test_the_lock_fits_every_python_there_is():
    """Does every locked version say that it runs on Python 3.11.0, which is older than Debian 12's?"""
    refused = {}
    for name in locked().keys() - make_lock.REMOVED:
        needs = distribution(name).metadata.get("Requires-Python")
        if needs and not all(
            SpecifierSet(needs).contains(f"3.{minor}.0") for minor in range(11, 15)
        ):
            refused[name] = needs
    assert not refused


# -- make -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXECUTABLES)
def test_script_is_executable_bash(name):
    """Can it be run, and does bash understand it?"""
    assert os.access(ROOT / name, os.X_OK)
    assert (ROOT / name).read_text().startswith("#!/usr/bin/env bash\n")
    subprocess.run(["bash", "-n", ROOT / name], check=True, timeout=10)


def test_plain_make_lists_the_targets():
    """Does `make` name every target, with a word on each?"""
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, timeout=10)
    described = dict(re.findall(r"^  make (\S+) +(\S.*)$", listed.stdout, re.MULTILINE))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(described) == set(phony.split())
    documents = README + (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`make ([a-z-]+)", documents))
    assert named <= set(described)


# -- Binder, tiles ----------------------------------------------------------------------------------


def a_tile(name: str) -> dict:
    module, function = PROJECT["entry-points"]["jupyter_serverproxy_servers"][name].split(":")
    return getattr(import_module(module), function)()


@pytest.mark.parametrize("name", PROJECT["entry-points"]["jupyter_serverproxy_servers"])
def test_tile_is_complete(name):
    """Does jupyter-server-proxy take the tile, and is there what it names?"""
    tile = a_tile(name)
    ServerProcess(name=name, **tile)
    assert Path(tile["launcher_entry"]["icon_path"]).is_file()
    assert "--port={port}" in tile["command"]
    scripts = [argument for argument in tile["command"] if argument.endswith(".py")]
    assert all(Path(script).is_file() for script in scripts)


def test_tensorboard_tile_starts(a_free_port):
    """Does the command behind TensorBoard's tile serve a page?"""
    command = [
        part.replace("{port}", str(a_free_port)) for part in a_tile("tensorboard")["command"]
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with socket.create_connection(("localhost", a_free_port), 1):
                    return
            except OSError:
                time.sleep(0.2)
        pytest.fail(f"nothing listens (exit code {process.poll()})")
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def binders_config(tmp_path) -> Path:
    """What postBuild's lines on JupyterLab write, into a Python environment of their own."""
    script = (ROOT / "postBuild").read_text()
    (lines,) = re.findall(r"^# JupyterLab opens.*?\n(config=.*?)\n\n", script, re.M | re.S)
    python = f"python() {{ echo '{tmp_path}'; }}\n"
    subprocess.run(["bash", "-euc", python + lines], cwd=ROOT, check=True, timeout=10)
    return tmp_path / "etc" / "jupyter"


def test_binder_opens_what_make_lab_opens(binders_config):
    """Do postBuild's files and the Makefile's folders say the same to Jupyter and JupyterLab?"""
    ask = """import json
from jupyterlab_server.config import get_page_config
from jupyterlab_server.settings_utils import _get_overrides
from jupyter_server.serverapp import ServerApp
app = ServerApp()
app.load_config_file()
disabled = sorted(get_page_config([])["disabledExtensions"])
print(json.dumps([app.config, disabled, _get_overrides("")], default=str, sort_keys=True))"""
    makes = f"{ROOT}/tools/jupyter/students:{ROOT}/tools/jupyter"
    said = [
        subprocess.run(
            [sys.executable, "-c", ask], capture_output=True, text=True, check=True, timeout=60,
            env={**os.environ, "JUPYTER_CONFIG_PATH": str(path)},
        ).stdout
        for path in (binders_config, makes)
    ]  # fmt: skip
    assert said[0] == said[1]
    assert "START.md" in said[0] and "@jupyter/nbgrader:formgrader" in said[0]


# -- the start page ---------------------------------------------------------------------------------


def test_start_page_names_each_lesson_and_its_time():
    """Is every lesson one click away, with its own name and the time it says it takes itself?"""
    hours = {"an hour": "1 hour", "an hour and a half": "1½ hours", "90 minutes": "1½ hours"}
    expected = {}
    for path in sorted((ROOT / "lessons").glob("*/*.ipynb")):
        text = "".join(json.loads(path.read_text())["cells"][0]["source"])
        (name,) = re.findall(r"^# \d · (.*)$", text, re.M)
        (time_,) = re.findall(r"^\*About (an hour and a half|an hour|\d+ minutes)\b", text, re.M)
        expected[str(path.relative_to(ROOT))] = name, hours[time_]
    rows = re.findall(
        r"^\| \*\*\d · \[(.*?)\]\((.*?)\)\*\* \|.*?\| (\S+ hours?) \|",
        (ROOT / "START.md").read_text().replace("\u00a0", " "),
        re.M,
    )
    assert {link: (name, time_) for name, link, time_ in rows} == expected


# -- README -----------------------------------------------------------------------------------------


def test_readme_needs_two_commands():
    """Are the first commands of the README the two that need no preparation?"""
    assert blocks("sh")[0].split("\n") == ["make lab", "make test", ""]


def test_readme_links_lead_somewhere():
    """Is there a file behind every link, and a lesson behind every row and the other way round?"""
    links = re.findall(
        r"\]\((?!https?:)([^)#]+)\)", README + (ROOT / "CONTRIBUTING.md").read_text()
    )
    assert not [link for link in links if not (ROOT / link).exists()]
    lessons = {path.parent.name for path in (ROOT / "lessons").glob("*/*.ipynb")}
    assert set(re.findall(r"lessons/([\w-]+)/", README)) == lessons


def test_contributing_begins_with_what_goes_wrong_first():
    """Does the first line say where to edit?"""
    first = (ROOT / "CONTRIBUTING.md").read_text().splitlines()[0]
    assert first.startswith("Edit `solutions/`, never `lessons/`")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_readme_curl_session_plays_an_episode(a_policy_server):
    """Does the README's session with curl, typed as it stands, play a whole episode?"""
    (session,) = [block for block in blocks("sh") if "curl" in block]
    address = "server=http://localhost:8900\n"
    assert session.startswith(address)
    session = session.replace(address, f"server={a_policy_server.address}\n")
    # Each answer on a line of its own; -f: a refusal ends the session.
    session = re.sub(r"^curl -s (.*)$", r"curl -sf \1; echo", session, flags=re.MULTILINE)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", session], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    *actions, ended, transcript, status = map(json.loads, done.stdout.splitlines())
    assert len(actions) == 3 and all(answer["action"] in (0, 1) for answer in actions)
    assert ended == {"steps": 3}
    assert transcript["actions"] == [answer["action"] for answer in actions]
    assert transcript["rewards"] == [1, 1, 1]
    assert transcript["observations"][0] == pytest.approx([0.01, 0.02, 0.03, 0.04])
    assert len(transcript["observations"]) == 4 and transcript["ending"] == "terminated"
    assert status["episodes"] == 1 and status["env_steps"] == 3


def test_readme_python_example_plays_an_episode(a_policy_server):
    """Does the README's example in Python, pasted as it stands, play a whole episode?"""
    example, _ = blocks("python")
    assert "http://localhost:8900" in example
    example = example.replace("http://localhost:8900", a_policy_server.address)
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("1 episodes so far\n", "")
    (transcript,) = a_policy_server.client().episodes().episodes
    assert transcript.ending == "terminated" and sum(transcript.rewards) == len(transcript.actions)


def test_readme_python_example_replays_a_log(policy_servers):
    """Does the README's replay, after the lines that connect, log every step of the small log?"""
    server = policy_servers(8, 3)
    _, example = blocks("python")
    assert "data_large.gz" in example
    example = example.replace("data_large.gz", "data_small.gz")
    connect = f"from serving import PolicyClient\nclient = PolicyClient({server.address!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", connect + example],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    status = server.client().status()
    assert (status.logged_steps, status.episodes) == (7_092, 14)


# -- what is not in the repository --------------------------------------------------------------


def test_no_large_file_is_tracked():
    """Is the repository quick to clone?"""
    assert not [path for path in tracked() if path.stat().st_size > LARGEST_FILE]


def test_no_registry_and_no_machine_is_named():
    """Does no file name a package registry's host, or a folder of somebody's machine?"""
    hosts = ("pypi", "pythonhosted", "download.pytorch", "anaconda", "registry.npmjs")
    folders = [rf"{re.escape(str(ROOT))}/", "/home/[a-z]", "/Users/[A-Za-z]", "/root/", "/work/"]
    forbidden = re.compile(
        rf"\b(?:{'|'.join(map(re.escape, hosts))})\.org|(?<![\w.])(?:{'|'.join(folders)})"
    )
    found = []
    for path in tracked():
        if path == Path(__file__):
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        text = text.replace("/home/jovyan", "")  # in every hub's image, and on nobody's machine
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in forbidden.finditer(text)]
    assert not found
