"""What tests of the page do again and again: look, point, and have tasks to look at."""

import re
from typing import Any

from playwright.sync_api import ConsoleMessage, Locator, Page, expect

from ollama_queue import Client, Task, chat_task
from tests.support.fakes.behaviours import Behaviour, Stream
from tests.support.servers.queue_server import QueueServer

MODELS = ("smollm2", "qwen3", "nomic-embed-text")
UNREACHABLE = "net::ERR_CONNECTION_REFUSED"


class Replies:
    """How the fake replies: as was said for a word that is in the request, else well."""

    def __init__(self) -> None:
        self._by_word: dict[str, Behaviour] = {}

    def when(self, word: str, behaviour: Behaviour) -> None:
        self._by_word[word] = behaviour

    def to(self, body: dict[str, Any]) -> Behaviour:
        text = str(body)
        found = (behaviour for word, behaviour in self._by_word.items() if word in text)
        return next(found, Stream())


class Visit:
    """A tab with the page. `client` is another way into the same queue."""

    def __init__(self, page: Page, server: QueueServer) -> None:
        self.page = page
        self.server = server
        self.client: Client = server.client()
        self._complaints: list[str] = []
        page.on("pageerror", lambda error: self._complaints.append(str(error)))
        page.on("console", self._hear)

    def _hear(self, message: ConsoleMessage) -> None:
        if (
            message.type == "error"
            and "the server responded with a status of 4" not in message.text
        ):
            self._complaints.append(message.text)

    def complaints(self, *, expected: str | None = None) -> list[str]:
        """Errors in the page's scripts and breaches of its policy, but for those expected."""
        return [each for each in self._complaints if expected is None or expected not in each]

    def forgive(self, expected: str) -> None:
        """Such errors are what the test is about."""
        self._complaints = self.complaints(expected=expected)

    def open(self, address: str = "overview") -> Page:
        """A view, from the start; waits until the page hears from the server."""
        self.page.goto("about:blank")  # a change of the fragment alone would not load it anew
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

    def line(self, text: str) -> Locator:
        """The line of a table that says so."""
        return self.page.locator("main tbody tr", has_text=text)

    def confirm(self, name: str) -> None:
        """Answers the question that is asked; `name` is how the button begins."""
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_role("button", name=re.compile(f"^{name}")).click()
        expect(self.page.get_by_role("dialog")).to_have_count(0)

    def said(self, text: str) -> None:
        """Waits until the page says so in passing, and closes it."""
        toast = self.page.locator(".toast", has_text=text).first
        expect(toast).to_be_visible()
        self.button("Close", toast).click()

    # --- what is in the queue

    def chat(self, text: str, **fields: Any) -> str:
        """Submits a chat; its task's id."""
        model = fields.pop("model", "smollm2")
        new = chat_task(model, [{"role": "user", "content": text}], **fields)
        return self.client.submit_task(new)

    def ended(self, *task_ids: str) -> list[Task]:
        """The tasks, once all have ended."""
        tasks = [self.client.wait(task_id, timeout=30) for task_id in task_ids]
        assert all(task.completed_at for task in tasks)
        return tasks


WIDER = """() => [document.documentElement, document.querySelector("main")].concat(
    [...document.querySelectorAll("main aside, main section")]).filter(
    (box) => box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX !== "hidden"
        && box.clientWidth > 1).map(
    (box) => `${box.tagName} ${box.className}: ${box.scrollWidth} in ${box.clientWidth}`)"""


def no_sideways(page: Page, where: str) -> None:
    """That nothing is wider than the window: nobody has to scroll sideways."""
    wider = page.evaluate(WIDER)
    assert wider == [], f"{where}: {wider}"
