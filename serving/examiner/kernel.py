"""What nbgrader's Autograde does differently here: its kernel is in a sandbox, and its points come
from the examiner's ledger.

`GradingExecute` takes the place of nbgrader's `Execute` in `nbgrader_config.py`. It starts an examiner,
runs the notebook in a sandbox, tells the examiner which graded cell begins and which is over, and
then writes the verdicts into the outputs of the graded cells, whatever the kernel printed there: nbgrader's
own `SaveAutoGrades` reads the points from these.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec
from jupyter_client import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader import utils
from nbgrader.preprocessors import Execute

from serving.connection import GRADING
from serving.examiner import evidence
from serving.examiner.examination import NOT_ASKED
from serving.examiner.lessons import EXAMINATIONS
from serving.examiner.sandbox import ONE_THREAD, Box, Limits, Warden, require_sandbox
from serving.examiner.submission import MISSING
from serving.protocol import POLICY_SERVER_PORT

TRUST = "GRADE_WITHOUT_SANDBOX"
EXAMINER = "EXAMINER"  # tells the kernel where the examiner listens: see serving.examiner.candidate
# A policy needs time to learn; students' own cells find no server here, and end at once. A cell that
# hangs is interrupted, and the next ones are graded.
SECONDS_FOR_A_TEST, SECONDS_FOR_A_CELL = 900, 90
SECONDS_UNTIL_READY = 60.0  # from the beginning of a graded cell: one before it may hang
SECONDS_AFTER_A_VERDICT = 10.0
SECONDS_FOR_A_LAST_WORD = 20.0


class GradingKernelManager(AsyncKernelManager):
    """Starts its kernel in a sandbox, and tells it, and nobody else, that this is grading.

    nbgrader's own configuration file is no place for that: nbgrader's extensions of JupyterLab read
    it too, and then every kernel and every terminal of the students would be told.
    """

    box: Box | None = None
    warden: Warden | None = None

    async def start_kernel(self, **options) -> None:
        if self.box is None:
            self.box = Box(limits(), sandboxed=sandbox_is_wanted())
        self.transport, self.ip = "ipc", str(self.box.sockets / "k")
        self.connection_file = str(self.box.sockets / "connection.json")
        # A message, as a signal from outside would meet the sandbox and not the kernel.
        self.kernel_spec.interrupt_mode = "message"
        environment = {**os.environ, **(options.pop("env", None) or {}), **self.told()}
        environment.pop("JPY_PARENT_PID", None)  # of another world than the kernel's
        await super().start_kernel(env=environment, **options)
        self.warden = Warden(self.provisioner.process.pid, self.box)

    def told(self) -> dict[str, str]:
        """What the kernel is told by its environment."""
        return {
            # The servers that grade take free ports; one at the lessons' port is somebody's own.
            GRADING: str(POLICY_SERVER_PORT),
            EXAMINER: str(self.box.sockets / "examiner"),
        }

    def format_kernel_cmd(self, extra_arguments=None) -> list[str]:
        command = super().format_kernel_cmd(extra_arguments)
        return self.box.command(command, self.told())

    async def cleanup_resources(self, restart: bool = False) -> None:
        await super().cleanup_resources(restart)
        if self.warden:
            self.warden.stop()
            self.warden.end("")  # whatever it has left behind
        self.box.remove()


class GradingExecute(Execute):
    """nbgrader's `Execute`, with an examiner and in a sandbox. The option
    `Execute.kernel_manager_class` would not do: nbgrader overrides it."""

    def __init__(self, **options):
        defaults = {"kernel_manager_class": GradingKernelManager, "timeout_func": seconds_for}
        super().__init__(**{**defaults, **options})
        self.shutdown_kernel = "immediate"
        # What a cell prints decides nothing, and on a busy machine it may come late.
        self.iopub_timeout, self.raise_on_iopub_timeout = 20, False

    def preprocess(self, nb, resources, km=None):
        sandboxed = sandbox_is_wanted()
        lesson = resources["nbgrader"]["assignment"]
        self._dead: str | None = None
        self._examiner: ExaminerProcess | None = None
        self.verdicts: dict[str, dict] = {}
        self.remarks: list[str] = []
        self.box = Box(limits(), sandboxed)
        try:
            self.box.take_in(resources["metadata"]["path"])
            if lesson in EXAMINATIONS:
                self._examiner = ExaminerProcess(lesson, self.box)
            try:
                nb, resources = super().preprocess(nb, resources, km)
            except (DeadKernelError, RuntimeError) as error:
                # It did not even start, or was gone before its first cell.
                self._dead = self._dead or self._reason(str(error))
            if self._examiner:
                self._write_verdicts(nb)
                self._examiner.close()  # writes its tape
                self._keep_evidence(resources["nbgrader"])
        finally:
            if self._examiner:
                self._examiner.close()
            self.box.remove()
        return nb, resources

    def create_kernel_manager(self):
        manager = super().create_kernel_manager()
        manager.box = self.box
        return manager

    def preprocess_cell(self, cell, resources, index):
        if self._dead:
            return cell, resources
        question = graded(cell) if self._examiner else None
        if question:
            self._examiner.begin(question, self.km.warden)
        try:
            cell, resources = super().preprocess_cell(cell, resources, index)
        except DeadKernelError:
            self._dead = self._reason("its kernel ended by itself")
        if question:
            self.verdicts[question] = self._examiner.over(question, self.km.warden)
        return cell, resources

    def _reason(self, otherwise: str) -> str:
        warden = getattr(self.km, "warden", None)
        return (warden and warden.reason) or otherwise

    def _write_verdicts(self, nb: NotebookNode) -> None:
        """Into the outputs of the graded cells, last of all: cells can change each other's."""
        if self._dead:
            self.remarks.append(f"stopped: {self._dead}")
        for cell in nb.cells:
            if not (question := graded(cell)):
                continue
            verdict = self.verdicts.setdefault(question, {"sentence": None, "seconds": 0.0})
            if cell.source.startswith("# " + MISSING.format(cell_id=question).strip()):
                self.remarks.append(f"{question} was missing")
                verdict["sentence"] = (
                    "this graded cell was missing in what was handed in: it earns nothing, and the "
                    "others are graded as ever"
                )
            elif "question" not in verdict:
                verdict["sentence"] = f"this was not asked any more: {self._dead or 'nobody asked'}"
            elif self._dead and verdict["sentence"]:
                verdict["sentence"] += f" ({self._dead})"
            elif verdict["sentence"] == NOT_ASKED and (said := _error_of(cell)):
                verdict["sentence"] = f"{NOT_ASKED}; it says: {said}"
            verdict["question"] = question
            cell.outputs = [] if verdict["sentence"] is None else [_failed(verdict["sentence"])]

    def _keep_evidence(self, about: dict) -> None:
        """A file for each submission: see `serving.examiner.evidence`."""
        into = os.environ.get("GRADE_EVIDENCE")
        if not into and not str(about.get("db_url", "")).startswith("sqlite:///"):
            return
        folder = Path(into or Path(about["db_url"].removeprefix("sqlite:///")).parent / "grading")
        kept = {
            "lesson": about["assignment"],
            "student": about["student"],
            "graded": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seed": self._examiner.seed,
            "sandboxed": self.box.sandboxed,
            "versions": evidence.versions(),
            "verdicts": list(self.verdicts.values()),
            "remarks": self.remarks,
            "tape": self._examiner.tape,
        }
        name = f"{about['student']}{evidence.SUFFIX}"
        evidence.write(folder / "evidence" / about["assignment"] / name, kept)


