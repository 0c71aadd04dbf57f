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
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", "")

from serving.connection import GRADING  # noqa: E402
from serving.protocol import POLICY_SERVER_PORT  # noqa: E402

c = get_config()  # noqa: F821 - traitlets defines it

c.CourseDirectory.course_id = "online-learning"
c.CourseDirectory.root = ROOT
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "lessons"
# What Jupyter leaves behind is no part of an assignment.
c.CourseDirectory.ignore = [
    *(".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback"),
    *(".progress.json*", "*.checkpoints", "*.logs"),
]

# Its front page would show this configuration, and warns each time that part of Jupyter's own cannot be.
c.FormgradeExtension.debug = False

# Classes are named by strings, here and below: Jupyter's server reads this file, too, and needs none.
c.GenerateAssignment.preprocessors = [
    "nbgrader.preprocessors.IncludeHeaderFooter",
    "nbgrader.preprocessors.LockCells",
    "nbgrader.preprocessors.ClearSolutions",
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.CheckCellMetadata",
    "nbgrader.preprocessors.ComputeChecksums",
    "nbgrader.preprocessors.SaveCells",
    "nbgrader.preprocessors.ClearHiddenTests",
    "nbgrader.preprocessors.ComputeChecksums",
    "nbgrader.preprocessors.CheckCellMetadata",
    "tools.pictures.EmbedPictures",
]
c.ClearSolutions.code_stub = {
    "python": 'raise NotImplementedError("replace this line with your own code")'
}

# Of *Validate*, which runs in the students' JupyterLab: a cell that hangs is interrupted.
c.Execute.timeout = 120
c.Execute.interrupt_on_timeout = True
# A busy computer may need more than 4 s to hand over what a cell printed (Ray's start, in lesson 05).
c.Execute.iopub_timeout = 60
# Its kernel runs all cells of a student's notebook, beside the student's own server: it is told to
# leave that alone. (nbgrader tells it by NBGRADER_VALIDATING, too, which after an accident stays
# behind in Jupyter's environment, and then every kernel would take itself for a validator's.)
TELL_THE_KERNEL = f'__import__("os").environ["{GRADING}"] = "{POLICY_SERVER_PORT}"'
c.Execute.extra_arguments = [f"--IPKernelApp.exec_lines={TELL_THE_KERNEL}"]

c.Autograde.exporter_class = "serving.examiner.submission.SubmissionExporter"
c.Autograde.sanitize_preprocessors = [
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "serving.examiner.submission.RestoreCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.Autograde.autograde_preprocessors = [
    "serving.examiner.kernel.GradingExecute",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "serving.examiner.submission.SaveRemarks",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]

# Students read what was wrong, not how it was tested. Made anew each time: points and comments that
# were given by hand since would be missing in an old one.
c.GenerateFeedback.force = True
c.GenerateFeedback.exporter_class = "tools.feedback.FeedbackExporter"
c.GenerateFeedback.preprocessors = [
    "nbgrader.preprocessors.GetGrades",
    "tools.feedback.HideTests",
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]
# Of the formgrader's pages, too.
c.HTMLExporter.preprocessors = ["tools.feedback.WrapLines", "tools.feedback.DrawFormulas"]

c.ExportApp.plugin_class = "tools.grades.GradesTable"
