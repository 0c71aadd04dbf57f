"""What students have no use for stays out of their way; `make lab INSTRUCTOR=1` does without this.

It hides and protects nothing: a copy that students should not look into has no `solutions/`.
"""

c = get_config()  # noqa: F821 - traitlets defines it

# Nothing is listed in the file browser that only instructors, and those who change the kit, need.
c.ContentsManager.hide_globs = [
    *("__pycache__", "*.py[co]", ".DS_Store", "*~", "*.egg-info"),
    *("solutions", "tests", "submitted", "autograded", "gradebook.db*"),
    *("nbgrader_config.py", "pyproject.toml", "requirements.lock", "environment.yml", "postBuild"),
    *("Makefile", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CITATION.cff"),
    *("BENCHMARKS.md", "LICENSE", "requirements.hashes", "images", "tools"),
]

# nbgrader's part in the server, too: of all of it students press *Validate* only.
c.ServerApp.jpserver_extensions = {
    f"nbgrader.server_extensions.{name}": False
    for name in ("formgrader", "assignment_list", "course_list")
}