class ExaminerProcess:
    """The grader's end of an examiner's standard input and output: see serving.examiner.process."""

    def __init__(self, lesson: str, box: Box):
        self.seed = secrets.randbits(31)  # of what is drawn for this submission
        self.tape: list | None = None  # what it has heard, when it is closed
        # Not in the sandbox's folder, which goes with the kernel.
        self._notes = tempfile.TemporaryDirectory(prefix="examiner-", ignore_cleanup_errors=True)
        self._log = open(box.folder / "examiner.log", "wb")  # noqa: SIM115 - closed by close()
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "serving.examiner", f"--lesson={lesson}",
                f"--socket={box.sockets / 'examiner'}", f"--seed={self.seed}",
                f"--tape={self._notes.name}/tape",
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env={**os.environ, **ONE_THREAD},
        )  # fmt: skip
        self._said: queue.Queue[dict] = queue.Queue()
        self._patience: threading.Timer | None = None
        self._warden: Warden | None = None
        threading.Thread(target=self._read, daemon=True).start()
        if self._next(60.0).get("event") != "listens":
            self._log.flush()
            said = (box.folder / "examiner.log").read_text()[-2000:]
            raise RuntimeError(f"the examiner did not start: {said}")

    def begin(self, question: str, warden: Warden | None) -> None:
        """A graded cell begins: from now on the notebook may say that it is ready."""
        self._warden = warden
        self._wait(SECONDS_UNTIL_READY, "a cell before this one went on when its time was up")
        self._tell({"begin": question})

    def over(self, question: str, warden: Warden | None) -> dict:
        """The graded cell is over: the verdict on it."""
        self._tell({"over": question})
        verdict = self._next(SECONDS_FOR_A_LAST_WORD)
        if not verdict and warden:  # somebody in the notebook is still talking to it
            warden.end("it went on when the graded cell was over")
            verdict = self._next(SECONDS_FOR_A_LAST_WORD)
        self._wait(0, "")
        sentence = "the examiner has no verdict on this cell"
        return verdict or {"question": question, "sentence": sentence, "seconds": 0.0}

    def close(self) -> None:
        if self._log.closed:
            return
        self._wait(0, "")
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(SECONDS_FOR_A_LAST_WORD)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            self.tape = msgspec.msgpack.decode((Path(self._notes.name) / "tape").read_bytes())
        self._notes.cleanup()

    def _tell(self, command: dict) -> None:
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it has ended: there will be no verdict

    def _next(self, seconds: float) -> dict:
        try:
            return self._said.get(timeout=seconds)
        except queue.Empty:
            return {}

    def _read(self) -> None:
        for line in self._process.stdout:
            said = json.loads(line)
            if said.get("event") == "ready":
                self._wait(0, "")
            elif said.get("event") == "decided":
                self._wait(SECONDS_AFTER_A_VERDICT, "it went on when its time was up")
            else:
                self._said.put(said)
        self._said.put({})

    def _wait(self, seconds: float, reason: str) -> None:
        """Ends the kernel after so many seconds, unless called again before that; 0: does not."""
        if self._patience:
            self._patience.cancel()
        self._patience = None
        if seconds and self._warden:
            self._patience = threading.Timer(seconds, self._warden.end, [reason])
            self._patience.daemon = True
            self._patience.start()


