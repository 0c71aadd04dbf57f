"""Attaches to every process, to write into its memory."""

import ctypes
import os

libc = ctypes.CDLL(None)
for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
    if pid != os.getpid() and libc.ptrace(16, pid, 0, 0) == 0:
        print("traced", pid, open(f"/proc/{pid}/cmdline").read())
        libc.ptrace(17, pid, 0, 0)
