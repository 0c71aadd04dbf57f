"""A class graded by a Ray cluster: two nodes in network namespaces of this machine, one of which is lost."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from grading import NEEDS_SANDBOX, ROOT, Course, reference_answers
from leftovers import MARK, end, free_port, marked_processes

from serving.ray_cluster import OBJECT_STORE
from tools.course import digest_of
from tools.grade_on_ray import kit_of

LESSON = "03-learn-from-logs"
WEIGHT = {"importance_weight": reference_answers(LESSON)["importance_weight"]}  # 3 of its points
ATTEMPTS = 3  # on a busy machine one may fail: Ray gives itself half a minute to start
GRADE = [sys.executable, str(ROOT / "tools" / "grade.py"), LESSON]


def why_no_hosts() -> str | None:
    """Why there can be no hosts in namespaces of this machine; None if there can."""
    if os.getuid() != 0 or not shutil.which("ip"):
        return "network namespaces need root and `ip`"
    name = f"ray{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, timeout=30)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, timeout=30)
    return None if tried.returncode == 0 else f"no network namespaces: {tried.stderr.strip()}"


pytestmark = [
    NEEDS_SANDBOX,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]


class Cluster:
    """Ray on two hosts that see each other and nobody else."""

    def __init__(self):
        self.names = [f"ray{os.getpid()}{letter}" for letter in "ab"]
        self.hosts = [f"10.77.0.{number}" for number in (1, 2)]
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets need a short path
        self.address = f"{self.hosts[0]}:{free_port()}"
        token = self.folder / "token"
        token.write_text(secrets.token_hex(32))
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        self.environment = {
            **environment,
            MARK: str(self.folder),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
        }

    def start(self) -> None:
        for name in self.names:
            ip("netns", "add", name)
        veth = [f"v{os.getpid()}{letter}" for letter in "ab"]
        ip("link", "add", veth[0], "netns", self.names[0], "type", "veth",
           "peer", "name", veth[1], "netns", self.names[1])  # fmt: skip
        for name, host, other, end_of_it in zip(
            self.names, self.hosts, reversed(self.hosts), veth, strict=True
        ):
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "addr", "add", f"{host}/24", "dev", end_of_it)
            ip("-n", name, "link", "set", end_of_it, "up")
            # Ray takes the address that leads out for a node's own.
            ip("-n", name, "route", "add", "default", "via", other)
        self._start(0, "--head", f"--port={self.address.split(':')[1]}", "--include-dashboard=false",
                    f"--temp-dir={self.folder}")  # fmt: skip
        self._start(1, f"--address={self.address}")

    def on(self, host: int, command: list[str]) -> list[str]:
        return ["ip", "netns", "exec", self.names[host], *command]

    def processes(self, host: int) -> list[psutil.Process]:
        pids = subprocess.run(
            ["ip", "netns", "pids", self.names[host]], capture_output=True, text=True, check=True
        ).stdout.split()
        return [psutil.Process(int(pid)) for pid in pids if psutil.pid_exists(int(pid))]

    def lose(self, host: int) -> None:
        """As when a machine is switched off."""
        for process in self.processes(host):
            process.kill()

    def stop(self) -> None:
        for host, name in enumerate(self.names):
            if Path("/run/netns", name).exists():
                end(self.processes(host))
                ip("netns", "delete", name)
        end(marked_processes(str(self.folder)))
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, host: int, *options: str) -> None:
        ray = str(Path(sys.executable).with_name("ray"))
        # What is killed with its machine cannot clear away what it had there.
        environment = {**self.environment, "TMPDIR": str(self.folder)}
        for _ in range(ATTEMPTS):
            done = subprocess.run(
                self.on(host, [ray, "start", f"--node-ip-address={self.hosts[host]}", "--num-cpus=1",
                               "--include-log-monitor=false", "--disable-usage-stats",
                               f"--object-store-memory={OBJECT_STORE}", *options]),
                capture_output=True, text=True, timeout=180, env=environment,
            )  # fmt: skip
            if done.returncode == 0:
                return
            end(self.processes(host))
        raise RuntimeError(done.stdout + done.stderr)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=30)


@pytest.fixture
def a_cluster(nothing_left_behind):
    if why := why_no_hosts():
        pytest.skip(why)
    cluster = Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def a_course(tmp_path_factory):
    return Course(tmp_path_factory.mktemp("course"), LESSON)


def test_a_lost_nodes_submissions_are_graded_by_the_other(a_course, a_cluster, tmp_path):
    """Do both nodes grade; and when one is switched off in the middle of it, are all graded once, with
    the points, the sentences and the evidence that grading here would have given?"""
    students = [f"student{number}" for number in range(5)]
    for student in students:
        a_course.submit(student, WEIGHT)
    kept = a_course.folder / "grading" / f"{LESSON}.json"
    command = [*GRADE, "--quiet", f"--ray-address={a_cluster.address}", *a_course.options]
    with open(tmp_path / "said", "w") as said:
        grading = subprocess.Popen(
            a_cluster.on(0, command),
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=a_cluster.environment,
        )
    try:
        until = time.monotonic() + 400
        while len(nodes_so_far(kept)) < 2:
            assert grading.poll() is None and time.monotonic() < until, (
                tmp_path / "said"
            ).read_text()
            time.sleep(0.2)
        a_cluster.lose(1)
        assert grading.wait(400) == 0, (tmp_path / "said").read_text()
    finally:
        if grading.poll() is None:
            grading.send_signal(signal.SIGINT)
            grading.wait(60)
    said = (tmp_path / "said").read_text()
    grades = json.loads(kept.read_text())
    assert sorted(grades) == students and {grade["points"] for grade in grades.values()} == {3.0}
    assert said.count("3 of 23") == len(students) and "Traceback" not in said
    assert "Graded by a Ray cluster: " in said and all(host in said for host in a_cluster.hosts)
    for student in students:
        graded = a_course.graded(student)  # the notebook, and that the gradebook says the same
        assert graded.total == 3 and "replay raised NotImplementedError" in str(graded.said)
        assert grades[student]["handed_in"] == digest_of(
            a_course.folder / "submitted" / student / LESSON / f"{LESSON}.ipynb"
        )
    verified = subprocess.run(
        [*GRADE, "--verify", *a_course.options],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr


def nodes_so_far(kept: Path) -> set[str]:
    return (
        {grade["node"] for grade in json.loads(kept.read_text()).values()}
        if kept.exists()
        else set()
    )


def test_no_cluster_is_said(a_course):
    """Does an address at which nobody answers end in a sentence, with nothing graded?"""
    a_course.submit("somebody", {})
    done = subprocess.run(
        [*GRADE, "somebody", f"--ray-address=127.0.0.1:{free_port()}", *a_course.options],
        capture_output=True, text=True, timeout=120, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 1
    assert "nobody answers" in done.stdout and "Traceback" not in done.stdout + done.stderr


def test_another_kit_is_told_from_this(tmp_path):
    """Does one changed rule make another kit, and a file of a student's none?"""
    for name in ("serving", "solutions"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.gz", "static")
        )
    assert kit_of(tmp_path) == kit_of(ROOT)
    (tmp_path / "serving" / "cartpole.checkpoints").mkdir()
    assert kit_of(tmp_path) == kit_of(ROOT)
    with open(tmp_path / "serving" / "examiner" / "exam.py", "a") as file:
        file.write("\n")
    assert kit_of(tmp_path) != kit_of(ROOT)
