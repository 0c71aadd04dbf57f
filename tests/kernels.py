"""A real IPython kernel, asked as a notebook asks it."""

from __future__ import annotations

import contextlib
import queue
import re
import time
from collections.abc import Iterator

from jupyter_client.manager import KernelManager

SECONDS = 60.0


class Kernel:
    """Runs cells; `shown` is what stands below them: one text for each output, in its last form."""

    def __init__(self):
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel()
        self._connect()

    def _connect(self) -> None:
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(SECONDS)
        self.shown: dict[str, str] = {}
        self.updates = 0

    def run(self, code: str, interrupt_after: float | None = None) -> str:
        """What the cell printed, showed or raised, when it has ended."""
        self.shown, asked = {}, self.client.execute(code)
        began = time.monotonic()
        while time.monotonic() < began + SECONDS:
            if interrupt_after is not None and time.monotonic() > began + interrupt_after:
                self.manager.interrupt_kernel()
                interrupt_after = None
            message = self._next(0.1)
            if message is None or message["parent_header"].get("msg_id") != asked:
                continue
            content = message["content"]
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                return self.text
        raise TimeoutError(f"the cell has not ended; it shows {self.text}")

    def value(self, expression: str) -> str:
        """What an expression is, as a cell shows it."""
        return self.run(expression).splitlines()[-1]

    def watch(self, text: str, seconds: float = SECONDS) -> str:
        """Waits until what stands below the cells says `text`, with no cell that runs."""
        until = time.monotonic() + seconds
        while not re.search(text, self.text):
            if time.monotonic() > until:
                raise TimeoutError(f"no {text!r} in {self.text}")
            self._next(0.1)
        return self.text

    @property
    def text(self) -> str:
        return "\n".join(self.shown.values())

    def restart(self) -> None:
        self.client.stop_channels()
        self.manager.restart_kernel()
        self._connect()

    def stop(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel()

    def _next(self, seconds: float) -> dict | None:
        try:
            message = self.client.get_iopub_msg(timeout=seconds)
        except queue.Empty:
            return None
        content, kind = message["content"], message["msg_type"]
        if kind == "stream":
            self.shown["printed"] = self.shown.get("printed", "") + content["text"]
        elif kind in ("display_data", "update_display_data", "execute_result"):
            key = content.get("transient", {}).get("display_id", message["header"]["msg_id"])
            self.updates += kind == "update_display_data"
            self.shown[key] = content["data"].get("text/plain", "")
        elif kind == "error":
            self.shown["error"] = "\n".join(content["traceback"])
        return message


@contextlib.contextmanager
def a_kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    try:
        yield kernel
    finally:
        kernel.stop()
