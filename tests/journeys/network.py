"""A network of one's own, in which the ports that the lessons name are free."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys

PORTS = (8900, 3000)  # of the lessons' policy servers and of the Pong page

# Holds the network, with nothing in it but a loopback, until its standard input is closed.
HOLD = """import fcntl, socket, struct, sys
with socket.socket() as probe:  # SIOCSIFFLAGS: IFF_UP | IFF_RUNNING
    fcntl.ioctl(probe, 0x8914, struct.pack("16sh", b"lo", 0x41))
print("up", flush=True)
sys.stdin.read()"""


class Network:
    """Linux's network namespace: programs in it see each other and nothing else, and nobody else
    sees them. The lessons' own commands with the lessons' own ports run in several of them at a
    time, beside whatever listens on this machine.

    Where there is none to be had (another system, or the kernel does not let us) it is the
    machine's own network, if the lessons' ports are free in it; `problem` is a sentence if not.
    """

    def __init__(self):
        self.enter: list[str] = []  # goes in front of a command
        self.problem: str | None = None
        self._holder: subprocess.Popen | None = None
        if not self._own():
            taken = [port for port in PORTS if _answers(port)]
            if taken:
                self.problem = (
                    f"there is no network namespace to be had, and port {taken[0]}, which the "
                    "lessons name, is taken by somebody else"
                )

    def _own(self) -> bool:
        if not (shutil.which("unshare") and shutil.which("nsenter")):
            return False
        root = os.geteuid() == 0
        self._holder = subprocess.Popen(
            ["unshare", "--net", *([] if root else ["--map-root-user"]), sys.executable, "-c", HOLD],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        if self._holder.stdout.readline() != "up\n":
            self.close()
            return False
        who = [] if root else ["--user", "--preserve-credentials"]
        self.enter = ["nsenter", f"--target={self._holder.pid}", "--net", *who, "--"]
        return True

    def close(self) -> None:
        if self._holder:
            self._holder.stdin.close()
            self._holder.wait(10)
            self._holder.stdout.close()
            self._holder = None


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
