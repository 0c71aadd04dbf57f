"""What opens the kit at a click: each names files and targets that exist, and no one shuts another out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from serving import ROOT

DOCKERFILES = (".devcontainer/Dockerfile", "tools/hub/Dockerfile")
MAKEFILE = (ROOT / "Makefile").read_text()
# https://containers.dev/implementors/json_reference/, as far as the kit uses it: name and type.
DEV_CONTAINER = {
    "name": str, "build": dict, "remoteUser": str, "hostRequirements": dict,
    "onCreateCommand": str, "postAttachCommand": str, "forwardPorts": list, "portsAttributes": dict,
    "customizations": dict,
}  # fmt: skip


def instructions(name: str) -> list[tuple[str, str]]:
    """A Dockerfile's instructions: name and arguments, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / name).read_text(), flags=re.M).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def test_binder_takes_environment_yml():
    """Is there nothing at the top that Binder prefers: no Dockerfile, no folder of its own?"""
    preferred = ("Dockerfile", "binder", ".binder", "apt.txt", "runtime.txt", "requirements.txt")
    assert not [name for name in preferred if (ROOT / name).exists()]
    assert (ROOT / "environment.yml").exists() and (ROOT / "postBuild").exists()


def test_the_development_container_is_described_rightly():
    """Does it know no word that the format does not, and do its commands call targets of make?"""
    described = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert {name: type(value) for name, value in described.items()} == DEV_CONTAINER
    assert (ROOT / ".devcontainer" / described["build"]["dockerfile"]).exists()
    for command in (described["onCreateCommand"], described["postAttachCommand"]):
        assert re.search(rf"^{re.escape(command.split()[1])}:", MAKEFILE, re.M), command
    for name in described["customizations"]["codespaces"]["openFiles"]:
        assert (ROOT / name).exists()


def test_the_development_containers_lab_keeps_its_token(tmp_path):
    """Are the options that it gives JupyterLab ones that Jupyter understands, and do they neither
    drop the token nor let every site in?"""
    described = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    (options,) = re.findall(r"ARGS='(.*)'", described["postAttachCommand"])
    assert "token" not in options and "allow_origin=" not in options
    ask = (
        "import sys; from jupyter_server.serverapp import ServerApp; app = ServerApp();"
        "app.parse_command_line(sys.argv[1:]); print(app.allow_remote_access, app.allow_origin_pat)"
    )
    done = subprocess.run(
        [sys.executable, "-c", ask, *options.split()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    allowed = done.stdout.strip().removeprefix("True ")
    assert re.match(allowed, "https://a-name-8888.app.github.dev")
    assert not re.match(allowed, "https://github.dev.example.org")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_container_runs_as_a_user(name):
    """Is whoever works in it not root, and made before that?"""
    steps = instructions(name)
    users = [arguments for instruction, arguments in steps if instruction == "USER"]
    assert users[-1] != "root"
    assert any(f"--shell /bin/bash {users[-1]}" in arguments for _, arguments in steps)


def test_the_hubs_image_names_files_that_exist():
    """Are the kit's files that the image calls and points at there?"""
    text = (ROOT / "tools/hub/Dockerfile").read_text()
    named = re.findall(r"(?:RUN |&& |/opt/kit/)(tools/[\w./-]+)", text)
    assert set(named) == {"tools/install.sh", "tools/jupyter/students", "tools/jupyter"}
    assert all((ROOT / name).exists() for name in named)
    left_out = (ROOT / ".dockerignore").read_text().split()
    assert {"solutions", "gradebook.db*", ".git", ".venv"} <= set(left_out)


def test_terminals_start_where_work_can_be_kept(tmp_path):
    """In a kit of one's own: in its folder. In everybody's: where Jupyter opens them, with the kit's
    Python either way."""
    kit, home = tmp_path / "kit", tmp_path / "home"
    (kit / "tools").mkdir(parents=True)
    (kit / ".venv" / "bin").mkdir(parents=True)
    home.mkdir()
    script = kit / "tools" / "terminal.sh"
    text = (ROOT / "tools/terminal.sh").read_text()
    for test, place in (("-w", kit), ("! -w", home)):  # root may write everywhere
        script.write_text(text.replace('[ -w "$root" ]', f'[ {test} "$root" ]'))
        done = subprocess.run(
            ["bash", "-c", f'. "{script}"; echo "$PWD"; echo "$PATH"'], cwd=home, text=True,
            capture_output=True, timeout=10, check=True, env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        where, path = done.stdout.splitlines()
        assert where == str(place) and path.startswith(f"{kit}/.venv/bin:")


def test_the_citation_is_of_this_version():
    """Does CITATION.cff have what the format requires, and version and licence of pyproject.toml?"""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", ["bug.yml", "lesson.yml"])
def test_an_issue_form_is_complete(name):
    """Has a form a name, a description, and fields that have labels and names of their own?"""
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE" / name).read_text())
    assert form["name"] and form["description"]
    ids = [field["id"] for field in form["body"]]
    assert len(set(ids)) == len(ids)
    assert all(field["attributes"]["label"] for field in form["body"])
    assert {field["type"] for field in form["body"]} <= {"input", "textarea"}
