"""A sandbox for the kernel of a submission (bubblewrap), and the warden that watches it.

Inside there are the interpreter and its packages, `serving` without the examiner, and, in memory, a
folder with what was handed in and a temporary one. Not there: the course, other submissions, the
gradebook, the home folder, the network, other processes. What a submission may use up is bounded
twice: by limits of the operating system as far as they can be had (control groups, resource limits)
and by the warden, who looks from outside some times a second and ends what is too much.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import site
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

import serving

PACKAGE = Path(serving.__file__).parent
NEEDED = ("__init__.py", "candidate.py", "line.py")  # of serving/examiner, inside
NOTEBOOK, HANDED_IN, FONTS = "/tmp/notebook", "/mnt/handed-in", "/mnt/fonts"
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/alternatives", "/etc/fonts",
          "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime")  # fmt: skip
LARGEST_FOLDER = 50 * 2**20  # bytes of what was handed in beside the notebook
# NumPy's second thread would wait busily while it has nothing to do: a third of what a start costs.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
LOOK_EVERY = 0.2  # seconds
MEBIBYTE = 2**20

NO_SANDBOX = (
    "there is no sandbox here, and without one a submission can read and change whatever you can: "
    "{why}. Install bubblewrap (on Debian and Ubuntu: apt install bubblewrap) where user namespaces "
    "are allowed. To grade all the same, because you trust these submissions or this machine holds "
    "nothing else: GRADE_WITHOUT_SANDBOX=yes nbgrader autograde ..."
)


class NoSandbox(Exception):
    """There is no bubblewrap that works; the sentence says how to go on."""


@dataclass(frozen=True)
class Limits:
    """What one submission may use: memory and disk in MiB, times in seconds."""

    memory: int = 3_000
    disk: int = 512
    processes: int = 200  # threads count as well where control groups or the system count
    cpu_seconds: float = 1_800.0
    seconds: float = 3_000.0


@functools.cache
def why_not() -> str | None:
    """Why there is no sandbox; None if there is one."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return "there is no program bwrap"
    tried = subprocess.run(
        [bwrap, "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "true"],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    if tried.returncode:
        return f"bwrap says: {tried.stderr.strip() or 'nothing'}"
    return None


def require_sandbox() -> None:
    """Raises NoSandbox with a sentence that says how to go on."""
    if why := why_not():
        raise NoSandbox(NO_SANDBOX.format(why=why))


class Box:
    """The folder outside that belongs to one sandbox, and the command that starts something in it.

    `sockets` is seen inside under the same name: the kernel's and the examiner's sockets are there.
    """

    def __init__(self, limits: Limits, sandboxed: bool = True):
        self.limits, self.sandboxed = limits, sandboxed
        self.folder = Path(tempfile.mkdtemp(prefix="grade-"))
        self.sockets = self.folder / "s"
        self.handed_in = self.folder / "handed-in"
        self.sockets.mkdir()
        self.handed_in.mkdir()
        self._groups: list[Path] = []

    def take_in(self, folder: str | Path) -> None:
        """Copies what was handed in: the notebook's folder, as far as it is of a decent size."""
        room = LARGEST_FOLDER
        for file in sorted(Path(folder).rglob("*")):
            if file.is_symlink() or not file.is_file():
                continue
            room -= file.stat().st_size
            if room < 0:
                continue
            to = self.handed_in / file.relative_to(folder)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)

    def command(self, command: list[str], environment: dict[str, str]) -> list[str]:
        """The same command, inside. Its environment is what is given and nothing else."""
        if not self.sandboxed:
            return command
        bwrap = [
            shutil.which("bwrap"), "--unshare-all", "--die-with-parent", "--new-session",
            "--hostname", "sandbox", "--cap-drop", "ALL", "--clearenv",
        ]  # fmt: skip
        for name, value in {**environment, **self._environment()}.items():
            bwrap += ["--setenv", name, value]
        for path in SYSTEM:
            if os.path.islink(path):
                bwrap += ["--symlink", os.readlink(path), path]
            elif os.path.exists(path):
                bwrap += ["--ro-bind", path, path]
        disk = str(self.limits.disk * MEBIBYTE)
        bwrap += ["--proc", "/proc", "--dev", "/dev"]
        bwrap += ["--size", disk, "--tmpfs", "/tmp", "--size", disk, "--tmpfs", "/dev/shm"]
        for path in _packages():  # after /tmp: the kit may lie there
            bwrap += ["--ro-bind", path, path]
        bwrap += _kit()
        bwrap += ["--ro-bind", str(self.handed_in), HANDED_IN]
        if fonts := _fonts():
            bwrap += ["--ro-bind", fonts, FONTS]
        bwrap += ["--bind", str(self.sockets), str(self.sockets)]
        bwrap += ["--remount-ro", "/", "--chdir", "/tmp"]
        return self._grouped([*bwrap, "/bin/sh", "-c", self._prepare(), "sh", *command])

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": "/tmp/home",
            "TMPDIR": "/tmp",
            "LANG": "C.UTF-8",
            "MPLCONFIGDIR": "/tmp/matplotlib",
            "PYTHONPATH": str(PACKAGE.parent),
            **ONE_THREAD,
        }

    def _prepare(self) -> str:
        """What the shell does inside, before it becomes the kernel."""
        limits = self.limits
        return " ; ".join(
            [
                "ulimit -c 0",
                f"ulimit -d {2 * limits.memory * 1024}",  # address space, much of it never touched
                f"ulimit -f {2 * limits.disk * 1024}",
                f"ulimit -t {int(limits.cpu_seconds)}",
                f"ulimit -u {limits.processes} 2>/dev/null || ulimit -p {limits.processes}",
                f"mkdir -p $HOME $MPLCONFIGDIR {NOTEBOOK}",
                f"cp -r {HANDED_IN}/. {NOTEBOOK}",
                f"[ -d {FONTS} ] && cp {FONTS}/fontlist* $MPLCONFIGDIR",
                f"cd {NOTEBOOK}",
                'exec "$@"',
            ]
        )

    def _grouped(self, command: list[str]) -> list[str]:
        """In control groups of its own, where this user may make some."""
        self._groups = _control_groups(self.folder.name, self.limits)
        if not self._groups:
            return command
        joins = " && ".join(f"echo $$ > {group}/cgroup.procs" for group in self._groups)
        return ["/bin/sh", "-c", f'{joins}; exec "$@"', "sh", *command]

    def remove(self) -> None:
        """May be called again."""
        for group in self._groups:
            for _ in range(50):  # until the last process is gone
                with contextlib.suppress(OSError):
                    group.rmdir()
                    break
                time.sleep(0.02)
        self._groups = []
        shutil.rmtree(self.folder, ignore_errors=True)


