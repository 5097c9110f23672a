"""The page in Debian's Chromium, before a real server over the fake Ollama."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from ollama_queue import Client
from tests.fakes import FakeOllama
from tests.queue_server import QueueServer

__all__ = ["Desk", "expect"]

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
HOW = f"there is no {CHROMIUM}: apt-get install chromium, or name another in CHROMIUM"
MODELS = ("smollm2", "qwen3", "nomic-embed-text")
PATIENCE_MS = 10_000


def launch() -> Iterator[Browser]:
    """A browser for all tests of a run. Skips them where there is none."""
    if not Path(CHROMIUM).exists():
        pytest.skip(HOW)
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Desk:
    """A server of its own with a fake Ollama behind it, and a tab that looks at it.

    What the page complains of (the console's errors, broken scripts) is in `complaints`; a test
    that means to cause some clears it.
    """

    def __init__(self, browser: Browser, folder: Path, workers: int = 2) -> None:
        self.fake = FakeOllama().lists(*MODELS, loaded=("qwen3",))
        self.server = QueueServer(folder, self.fake.url, workers=workers)
        self.server.start()
        self.client: Client = self.server.client()
        self.complaints: list[str] = []
        self._contexts: list[Any] = []
        self._browser = browser
        self.page = self.tab()

    def tab(self, **options: Any) -> Page:
        """Another tab, with storage of its own; `options` of a Playwright context."""
        context = self._browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, **options}
        )
        self._contexts.append(context)
        page: Page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._listen)
        return page

    def _listen(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def open(self, view: str = "", page: Page | None = None) -> Page:
        """Goes to `#/view?query`, and waits until the feed is live."""
        page = page or self.page
        page.goto(f"{self.server.base_url}/#/{view}")
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        return page

    def row(self, title: str, page: Page | None = None) -> Locator:
        """The row of a task in the list."""
        return (page or self.page).get_by_role("row").filter(has_text=title)

    def address(self, pattern: str) -> None:
        """Waits until the address of the page matches."""
        self.page.wait_for_url(re.compile(pattern))

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        self.client.close()
        self.server.stop()
        self.fake.refuse()


MakeDesk = Callable[..., Desk]
