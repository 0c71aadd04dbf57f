"""The last lines of something that goes on, below a cell: one output that changes in place."""

from __future__ import annotations

import html
import threading
import time
from collections import deque
from collections.abc import Callable

SHOWN = 12  # lines
REDRAW_EVERY = 0.3  # seconds at least

# Its height does not change, so that nothing on the page jumps while lines come.
STYLE = (
    "height: 19em; overflow: hidden; display: flex; flex-direction: column-reverse; margin: 0; "
    "padding: .4em .8em; border: 1px solid rgba(128, 128, 128, .4); border-radius: 4px; "
    "font-size: 85%; line-height: 1.4; white-space: pre-wrap; color: inherit; background: none"
)


class Lines:
    """Lines that may come from any thread.

    about
        says in a few words how things are: a line below the others
    """

    def __init__(self, about: Callable[[], str]):
        self._about = about
        self._lines: deque[str] = deque(maxlen=SHOWN)
        self._display = None
        self._news = threading.Event()
        self._drawing = threading.Lock()
        self._drawer: threading.Thread | None = None

    def add(self, line: str) -> None:
        self._lines.append(line)
        self._news.set()

    def show(self) -> None:
        """Below the cell that runs now, from now on; what was shown before stays as it is."""
        from IPython.display import display

        with self._drawing:
            self._display = display(self._bundle(), raw=True, display_id=True)
        if self._drawer is None:
            self._drawer = threading.Thread(target=self._draw_news, daemon=True, name="lines")
            self._drawer.start()

    def draw(self) -> None:
        """Draws now; lines that come are drawn soon."""
        with self._drawing:
            if self._display is not None:
                self._news.clear()
                self._display.update(self._bundle(), raw=True)

    def _draw_news(self) -> None:
        while self._news.wait():
            self.draw()
            time.sleep(REDRAW_EVERY)

    def _bundle(self) -> dict[str, str]:
        text = "\n".join([*self._lines, f"[{self._about()}]"])
        return {
            "text/plain": text,
            "text/html": f'<pre style="{STYLE}"><span>{html.escape(text)}</span></pre>',
        }