class Warden:
    """Watches the processes below `pid`, and ends them all when they use too much.

    `reason` says why it did, in words for the student; `ended(reason)` is called then.
    """

    def __init__(self, pid: int, box: Box, ended: Callable[[str], None] = lambda reason: None):
        self.reason: str | None = None
        self._box, self._ended = box, ended
        self._root = psutil.Process(pid)
        self._began = time.monotonic()
        self._cpu: dict[int, float] = {}
        self._known: dict[int, psutil.Process] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="warden", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def end(self, reason: str) -> None:
        """Ends everything in the sandbox."""
        if self.reason is None:
            self.reason = reason
            self._ended(reason)
        # The first process inside is the init of its own world: all others go with it.
        for process in (*self._family(), self._root):
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            if not self._root.is_running():
                return
            if reason := self._too_much():
                self.end(reason)

    def _family(self) -> list[psutil.Process]:
        """All processes inside. Linux lists each thread's children; to ask every process of the
        machine for its parent instead, some times a second, would keep a core busy."""
        family, pids = [], [self._root.pid]
        while pids:
            for file in Path("/proc", str(pids.pop()), "task").glob("*/children"):
                with contextlib.suppress(OSError, psutil.Error):
                    for pid in map(int, file.read_text().split()):
                        self._known[pid] = self._known.get(pid) or psutil.Process(pid)
                        family.append(self._known[pid])
                        pids.append(pid)
        return family

    def _too_much(self) -> str | None:
        limits, family = self._box.limits, self._family()
        memory = 0
        for process in family:
            with contextlib.suppress(psutil.Error):
                usage = process.memory_info()
                memory += usage.rss - usage.shared
                times = process.cpu_times()
                self._cpu[process.pid] = times.user + times.system
        if memory > limits.memory * MEBIBYTE:
            return f"it used more than {limits.memory:,} MiB of memory"
        if len(family) > limits.processes:
            return f"it started more than {limits.processes} processes"
        if sum(self._cpu.values()) > limits.cpu_seconds:
            return f"it computed for more than {limits.cpu_seconds:.0f} s"
        if time.monotonic() - self._began > limits.seconds:
            return f"it took more than {limits.seconds:.0f} s"
        if _size(self._box.sockets) > MEBIBYTE:
            return "it wrote files where only sockets belong"
        return None


