"""JupyterLab as a person uses it: keyboard, mouse, and what can be read on the screen."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

from kit import RunningLab
from playwright.sync_api import Frame, FrameLocator, Locator, Page, WebSocket, expect

SCREEN = {"width": 1400, "height": 900}
PATIENCE = 60_000  # ms; on a busy machine a click may take its time
LONGEST_CELL = 900.0  # s; it learns until its goal is reached, on a busy machine
LONGEST_GRADING = 1_800_000  # ms; of a lesson, by a button of the formgrader


# Words that begin on one line and end on another; of more than 40 letters they may.
BROKEN_WORDS = """areas => areas.flatMap(area => {
    const texts = document.createTreeWalker(area, NodeFilter.SHOW_TEXT), broken = [];
    while (texts.nextNode()) {
        for (const word of texts.currentNode.data.matchAll(/(?<!\\S)[\\p{L}\\p{N}_.,;:!?'"()=-]{1,40}(?!\\S)/gu)) {
            const place = document.createRange();
            place.setStart(texts.currentNode, word.index);
            place.setEnd(texts.currentNode, word.index + word[0].length);
            const lines = new Set([...place.getClientRects()].map(box => Math.round(box.top)));
            if (lines.size > 1) broken.push(word[0]);
        }
    }
    return broken;
})"""


class JupyterLab:
    """A page with JupyterLab in it, as it comes from `running`."""

    def __init__(self, page: Page, running: RunningLab, screenshots: str | None = None):
        self.page, self.running, self._screenshots = page, running, screenshots
        page.set_default_timeout(PATIENCE)
        self.heard: list[str] = []  # by each terminal, in the order in which they were opened
        self.terminals: list[str] = []  # names of their tabs
        page.on("websocket", self._listen)

    def open(self, token: str | None = None) -> None:
        """Opens what `make lab` opens, with the token if it wants one, and waits until it is there."""
        self.page.goto(self.running.address)
        if token:
            self.page.get_by_label("Password or token:").fill(token)
            self.page.keyboard.press("Enter")
        expect(self.page.locator(".jp-MarkdownViewer h1")).to_be_visible(timeout=PATIENCE)

    def photograph(self, station: str, page: Page | None = None) -> None:
        if self._screenshots:
            (page or self.page).screenshot(path=f"{self._screenshots}/{station}.png")

    @property
    def front(self) -> Locator:
        """What is shown in the main area."""
        return self.page.locator("#jp-main-dock-panel .jp-Document:visible")

    def tab(self, name: str) -> None:
        """Brings a tab to the front."""
        self.page.locator("#jp-main-dock-panel .lm-TabBar-tab", has_text=name).first.click()

    def menu(self, *path: str) -> None:
        """Clicks a menu's item: `menu("File", "New", "Terminal")`."""
        first, *between, last = path
        self.page.locator(".lm-MenuBar-itemLabel", has_text=first).click()
        for name in between:
            self._item(name).hover()
        self._item(last).click()

    def _item(self, name: str) -> Locator:
        exactly = re.compile(rf"^{re.escape(name)}…?$")
        return self.page.locator(".lm-Menu-itemLabel", has_text=exactly).last

    def menus(self) -> list[str]:
        return self.page.locator(".lm-MenuBar-itemLabel").all_inner_texts()

    def files(self) -> list[str]:
        """Names in the file browser."""
        return self.page.locator("#filebrowser .jp-DirListing-itemName").all_inner_texts()

    def follow(self, link: str) -> Notebook:
        """Clicks a link to a notebook in the page that is shown."""
        self.front.locator(f"a:has-text('{link}')").click()
        return Notebook(self)

    def terminal(self) -> Terminal:
        """A new terminal, by the menu; its tab is in front."""
        before = len(self.heard)
        self.menu("File", "New", "Terminal")
        self.until(lambda: len(self.heard) > before, 60, "a terminal")
        return Terminal(self, before)

    def dialog(self, seconds: float = 60.0) -> str:
        """Waits for a dialog, closes it with its last button, and returns what it said."""
        dialog = self.page.locator("dialog.jp-Dialog")
        dialog.wait_for(timeout=1000 * seconds)
        said = dialog.inner_text()
        dialog.locator("button").last.click()
        dialog.wait_for(state="detached")
        return said

    def until(self, condition: Callable, seconds: float, what: str):
        """The first true value of `condition()`; meanwhile the browser's messages are heard."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
            self.page.wait_for_timeout(100)
        return found

    def _listen(self, socket: WebSocket) -> None:
        if "/terminals/websocket/" not in socket.url:
            return
        number = len(self.heard)
        self.terminals.append(f"Terminal {socket.url.rpartition('/')[2].partition('?')[0]}")
        self.heard.append("")

        def hear(frame: str | bytes) -> None:
            kind, *rest = json.loads(frame)
            if kind == "stdout":
                self.heard[number] += re.sub(r"\x1b(\[[?\d;]*[a-zA-Z]|\][^\x07]*\x07)", "", rest[0])

        socket.on("framereceived", hear)


class Terminal:
    """One of JupyterLab's terminals. It paints what it says on a canvas, so it is read on the way
    there, from the messages of the server's shell."""

    def __init__(self, lab: JupyterLab, number: int):
        self.lab, self.number = lab, number
        self.name = lab.terminals[number]
        expect(
            lab.page.locator("#jp-main-dock-panel .lm-mod-current", has_text=self.name)
        ).to_be_visible()
        lab.until(lambda: self.said.rstrip(" ")[-1:] in ("$", "#"), 60, "the shell's prompt")

    @property
    def said(self) -> str:
        return self.lab.heard[self.number]

    def type(self, line: str, answer: str | None = None, seconds: float = 60.0) -> str:
        """Types a line and Enter; returns what was said since, once it contains `answer`."""
        before = len(self.said)
        self._keys()
        self.lab.page.keyboard.type(line)
        self.lab.page.keyboard.press("Enter")
        return self._heard(before, answer, seconds)

    def interrupt(self, answer: str | None = None, seconds: float = 60.0) -> str:
        """Ctrl-C, likewise."""
        before = len(self.said)
        self._keys()
        self.lab.page.keyboard.press("Control+c")
        return self._heard(before, answer, seconds)

    def _keys(self) -> None:
        self.lab.tab(self.name)
        self.lab.page.locator(".jp-Terminal:visible .xterm-helper-textarea").focus()

    def _heard(self, before: int, answer: str | None, seconds: float) -> str:
        if answer is not None:
            what = f"{answer!r} in the terminal"
            self.lab.until(lambda: answer in self.said[before:], seconds, what)
        return self.said[before:]


class Notebook:
    """The notebook in front."""

    def __init__(self, lab: JupyterLab):
        self.lab, self.page = lab, lab.page
        self.panel = self.page.locator(".jp-NotebookPanel:visible")
        self.panel.locator(".jp-Cell").first.wait_for()
        expect(self.page.locator("#jp-main-statusbar")).to_contain_text(
            re.compile(r"\| Idle"), timeout=PATIENCE
        )

    def cell(self, number: int) -> Locator:
        """The cell with this number, from 0 on."""
        return self.panel.locator(".jp-Notebook > .jp-WindowedPanel-outer .jp-Cell").nth(number)

    def replace(self, number: int, source: str) -> None:
        """Selects all there is in a cell, and pastes."""
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(source)

    def write(self, number: int, words: str) -> None:
        """Opens a cell of text by a double click, and pastes over what is in it."""
        cell = self.cell(number)
        cell.locator(".jp-RenderedMarkdown").dblclick()
        self.replace(number, words)
        self.page.keyboard.press("Shift+Enter")

    def source(self, number: int) -> str:
        lines = self.cell(number).locator(".cm-line").all_inner_texts()
        return "\n".join(line.rstrip("\n") for line in lines)

    def run(self, number: int, seconds: float = LONGEST_CELL) -> str:
        """Shift-Enter in a cell; returns what it says until it has ended."""
        self.start(number)
        prompt = self.cell(number).locator(".jp-InputArea-prompt")
        expect(prompt).to_have_text(re.compile(r"\[(\*|\d+)\]:"))
        expect(prompt).to_have_text(re.compile(r"\[\d+\]:"), timeout=1000 * seconds)
        return self.output(number)

    def start(self, number: int) -> None:
        """Shift-Enter in a cell, which may go on for long."""
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")

    @property
    def said(self) -> str:
        """By all cells, as it stands there."""
        return "\n".join(self.panel.locator(".jp-OutputArea-output").all_text_contents())

    def output(self, number: int) -> str:
        areas = self.cell(number).locator(".jp-OutputArea-output").all_text_contents()
        return "\n".join(areas)

    def error(self, seconds: float = LONGEST_CELL) -> str:
        """Waits until a cell fails; returns what it says."""
        failed = self.panel.locator(".jp-OutputArea-output[data-mime-type$=stderr]").last
        failed.wait_for(timeout=1000 * seconds)
        failed.scroll_into_view_if_needed()
        return failed.text_content()

    def broken_words(self, number: int) -> list[str]:
        """Of what a cell has printed, those that go on in the next line."""
        return self.cell(number).locator(".jp-OutputArea-output pre").evaluate_all(BROKEN_WORDS)

    def pictures(self, number: int) -> int:
        """How many pictures a cell shows that could be loaded; a cell that has just drawn is waited
        for."""
        images = self.cell(number).locator("img")
        images.first.wait_for(state="attached")
        return images.evaluate_all(
            "images => Promise.all(images.map(image => image.decode().then(() => 1, () => 0)))"
            ".then(loaded => loaded.reduce((a, b) => a + b, 0))"
        )

    def in_view(self, number: int) -> bool:
        """Whether a cell's first picture, nearly all of it, is seen without scrolling."""
        picture = self.cell(number).locator("img").first.bounding_box()
        shown = self.panel.locator(".jp-WindowedPanel-outer").bounding_box()
        top = max(picture["y"], shown["y"])
        bottom = min(picture["y"] + picture["height"], shown["y"] + shown["height"])
        return bottom - top > 0.8 * picture["height"]

    def validate(self) -> str:
        """Presses *Validate*; returns what the dialog says."""
        self.panel.locator(".jp-Toolbar-item", has_text="Validate").click()
        return self.lab.dialog(LONGEST_CELL)  # it runs all cells, in a kernel of its own

    def save(self) -> None:
        self.panel.locator(".jp-InputArea-prompt").first.click()
        self.page.keyboard.press("Control+s")


def press(formgrader: Frame | FrameLocator, row: Locator, button: str) -> str:
    """Presses the first such button in a line of it, and returns what the dialog then says."""
    row.locator(f"td.{button} a").first.click()
    dialog = formgrader.locator(".modal-dialog:visible")
    dialog.wait_for(timeout=LONGEST_GRADING)
    said = dialog.inner_text()
    dialog.locator(".modal-footer button").click()
    dialog.wait_for(state="hidden")
    return said