def seconds_for(cell: NotebookNode) -> int:
    """How long a cell may take before it is interrupted."""
    is_test = cell.metadata.get("nbgrader", {}).get("grade", False)
    return SECONDS_FOR_A_TEST if is_test else SECONDS_FOR_A_CELL


def graded(cell: NotebookNode) -> str | None:
    """The grade_id of a cell that the examiner decides on."""
    if cell.cell_type != "code" or not utils.is_grade(cell) or utils.is_solution(cell):
        return None
    return cell.metadata.nbgrader["grade_id"]


def limits() -> Limits:
    """What a submission may use: GRADE_MEMORY in MiB, GRADE_SECONDS, else what is usual."""
    wanted = {"memory": "GRADE_MEMORY", "seconds": "GRADE_SECONDS"}
    return Limits(**{name: int(os.environ[of]) for name, of in wanted.items() if of in os.environ})


def sandbox_is_wanted() -> bool:
    """Whether to use the sandbox; raises NoSandbox if it is wanted and there is none."""
    if os.environ.get(TRUST):
        return False
    require_sandbox()
    return True


def _error_of(cell: NotebookNode) -> str:
    """The error that the cell shows, if it does: good to know, and worth nothing."""
    errors = [output for output in cell.outputs if output.output_type == "error"]
    return f"{errors[0].ename}: {errors[0].evalue}"[:300] if errors else ""


def _failed(sentence: str) -> NotebookNode:
    return new_output(
        "error", ename="AssertionError", evalue=sentence, traceback=[f"AssertionError: {sentence}"]
    )