def _packages() -> list[str]:
    """Where the interpreter and the installed packages are, outermost first."""
    folders = {sys.base_prefix, sys.prefix, *site.getsitepackages()}
    folders |= {path for path in sys.path if path.endswith("site-packages")}
    found = sorted({os.path.realpath(f) for f in folders} | folders)
    system = [path for path in SYSTEM if path.startswith(("/usr", "/lib"))]
    kept: list[str] = []
    for folder in found:
        inside = any(Path(folder).is_relative_to(path) for path in (*system, *kept))
        if not inside and os.path.isdir(folder):
            kept.append(folder)
    return kept


def _kit() -> list[str]:
    """`serving` without the examiner, of which only what the notebook's end needs is there."""
    options = ["--ro-bind", str(PACKAGE), str(PACKAGE)]
    examiner = PACKAGE / "examiner"
    options += ["--tmpfs", str(examiner)]
    for name in NEEDED:
        options += ["--ro-bind", str(examiner / name), str(examiner / name)]
    options += ["--remount-ro", str(examiner)]
    start_ray = PACKAGE.parent / "tools" / "start-ray.sh"  # lesson 01 asks it how Ray is
    if start_ray.exists():
        options += ["--ro-bind", str(start_ray), str(start_ray)]
    return options


@functools.cache
def _fonts() -> str | None:
    """Matplotlib's list of fonts, which takes seconds to make."""
    import matplotlib.font_manager  # noqa: F401 - makes it

    folder = matplotlib.get_cachedir()
    return folder if list(Path(folder).glob("fontlist*.json")) else None


def _control_groups(name: str, limits: Limits) -> list[Path]:
    """Control groups with our limits; none where they cannot be made."""
    bounds = {
        "memory": ("memory.limit_in_bytes", limits.memory * MEBIBYTE),
        "pids": ("pids.max", limits.processes),
    }
    groups = []
    for controller, (file, value) in bounds.items():
        group = Path("/sys/fs/cgroup", controller, name)
        with contextlib.suppress(OSError):
            group.mkdir()
            (group / file).write_text(str(value))
            groups.append(group)
    if groups:
        return groups
    with contextlib.suppress(OSError, StopIteration):
        own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines()
                   if line.startswith("0::"))  # fmt: skip
        group = Path("/sys/fs/cgroup", own[3:].lstrip("/")).parent / name
        group.mkdir()
        groups.append(group)  # removed again also if what follows fails
        (group / "memory.max").write_text(str(limits.memory * MEBIBYTE))
        (group / "pids.max").write_text(str(limits.processes))
    return groups


def _size(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            total += entry.stat(follow_symlinks=False).st_size + 100
    return total
