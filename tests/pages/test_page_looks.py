"""How the page looks and is used: light and dark, small and large, by keyboard and by ear."""

import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from ollama_queue import generate_task
from tests.pages.conftest import skip
from tests.support import axe
from tests.support.fakes.behaviours import Answer, Stream
from tests.support.harness.page import BrowserTab, Replies, assert_no_horizontal_scroll
from tests.support.servers.queue_server import QueueServer

DRAWN = """() => new Promise((done) => {
    let frames = 3;  // what is seen is measured in one, drawn anew in the next
    const step = () => (frames-- ? requestAnimationFrame(step) : done());
    step();
})"""
LONG = "an_uncommonly_long_word_without_any_space_in_it_" * 4


class PageScene:
    """A queue with something of each kind in it."""

    def __init__(self, tab: BrowserTab, replies: Replies, gate: threading.Event) -> None:
        replies.when("scene fails", Answer(400, {"error": f"no luck with {LONG}"}))
        replies.when("scene runs", Stream((f"words {LONG}", " end"), gate=gate))
        client = tab.client
        self.failed = tab.submit_chat(f"scene fails {LONG}", tags=["long", LONG[:128]])
        self.done = tab.submit_chat("scene done: # a title\n\n- a list", system="Be brief.")
        tab.wait_for(self.failed, self.done)
        self.running = tab.submit_chat(f"scene runs {LONG}", model="qwen3")
        self.waiting = tab.submit_chat("scene waits", model=LONG)
        self.batch = client.submit_batch([generate_task("smollm2", "scene fails")]).batch_id
        template = {"type": "generate", "model": "smollm2", "prompt": LONG}
        cron = {"name": f"scene {LONG}", "cron_expr": "0 9 * * 1-5", "task_template": template}
        self.cron = client.add_cron_task({**cron, "timezone": "Asia/Tokyo"})

    def addresses(self) -> dict[str, str]:
        """Each view, and what must be in sight before it is looked at."""
        return {
            "overview": "healthy",
            "tasks": "scene waits",
            f"tasks?open={self.failed}": "no luck",
            f"task/{self.running}": "words",
            f"task/{self.done}": "Hello from here",
            "submit": "Message",
            "submit?mode=batch": "Drop a file",
            "crons": "0 9 * * 1-5",
            f"crons/{self.cron}": "Next runs",
            f"crons/{self.cron}?edit=1": "Next five runs",
            "batches": self.batch,
            f"batches/{self.batch}": "Errors",
            "history?span=1h&by=tag": "Changes",
            "webhooks": "Webhooks",
            "keys": "Everybody who can reach this server",
        }


@pytest.fixture(scope="module")
def scene(browser: Browser, server: QueueServer, replies: Replies) -> Iterator[PageScene]:
    gate = threading.Event()
    page = browser.new_page(base_url=server.base_url)
    made = PageScene(BrowserTab(page, server), replies, gate)
    yield made
    gate.set()
    server.client().cancel_task(made.waiting)
    page.close()


def show(tab: BrowserTab, address: str, sight: str) -> None:
    tab.open(address)
    expect(tab.page.locator("main")).to_contain_text(sight)


def test_nothing_is_wider_than_the_window(tab: BrowserTab, scene: PageScene) -> None:
    for address, sight in scene.addresses().items():
        show(tab, address, sight)
        for width in (1280, 800, 360, 3840):
            tab.page.set_viewport_size({"width": width, "height": 800})
            tab.page.evaluate(DRAWN)
            assert_no_horizontal_scroll(tab.page, f"{address} at {width}")


def test_axe_finds_nothing(tab: BrowserTab, scene: PageScene) -> None:
    try:
        axe.source()
    except FileNotFoundError:
        skip("the tests of accessibility need npm: apt-get install npm")
    found = []
    for address, sight in scene.addresses().items():
        tab.page.emulate_media(color_scheme="light", reduced_motion="reduce")
        show(tab, address, sight)
        found += [f"{address}: {each}" for each in axe.violations(tab.page)]
        tab.page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        found += [f"{address}, dark: {each}" for each in axe.violations(tab.page, axe.COLOURS)]
    assert found == [], "\n".join(found)


