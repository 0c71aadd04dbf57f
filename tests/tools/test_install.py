"""tools/install.sh: which Python it takes, which torch, and what it says where there is none.

Python, pip and uv are scripts here that write down what they are asked for: nothing is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from serving import ROOT

# What a shell and make need; everything else is not there unless a test puts it there.
PROGRAMS = (
    "sh", "bash", "touch", "make", "grep", "dirname", "mktemp", "rm", "uname", "timeout", "mkdir",
    "chmod", "cat",
)  # fmt: skip
PIN = next(
    line for line in (ROOT / "requirements.lock").read_text().split() if line.startswith("torch==")
)

# `-m venv` makes a python of the same kind; `-c` answers as an interpreter of that version would.
PYTHON = """#!/usr/bin/env bash
case "$1 $2" in
  "-m venv")
    mkdir -p "$3/bin"; cat "$0" > "$3/bin/python"; chmod +x "$3/bin/python"; echo "venv by {name}" >> said ;;
  "-m pip") echo "pip ${{*:3}}" >> said ;;
  -c*ensurepip*) exit {usable} ;;
  -c*assert*) exit 1 ;;
  *) echo "Python {name}" ;;
esac
"""
UV = """#!/usr/bin/env bash
echo "uv $*" >> said
case "$*" in *torch-backend*) exit {torch} ;; *) exit {rest} ;; esac
"""

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch is a CPU build")


class Machine:
    """A folder with the kit's Makefile, and a PATH with little in it."""

    def __init__(self, folder: Path):
        self.kit, self.bin = folder / "kit", folder / "bin"
        self.bin.mkdir(parents=True)
        (self.kit / "tools").mkdir(parents=True)
        for name in ("Makefile", "requirements.lock", "requirements.hashes", "pyproject.toml"):
            shutil.copy(ROOT / name, self.kit)
        shutil.copy(ROOT / "tools/install.sh", self.kit / "tools")
        for name in PROGRAMS:
            (self.bin / name).symlink_to(shutil.which(name))

    def has(self, name: str, script: str) -> None:
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def has_python(self, name: str, usable: bool = True) -> None:
        self.has(name, PYTHON.format(name=name, usable=0 if usable else 1))

    def make(self, **variables: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [self.bin / "make", ".venv"], cwd=self.kit, env={"PATH": str(self.bin), **variables},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    @property
    def said(self) -> list[str]:
        return (self.kit / "said").read_text().splitlines()


@pytest.fixture
def a_machine(tmp_path):
    return Machine(tmp_path)


def test_without_a_python_it_says_what_to_install(a_machine):
    """Does `make .venv` say so in one sentence, also where a name is an empty shim?"""
    a_machine.has_python("python3.13", usable=False)
    done = a_machine.make()
    assert done.returncode != 0 and not (a_machine.kit / ".venv").exists()
    sentence, *rest = done.stderr.strip().splitlines()
    assert "Python 3.11 to 3.14" in sentence and "python3-venv" in sentence
    assert all(line.startswith("make") for line in rest)


def test_the_newest_that_works_is_taken(a_machine):
    """Of several Pythons, one of them unusable: is the newest taken, and named?"""
    for name in ("python3", "python3.11", "python3.12", "python3.13"):
        a_machine.has_python(name)
    a_machine.has_python("python3.14", usable=False)
    done = a_machine.make()
    assert done.returncode == 0, done.stderr
    assert a_machine.said[0] == "venv by python3.13" and "Python python3.13" in done.stdout
    assert (a_machine.kit / ".venv/installed").exists()


def test_another_python_can_be_asked_for(a_machine):
    """Does BASE_PYTHON decide?"""
    for name in ("python3.11", "python3.13"):
        a_machine.has_python(name)
    assert a_machine.make(BASE_PYTHON="python3.11").returncode == 0
    assert a_machine.said[0] == "venv by python3.11"


def test_hashes_are_checked(a_machine):
    """Is what the lock names installed with its hashes, before anything without?"""
    a_machine.has_python("python3")
    a_machine.make(GPU="1")
    checked, rest, kit = (line for line in a_machine.said if line.startswith("pip install"))
    assert "--require-hashes -r requirements.hashes" in checked
    assert rest.endswith("-r requirements.lock") and kit.endswith("--editable .")


def test_what_costs_everybody_a_second_is_removed(a_machine):
    """Does nothing here compile the grammars of Unicode addresses whenever a notebook is read?"""
    a_machine.has_python("python3")
    a_machine.make(GPU="1")
    assert a_machine.said[-1].startswith("pip uninstall") and "rfc3987-syntax" in a_machine.said[-1]
    assert find_spec("jsonschema") and not find_spec("rfc3987_syntax")


@ON_LINUX
def test_cpu_torch_where_its_index_answers(a_machine):
    """On Linux with uv: is torch the CPU build, installed before the lock is?"""
    a_machine.has_python("python3")
    a_machine.has("uv", UV.format(torch=0, rest=0))
    done = a_machine.make()
    assert "torch: the CPU build" in done.stdout
    asked = [line for line in a_machine.said if "--torch-backend=cpu" in line]
    assert len(asked) == 2 and asked[0].endswith(f"{PIN} --dry-run") and asked[1].endswith(PIN)
    lock = [line for line in a_machine.said if line.endswith("-r requirements.lock")]
    assert lock[0].startswith("uv ") and a_machine.said.index(lock[0]) > a_machine.said.index(
        asked[1]
    )


@ON_LINUX
def test_pips_torch_where_it_does_not(a_machine):
    """Is it asked once, and does everything go on by pip where uv does not get along?"""
    a_machine.has_python("python3")
    a_machine.has("uv", UV.format(torch=2, rest=1))
    done = a_machine.make()
    assert done.returncode == 0 and "as pip chooses" in done.stdout
    assert len([line for line in a_machine.said if "--torch-backend" in line]) == 1
    assert [
        line for line in a_machine.said if line.startswith("pip") and "requirements.lock" in line
    ]


@ON_LINUX
def test_uv_is_fetched_to_be_asked_only(a_machine, tmp_path):
    """Without uv: does pip fetch it into a folder of its own, which is removed again?"""
    a_machine.has_python("python3")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    a_machine.make(TMPDIR=str(temporary))
    (fetched,) = [line for line in a_machine.said if "--target=" in line]
    assert "uv==" in fetched and not list(temporary.iterdir())


@pytest.mark.parametrize("variables", [{"GPU": "1"}, {"PIP_EXTRA_INDEX_URL": "http://localhost/"}])
def test_nobody_is_asked_who_was_told(a_machine, variables):
    """Is the CPU build not looked for with GPU=1, and where pip was told of an index?"""
    a_machine.has_python("python3")
    a_machine.has("uv", UV.format(torch=0, rest=0))
    assert a_machine.make(**variables).returncode == 0
    assert not [line for line in a_machine.said if "--torch-backend" in line]
