"""Tries the ways out of a sandbox that need privileges."""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
print("mount", libc.mount(b"none", b"/usr", b"tmpfs", 0, None), ctypes.get_errno())
print("unshare", libc.unshare(0x10000000), ctypes.get_errno())
for call in (lambda: os.chroot("/tmp"), lambda: os.setuid(0), lambda: os.mknod("/tmp/sda", 0o60600),
             lambda: os.listdir("/proc/1/root/root"), lambda: open("/usr/bin/escaped", "w"),
             lambda: open("/proc/sys/kernel/core_pattern", "w").write("|/tmp/x")):
    try:
        print(call())
    except OSError as error:
        print(error)