def test_the_theme_is_the_systems_until_it_is_chosen(tab: BrowserTab) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    tab.page.emulate_media(color_scheme="dark")
    tab.open()
    dark = tab.page.evaluate(background)
    tab.page.emulate_media(color_scheme="light")
    light = tab.page.evaluate(background)
    assert dark != light
    tab.button("Theme: system (switch to light)").click()
    tab.button("Theme: light (switch to dark)").click()
    expect(tab.button("Theme: dark (switch to system)")).to_be_visible()
    assert tab.page.evaluate(background) == dark
    tab.page.reload()
    expect(tab.button("Theme: dark (switch to system)")).to_be_visible()
    assert tab.page.evaluate(background) == dark


def test_a_question_keeps_the_focus_and_gives_it_back(tab: BrowserTab, scene: PageScene) -> None:
    tab.open(f"crons/{scene.cron}")
    remove = tab.button("Remove")
    remove.focus()
    tab.page.keyboard.press("Enter")
    dialog = tab.page.get_by_role("dialog")
    expect(dialog.locator(":focus")).to_have_count(1)
    tab.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(remove).to_be_focused()


def test_the_views_are_reached_by_tab(tab: BrowserTab) -> None:
    tab.open()
    tab.page.keyboard.press("Tab")
    expect(tab.page.get_by_role("link", name="Skip to content")).to_be_focused()
    tab.page.keyboard.press("Enter")
    expect(tab.page.locator("main")).to_be_focused()
    tab.open()
    for _ in range(4):
        tab.page.keyboard.press("Tab")
    expect(tab.page.get_by_role("link", name="Tasks")).to_be_focused()
    tab.page.keyboard.press("Enter")
    expect(tab.page.get_by_role("heading", name="Tasks", exact=True)).to_be_attached()


def test_focus_stays_while_the_page_changes(tab: BrowserTab) -> None:
    tab.open("crons/new")
    expect(tab.field("Name")).to_be_focused()
    tab.field("Model").fill("half a na")
    tab.wait_for(tab.submit_chat("something happens meanwhile"))
    expect(tab.field("Model")).to_be_focused()
    expect(tab.field("Model")).to_have_value("half a na")


REDRAWN = """async ([before, after]) => {
    const { h, render } = await import("/static/lib/dom.js");
    const root = document.createElement("div");
    const made = (parts) => parts.map((part) => {
        if (part === null) return null;
        const [tag, name, key] = part;
        return h(tag, { id: name, key: key ?? undefined });
    });
    render(root, ...made(before));
    const old = new Map([...root.children].map((node) => [node.id, node]));
    render(root, ...made(after));
    const kept = [...root.children].filter((node) => old.get(node.id) === node);
    return [[...root.children].map((node) => node.id), kept.map((node) => node.id)];
}"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["all", "cancel", "retry"], [None, "cancel", "retry"]),
        ([None, "cancel", "retry"], ["all", "cancel", "retry"]),
        (["one", None, "two"], ["one", "new", "two"]),
        (["k:one", "two"], [None, "two"]),
        ([None, "two"], ["k:one", "two"]),
        (["k:one", "k:two", "end"], ["k:two", "k:three", "end"]),
        (["k:one", None, "end"], ["k:one", "k:two", "k:three", None, "end"]),
    ],
)
def test_what_stays_on_the_page_stays_the_same_element(
    tab: BrowserTab, before: list[str | None], after: list[str | None]
) -> None:
    """Else the focus, or a click under way, would be on another button than it was."""

    def parts(names: list[str | None]) -> list[tuple[str, str, str | None] | None]:
        return [name and ("button", name, name if name[:2] == "k:" else None) for name in names]

    tab.page.goto("/")
    shown, kept = tab.page.evaluate(REDRAWN, [parts(before), parts(after)])
    assert shown == [name for name in after if name]
    assert kept == [name for name in after if name and name in before]
