"""A browser tab with the page, for its tests: opens views, finds elements, submits tasks."""

import re
from typing import Any

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

from ollama_queue import Client, Task, chat_task
from tests.support.fakes.behaviours import Behaviour, Stream
from tests.support.servers.queue_server import QueueServer

MODELS = ("smollm2", "qwen3", "nomic-embed-text")
UNREACHABLE = "net::ERR_CONNECTION_REFUSED"


class Replies:
    """The fake model server's replies, chosen by a word in the request; normal without one."""

    def __init__(self) -> None:
        self._by_word: dict[str, Behaviour] = {}

    def when(self, word: str, behaviour: Behaviour) -> None:
        self._by_word[word] = behaviour

    def behaviour_for(self, body: dict[str, Any]) -> Behaviour:
        text = str(body)
        found = (behaviour for word, behaviour in self._by_word.items() if word in text)
        return next(found, Stream())


class BrowserTab:
    """A browser tab with the page of a server; `client` is a client of the same server."""

    def __init__(self, page: Page, server: QueueServer) -> None:
        self.page = page
        self.server = server
        self.client: Client = server.client()
        self._errors: list[str] = []
        page.on("pageerror", lambda error: self._errors.append(str(error)))
        page.on("console", self._on_console)

    def _on_console(self, message: ConsoleMessage) -> None:
        if (
            message.type == "error"
            and "the server responded with a status of 4" not in message.text
        ):
            self._errors.append(message.text)

    def errors(self, *, expected: str | None = None) -> list[str]:
        """Errors of the page's scripts and of its security policy, without those expected."""
        return [error for error in self._errors if expected is None or expected not in error]

    def ignore_errors(self, expected: str) -> None:
        """Drop errors that the test provokes."""
        self._errors = self.errors(expected=expected)

    def open(self, address: str = "overview") -> Page:
        """Reload the page at a view, and wait until it is connected to the server."""
        self.page.goto("about:blank")  # changing only the fragment would not reload it
        self.page.goto(f"/#/{address}")
        expect(self.page.locator(".connection.live")).to_be_visible()
        return self.page

    # --- what is on the page

    def button(self, name: str, within: Locator | None = None) -> Locator:
        return (within or self.page).get_by_role("button", name=name, exact=True)

    def field(self, label: str) -> Locator:
        return self.page.get_by_label(label, exact=True)

    def panel(self) -> Locator:
        return self.page.get_by_role("complementary")

    def table_row(self, text: str) -> Locator:
        """The row of a table that contains the text."""
        return self.page.locator("main tbody tr", has_text=text)

    def confirm(self, name: str) -> None:
        """Confirm the open dialog with the button whose label begins with `name`."""
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_role("button", name=re.compile(f"^{name}")).click()
        expect(self.page.get_by_role("dialog")).to_have_count(0)

    def expect_toast(self, text: str) -> None:
        """Wait for a toast that contains the text, and close it."""
        toast = self.page.locator(".toast", has_text=text).first
        expect(toast).to_be_visible()
        self.button("Close", toast).click()

    # --- what is in the queue

    def submit_chat(self, text: str, **fields: Any) -> str:
        """Submit a chat; returns the id of its task."""
        model = fields.pop("model", "smollm2")
        new = chat_task(model, [{"role": "user", "content": text}], **fields)
        return self.client.submit_task(new)

    def wait_for(self, *task_ids: str) -> list[Task]:
        """Wait until all tasks have ended; returns them."""
        tasks = [self.client.wait(task_id, timeout=30) for task_id in task_ids]
        assert all(task.completed_at for task in tasks)
        return tasks


WIDER = """() => [document.documentElement, document.querySelector("main")].concat(
    [...document.querySelectorAll("main aside, main section")]).filter(
    (box) => box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX !== "hidden"
        && box.clientWidth > 1).map(
    (box) => `${box.tagName} ${box.className}: ${box.scrollWidth} in ${box.clientWidth}`)"""


def assert_no_horizontal_scroll(page: Page, where: str) -> None:
    """Assert that nothing is wider than the window."""
    wider = page.evaluate(WIDER)
    assert wider == [], f"{where}: {wider}"
