"""Puts a lesson's pictures into the notebook, so that they show wherever it is read."""

import base64
import mimetypes
import re
from pathlib import Path

from nbgrader.preprocessors import NbGraderPreprocessor

PICTURE = re.compile(
    r"!\[(?P<words>[^\]]*)\]\((?P<path>[^):\s]+)\)"
)  # no colon: no address, no data


class EmbedPictures(NbGraderPreprocessor):
    """Files that markdown cells show become the cells' attachments.

    `../../images/dqn.png` is right in `solutions/NAME/` only: a lesson that was fetched into another
    folder, a graded one in `autograded/STUDENT/NAME/`, nbgrader's page for grading by hand and its
    feedback would show a gap. Raises FileNotFoundError if there is no such file.
    """

    def preprocess_cell(self, cell, resources, index):
        if cell.cell_type != "markdown":
            return cell, resources

        def attach(found: re.Match) -> str:
            path = Path(resources["metadata"]["path"], found["path"])
            kind, _ = mimetypes.guess_type(path.name)
            data = base64.b64encode(path.read_bytes()).decode()
            cell.setdefault("attachments", {})[path.name] = {kind: data}
            return f"![{found['words']}](attachment:{path.name})"

        cell.source = PICTURE.sub(attach, cell.source)
        return cell, resources
