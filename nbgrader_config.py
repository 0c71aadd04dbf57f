"""nbgrader: `solutions/` is what instructors write, `lessons/` is what students get.

nbgrader generate_assignment 01-serve-and-learn --force     (or: make lessons)
nbgrader autograde 01-serve-and-learn
nbgrader generate_feedback 01-serve-and-learn
"""

import os
import sys

ROOT = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, ROOT)
# nbgrader starts `alembic` and `jupyter` by name: let it find those of this environment.
os.environ["PYTHONPATH"] = ROOT + os.pathsep + os.environ.get("PYTHONPATH", "")
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", "")

from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor  # noqa: E402
from nbgrader.converters import Autograde  # noqa: E402
from nbgrader.preprocessors import Execute, GetGrades  # noqa: E402

from serving.connection import GRADING  # noqa: E402
from serving.examiner.kernel import GradingExecute  # noqa: E402
from serving.protocol import POLICY_SERVER_PORT  # noqa: E402
from tools.feedback import HideTests  # noqa: E402

c = get_config()  # noqa: F821 - traitlets defines it

c.CourseDirectory.course_id = "online-learning"
c.CourseDirectory.root = ROOT
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "lessons"
# What Jupyter leaves behind is no part of an assignment.
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "*.checkpoints", "*.logs"]

c.ClearSolutions.code_stub = {
    "python": 'raise NotImplementedError("replace this line with your own code")'
}

# A policy needs time to learn; students' own cells find no server here, and end at once. A cell that
# hangs is interrupted, and the next ones are graded.
SECONDS_FOR_A_TEST, SECONDS_FOR_A_CELL = 600, 30


def seconds_for(cell):
    is_test = cell.metadata.get("nbgrader", {}).get("grade", False)
    return SECONDS_FOR_A_TEST if is_test else SECONDS_FOR_A_CELL


c.Execute.timeout_func = seconds_for
c.Execute.interrupt_on_timeout = True

# The kernel of *Validate* runs all cells of a student's notebook, beside the student's own server: it
# is told to leave that alone. (nbgrader tells it by NBGRADER_VALIDATING, too, which after an accident
# stays behind in Jupyter's environment, and then every kernel would take itself for a validator's.)
TELL_THE_KERNEL = f'__import__("os").environ["{GRADING}"] = "{POLICY_SERVER_PORT}"'
c.Execute.extra_arguments = [f"--IPKernelApp.exec_lines={TELL_THE_KERNEL}"]

# Of Autograde only: *Validate* runs in the students' JupyterLab, and grades nobody.
c.Autograde.autograde_preprocessors = [
    GradingExecute if preprocessor is Execute else preprocessor
    for preprocessor in Autograde.class_traits()["autograde_preprocessors"].default()
]

# Students read what was wrong, not how it was tested.
c.GenerateFeedback.preprocessors = [GetGrades, HideTests, CSSHTMLHeaderPreprocessor]
