"""nbgrader, of which students press *Validate* only."""

from serving.connection import GRADING
from serving.protocol import POLICY_SERVER_PORT

c = get_config()  # noqa: F821 - traitlets defines it

# A cell that hangs is interrupted, and the kernel leaves the student's own server alone.
c.Execute.timeout = 120
c.Execute.interrupt_on_timeout = True
TELL_THE_KERNEL = f'__import__("os").environ["{GRADING}"] = "{POLICY_SERVER_PORT}"'
c.Execute.extra_arguments = [f"--IPKernelApp.exec_lines={TELL_THE_KERNEL}"]
