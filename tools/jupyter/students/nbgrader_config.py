"""nbgrader for students: *Validate*, and handing in where the machine has an Exchange.

`make lab` names this folder to Jupyter, so that it counts in whatever folder nbgrader looks around.
"""

import os
from pathlib import Path

from serving.connection import GRADING
from serving.protocol import POLICY_SERVER_PORT

c = get_config()  # noqa: F821 - traitlets defines it

# A cell that hangs is interrupted, and the kernel leaves the student's own server alone.
c.Execute.timeout = 120
c.Execute.interrupt_on_timeout = True
TELL_THE_KERNEL = f'__import__("os").environ["{GRADING}"] = "{POLICY_SERVER_PORT}"'
c.Execute.extra_arguments = [f"--IPKernelApp.exec_lines={TELL_THE_KERNEL}"]

c.CourseDirectory.course_id = "online-learning"
# What is not handed in: notes on one's progress, policies, the feedback on what was handed in before.
c.CourseDirectory.ignore = [
    *(".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback"),
    *(".progress.json*", "*.checkpoints", "*.logs"),
]
# A lesson that comes with the kit is the one that is handed in, and another one comes beside it. In
# a kit that is everybody's, as on a hub, nothing can be kept: there lessons come into the home.
LESSONS = Path(__file__).resolve().parents[3] / "lessons"
if os.access(LESSONS, os.W_OK):
    c.Exchange.assignment_dir = str(LESSONS)
