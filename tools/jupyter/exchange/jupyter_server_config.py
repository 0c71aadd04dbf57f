"""Where the machine has an Exchange of nbgrader's: students' menu has the *Assignment List*, too."""

c = get_config()  # noqa: F821 - traitlets defines it

# Said anew as a whole: the part that lists assignments is not among them.
c.ServerApp.jpserver_extensions = {
    f"nbgrader.server_extensions.{name}": False for name in ("formgrader", "course_list")
}
