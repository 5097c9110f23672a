"""Ten thousand tasks: the list is as quick as with ten."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from ollama_queue import generate_task
from tests.support.fakes.model_server import FakeOllama
from tests.support.harness.page import BrowserTab
from tests.support.servers.queue_server import QueueServer

COUNT = 10_000


@pytest.fixture(scope="module")
def full(
    browser: Browser, fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[QueueServer]:
    """A server with that many tasks, for a model that nobody has."""
    with QueueServer(tmp_path_factory.mktemp("full"), fake.url) as made:
        tasks = [generate_task("nobodys", f"task {number:05}") for number in range(COUNT)]
        made.client().submit_batch(tasks)
        yield made


def test_the_whole_list_is_scrolled_through(browser: Browser, full: QueueServer) -> None:
    context = browser.new_context(base_url=full.base_url, viewport={"width": 1280, "height": 800})
    tab = BrowserTab(context.new_page(), full)
    page = tab.open("tasks")
    rows = page.locator("tr.task-row")
    expect(page.locator("main")).to_contain_text("10,000 tasks")
    expect(rows.first).to_contain_text(f"task {COUNT - 1:05}")
    box = page.locator(".rows")
    for number in range(3):  # each time, to the end of what has been read
        oldest = COUNT - 200 * (number + 1)
        box.evaluate("box => { box.scrollTop = box.scrollHeight; }")
        expect(page.locator("tr.task-row", has_text=f"task {oldest:05}")).to_be_visible()
        # The end moves on before the next scroll to it: otherwise that would lead nowhere new.
        expect(page.locator("main")).to_contain_text(f"{200 * (number + 2)} tasks shown")
    assert rows.count() < 100, "rows out of sight are drawn"
    context.close()


def test_search_and_bulk_over_all_of_it(browser: Browser, full: QueueServer) -> None:
    context = browser.new_context(base_url=full.base_url, viewport={"width": 1280, "height": 800})
    tab = BrowserTab(context.new_page(), full)
    page = tab.open("tasks")
    page.get_by_role("searchbox").fill("task 00007")
    rows = page.locator("tr.task-row")
    expect(rows).to_have_count(1)
    page.get_by_role("searchbox").fill("")
    expect(page.locator("main")).to_contain_text("10,000 tasks")
    page.get_by_label("Select all that are loaded").check()
    tab.button("Select all 10,000").click()
    tab.page.get_by_role("toolbar").get_by_role("button", name="Cancel").click()
    tab.confirm("Cancel")
    expect(page.locator(".toast", has_text="10,000 tasks cancelled")).to_be_visible(timeout=60_000)
    assert tab.client.get_queue_stats().cancelled_tasks == COUNT
    assert tab.errors() == []
    context.close()
