"""Finding a running Ray, or starting a small one.

python -m serving.ray_cluster [--verbose]      exit code 0 if a Ray is running here, 1 if not
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import socket
from collections.abc import Iterator

OBJECT_STORE = 80 * 2**20  # bytes; Ray's minimum is 75 MiB
SECONDS_TO_ANSWER = 10.0  # for the machine of a Ray to take a connection
QUIET = {"log_to_driver": False, "logging_level": "ERROR", "ignore_reinit_error": True}


def knock(address: str) -> None:
    """Raises ConnectionError at once if nobody is at HOST:PORT; Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        try:
            socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
        except OSError as error:
            reason = error.strerror or error
            raise ConnectionError(f"nobody answers at {address} ({reason})") from None


def find_ray(address: str = "auto") -> str:
    """The address of a Ray that answers: `address`, or for "auto" the one of RAY_ADDRESS, or else
    any that runs on this machine. Raises ConnectionError if there is none.

    Ray's own "auto" believes a note that the latest `ray start` left in its temporary folder. A Ray
    that was killed, or a machine that was switched off, leaves the note behind.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or "auto"
    if address != "auto":
        knock(address)
        return address
    from ray._private import services

    services.find_gcs_addresses.cache_clear()  # what ran when it was asked before may be gone
    noted = services.find_bootstrap_address(None)
    candidates = [*([noted] if noted else []), *services.find_gcs_addresses()]
    for candidate in candidates:
        try:
            knock(candidate)
            return candidate
        except ConnectionError:
            continue
    raise ConnectionError("no Ray is running on this machine")


def show_token() -> None:
    """This process, and those that it starts, show Ray's token from now on, if there is one. Ray
    does so by itself only for a cluster that it has found by itself."""
    from ray._private.authentication import authentication_token_setup

    authentication_token_setup.logger.setLevel("ERROR")  # it would warn of what is meant to be
    authentication_token_setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


@contextlib.contextmanager
def without_stderr() -> Iterator[None]:
    """Keeps away what is written to descriptor 2, also by Ray's core, which is no Python."""
    nowhere, kept = os.open(os.devnull, os.O_WRONLY), os.dup(2)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def attach_ray(address: str = "auto", **options) -> str:
    """Attaches to the Ray at `address`; "auto": to a running one, or where there is none that can be
    used starts a small one, which ends with this process; "local": starts one in any case, and so
    does "auto" where RAY_ADDRESS says so. `options` go to ray.init().

    Returns a sentence about what it has done; raises ConnectionError if the Ray at an `address`
    given cannot be used, or if none starts.
    """
    if os.environ.get("EXAMINER"):
        return "no Ray while an examiner asks: one process is enough"

    why = ""
    if address != "local" and (address != "auto" or os.environ.get("RAY_ADDRESS") != "local"):
        try:
            _attach(find_ray(address), **options)
            return "attached to a running Ray"
        except AnotherVersion as error:
            if address != "auto":
                raise
            why = f": {error}"
        except ConnectionError:
            if address != "auto":
                raise
    _start(**options)
    return f"started a local Ray{why}"


class AnotherVersion(ConnectionError):
    """A Ray runs there, and processes of this Python and this Ray cannot join it."""


def _start(**options) -> None:
    """Starts a Ray of this process's own. Ray gives up after half a minute, which on a busy machine
    is too early: then it is tried once more."""
    import ray

    for _ in range(2):
        try:
            ray.init(
                address="local",  # without it, a running Ray would be attached to
                num_cpus=os.cpu_count(),
                include_dashboard=False,
                object_store_memory=OBJECT_STORE,
                **QUIET,
                **options,
            )
            return
        except Exception as error:  # noqa: BLE001 - Ray has no narrower one for it
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()  # of what was begun
    raise ConnectionError(
        "Ray has not started within a minute: this machine is very busy. Stop what else runs on it, "
        "such as another lesson's policy server, and try again"
    )


def _attach(address: str, **options) -> None:
    import ray

    show_token()
    try:
        ray.init(address=address, **QUIET, **options)
    except RuntimeError as error:
        if "Version mismatch" not in str(error):
            raise
        ray.shutdown()  # of what was begun
        theirs = re.findall(r"(Ray|Python): (\S+)", str(error))[:2]
        of = " and ".join(f"{name} {version}" for name, version in theirs)
        raise AnotherVersion(
            f"the Ray at {address} is one of {of}, and this is Ray {ray.__version__} and Python "
            f"{platform.python_version()}"
        ) from None


def main() -> int:
    import argparse
    import warnings

    parser = argparse.ArgumentParser(description="Looks whether a Ray is running.")
    parser.add_argument("--verbose", action="store_true", help="say what was found")
    verbose = parser.parse_args().verbose
    warnings.simplefilter("ignore")
    try:
        attach_ray(find_ray())
    except ConnectionError:
        return 1
    import ray

    print("Ray is running.")
    if verbose:
        resources = ray.cluster_resources()
        print(f"  address  {ray.get_runtime_context().gcs_address}")
        print(f"  CPUs     {resources.get('CPU', 0):.0f}")
        print(f"  memory   {resources.get('memory', 0) / 2**30:.1f} GiB")
        print(f"  Ray      {ray.__version__}, Python {platform.python_version()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
