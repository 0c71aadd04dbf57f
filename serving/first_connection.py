"""A lesson's first line to its policy server, `serving.connect`, says what it found there."""

from __future__ import annotations

from pathlib import Path

from serving.client import PolicyClient
from serving.command_line import flags
from serving.protocol import (
    POLICY_SERVER_PORT,
    PolicyServerError,
    ServerUnreachable,
    Status,
)


def connect(
    observation_size: int | None = None,
    action_size: int | None = None,
    run: str | None = None,
    checkpoint_file: str | None = None,
    address: str = f"http://localhost:{POLICY_SERVER_PORT}",
    token: str | None = None,
    **options,
) -> PolicyClient:
    """A client of the policy server at `address`. Prints what it found there, and what to do if it
    is not what was expected: nobody, or a server that was started for something else.

    observation_size, action_size, run, checkpoint_file
        what the server is expected to have been started with; what is None is not looked at
    options
        more of the command that starts it: `updates_per_step=1` is `--updates-per-step=1`

    Raises nothing because of what it found: the client is returned all the same, and its errors
    name the command too.
    """
    wanted = {
        "action_size": action_size,
        "observation_size": observation_size,
        "run": run,
        "checkpoint_file": checkpoint_file,
        **options,
    }
    client = PolicyClient(address, token)
    if f":{POLICY_SERVER_PORT}" not in client.address:
        wanted["port"] = client.address.rpartition(":")[2]
    client.start_with = command(**wanted)
    try:
        status = client.status()
    except ServerUnreachable as error:
        print(f"✗ {error}")
        return client
    except PolicyServerError as error:
        print(f"✗ The policy server at {client.address} does not talk to us: {error}")
        return client
    print(found(status, client.address))
    if wrong := differences(status, observation_size, action_size, run, checkpoint_file):
        print(
            f"✗ It was started for something else: {wrong}. Stop it with Ctrl-C in its terminal, "
            f"and then type\n\n    {client.start_with}\n"
        )
    return client


def command(**options) -> str:
    """The command that starts a policy server with `options`; None leaves one out."""
    given = flags(**options) or ["--help"]
    return " ".join(["python serving/simple_policy_server.py", *given])


def found(status: Status, address: str) -> str:
    """Which server this is, in a sentence or two."""
    sizes = f"{status.observation_size} numbers an observation, {status.action_size} actions"
    checkpoint = ""
    if status.checkpoint_file:
        checkpoint = f", checkpoint {Path(status.checkpoint_file).name!r}"
    learned = "it has not learned anything yet"
    if status.updates or status.env_steps:
        learned = f"it has learned from {status.env_steps:,} steps so far"
    if status.state not in ("learning", "idle"):
        why = f": {status.why}" if status.why else ""
        learned += f", and its learner is {status.state}{why}"
    return f"Policy server at {address}: {status.run}, {sizes}{checkpoint}; {learned}."


def differences(
    status: Status,
    observation_size: int | None = None,
    action_size: int | None = None,
    run: str | None = None,
    checkpoint_file: str | None = None,
) -> str:
    """What of a server is not as expected, in words; "" if all is."""
    said = []
    for what, expected, came in (
        ("numbers an observation", observation_size, status.observation_size),
        ("actions", action_size, status.action_size),
    ):
        if expected not in (None, came):
            said.append(f"{came} {what} instead of {expected}")
    if run not in (None, status.run):
        said.append(f"{status.run} instead of {run}")
    name = Path(status.checkpoint_file).name if status.checkpoint_file else "none"
    if checkpoint_file is not None and Path(checkpoint_file).name != name:
        said.append(f"checkpoint {name!r} instead of {Path(checkpoint_file).name!r}")
    return ", ".join(said)
