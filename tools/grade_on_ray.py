"""Grades submissions on the nodes of a Ray cluster: tools/grade.py with --ray-address.

Every node has the kit, installed by its own `make`, and joined the cluster with that kit's `ray start`.
A submission and the gradebook travel there, tools/grade.py grades it in a course folder of its own, in
that node's sandbox, and what came of it travels back: points, the graded notebook, its evidence. If a
node is lost, Ray has its submissions graded by another. Each is entered once, when its answer is here.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tools.course import Grade, digest_of, enter, notes_of

SECONDS_TO_END = 30.0  # for a submission that is no longer wanted
RETRIES = 3  # nodes that a submission may lose


class AnotherKit(Exception):
    """A node would grade by other rules."""


def kit_of(root: Path) -> str:
    """A digest of the rules: of all that is in serving/, and of the solutions."""
    digest = hashlib.sha256()
    for path in sorted([*root.glob("serving/**/*.py"), *root.glob("solutions/*/*.ipynb")]):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def grade_there(
    lesson: str, student: str, files: dict[str, bytes], book: bytes, limits: list[str], kit: str
) -> tuple[str, dict[str, bytes]]:
    """On a node: (its address, all files of a course folder in which the submission was graded).

    files: what was handed in; book: the gradebook; limits: options of tools/grade.py; kit: what
    `kit_of` must be here. Raises AnotherKit."""
    import ray

    from serving import ROOT  # of the node

    if kit_of(ROOT) != kit:
        raise AnotherKit(f"the kit in {ROOT} is not the same as here")
    with tempfile.TemporaryDirectory(prefix="grading-") as folder:
        course = Path(folder)
        submitted = course / "submitted" / student / lesson
        submitted.mkdir(parents=True)
        for name, content in files.items():
            (submitted / name).parent.mkdir(parents=True, exist_ok=True)
            (submitted / name).write_bytes(content)
        (course / "gradebook.db").write_bytes(book)
        command = [sys.executable, str(ROOT / "tools" / "grade.py"), lesson, student, *limits,
                   "--quiet", "--num-workers=1", f"--CourseDirectory.db_url=sqlite:///{course}/gradebook.db",
                   *(f"--CourseDirectory.{name}_directory={course / name}"
                     for name in ("submitted", "autograded"))]  # fmt: skip
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            said, _ = process.communicate()
        except BaseException:  # it is no longer wanted
            process.send_signal(signal.SIGINT)
            process.wait(SECONDS_TO_END)
            raise
        if process.returncode:
            raise RuntimeError(said[-2_000:])
        kept = [
            *course.glob("gradebook.db"),
            *course.glob("autograded/**/*"),
            *course.glob("grading/**/*"),
        ]
        return ray.util.get_node_ip_address(), {
            str(path.relative_to(course)): path.read_bytes() for path in kept if path.is_file()
        }


class GradingOnRay:
    """As `tools.grade.Grading`, on the cluster at `options.ray_address`.

    Raises ConnectionError if there is no such Ray, or one that this Python cannot join."""

    def __init__(self, course, options, scratch: Path):
        import ray

        from serving import ROOT
        from serving.ray_cluster import attach_ray, find_ray

        self.course, self.options, self.scratch = course, options, scratch
        attach_ray(find_ray(options.ray_address))
        # Nodes have the kit wherever they like: they are sent the function, not the name of its module.
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        self._task = ray.remote(num_cpus=1, max_retries=RETRIES)(grade_there)
        self._kit = kit_of(ROOT)
        self.at_once = options.num_workers or int(ray.cluster_resources().get("CPU", 1))
        self.running: dict[str, tuple] = {}  # the answer to come, and since when

    def start(self, student: str) -> None:
        folder = self.course.notebook(student).parent
        files = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        limits = [f"--timeout={self.options.timeout}", f"--memory={self.options.memory}"]
        book = Path(self.course.gradebook).read_bytes()
        answer = self._task.remote(self.course.lesson, student, files, book, limits, self._kit)
        self.running[student] = answer, time.monotonic()

    def finished(self) -> list:
        """Those whose answers are here, entered into the gradebook."""
        import ray

        grades = []
        for student, (answer, began) in list(self.running.items()):
            if not ray.wait([answer], timeout=0)[0]:
                continue
            del self.running[student]
            grades.append(self._grade(student, answer, time.monotonic() - began))
        return grades

    def stop(self) -> None:
        import ray

        for answer, _ in self.running.values():
            ray.cancel(answer)
        if self.running:
            answers = [answer for answer, _ in self.running.values()]
            ray.wait(answers, num_returns=len(answers), timeout=SECONDS_TO_END)
        ray.shutdown()

    def _grade(self, student: str, answer, seconds: float) -> Grade:
        import ray

        digest = digest_of(self.course.notebook(student))
        try:
            node, files = ray.get(answer)
        except ray.exceptions.RayTaskError as error:
            why = str(error.cause).strip().splitlines() or [type(error.cause).__name__]
            return Grade(student, None, 0.0, seconds, f"not graded: {why[-1][:200]}", digest)
        except ray.exceptions.RayError as error:
            why = f"{1 + RETRIES} nodes were lost with it ({type(error).__name__})"
            return Grade(student, None, 0.0, seconds, f"not graded: {why}", digest)
        return self._enter(student, node, files)

    def _enter(self, student: str, node: str, files: dict[str, bytes]) -> Grade:
        """What nbgrader would have written here if it had graded here."""
        lesson, notes = self.course.lesson, json.loads(files[f"grading/{self.course.lesson}.json"])
        grade = Grade(**{**notes[student], "node": node})
        if grade.max_points:  # it was not stopped before there was anything to enter
            book = self.scratch / f"{student}.db"
            book.write_bytes(files["gradebook.db"])
            grade.points, grade.max_points, _ = enter(self.course, student, book)
            book.unlink()
            autograded = self.course.autograded(student)
            shutil.rmtree(autograded, ignore_errors=True)
            _write(files, f"autograded/{student}/{lesson}/", autograded)
        evidence = notes_of(self.course) / "evidence"
        _write(files, "grading/evidence/", evidence)
        return grade


def _write(files: dict[str, bytes], below: str, folder: Path) -> None:
    for name, content in files.items():
        if name.startswith(below):
            path = folder / name.removeprefix(below)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def nodes_of(grades: list) -> str:
    """How many were graded where, in a line; nothing if all were graded here."""
    nodes = Counter(grade.node for grade in grades if grade.node)
    return ", ".join(f"{number} on {node}" for node, number in sorted(nodes.items()))
