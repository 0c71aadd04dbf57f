"""The kernel that nbgrader grades in."""

from __future__ import annotations

import os

from jupyter_client import AsyncKernelManager
from nbgrader.preprocessors import Execute

from serving.connection import GRADING
from serving.protocol import POLICY_SERVER_PORT


class GradingKernelManager(AsyncKernelManager):
    """Tells the kernel it starts that this is grading, and tells nobody else.

    nbgrader's own configuration file is no place for that: nbgrader's extensions of JupyterLab read
    it too, and then every kernel and every terminal of the students would be told.
    """

    async def start_kernel(self, **options) -> None:
        environment = {**os.environ, **(options.pop("env", None) or {})}
        # The servers that grade take free ports; one at the lessons' port is somebody's own.
        environment[GRADING] = str(POLICY_SERVER_PORT)
        await super().start_kernel(env=environment, **options)


class GradingExecute(Execute):
    """nbgrader's `Execute`, in a kernel that knows what it is for. The option
    `Execute.kernel_manager_class` would not do: nbgrader overrides it."""

    def __init__(self, **options):
        defaults = {"kernel_manager_class": GradingKernelManager, "timeout_func": seconds_for}
        super().__init__(**{**defaults, **options})


# A policy needs time to learn; students' own cells find no server here, and end at once. A cell that
# hangs is interrupted, and the next ones are graded.
SECONDS_FOR_A_TEST, SECONDS_FOR_A_CELL = 600, 30


def seconds_for(cell) -> int:
    is_test = cell.metadata.get("nbgrader", {}).get("grade", False)
    return SECONDS_FOR_A_TEST if is_test else SECONDS_FOR_A_CELL
