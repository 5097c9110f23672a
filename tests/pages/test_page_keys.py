"""The page at a server with API keys: asks once, shows the tenant's own, downloads with the key."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from ollama_queue import Client, chat_task
from tests.support.fakes.model_server import FakeOllama
from tests.support.harness.page import MODELS, BrowserTab
from tests.support.servers.queue_server import QueueServer


@pytest.fixture(scope="module")
def guarded(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    fake = FakeOllama()
    fake.lists(*MODELS)
    with QueueServer(tmp_path_factory.mktemp("guarded"), fake.url) as server:
        yield server
    fake.refuse()


def test_the_page_asks_for_a_key_and_shows_what_it_allows(
    browser: Browser, guarded: QueueServer, tmp_path: Path
) -> None:
    with Client(guarded.base_url) as anybody:
        admin = anybody.add_key({"name": "ops", "role": "admin"}).key
    with Client(guarded.base_url, api_key=admin) as ops:
        alice = ops.add_key({"name": "alice"}).key
        theirs = ops.submit_task(chat_task("smollm2", [{"role": "user", "content": "not hers"}]))
    with Client(guarded.base_url, api_key=alice) as client:
        hers = client.submit_task(chat_task("smollm2", [{"role": "user", "content": "hers alone"}]))
        client.wait(hers, timeout=20)

    context = browser.new_context(base_url=guarded.base_url, locale="en-GB")
    tab = BrowserTab(context.new_page(), guarded)
    page = tab.page
    page.goto("/#/tasks")
    page.get_by_label("API key", exact=True).fill("oq_wrong")
    tab.button("Continue").click()
    page.get_by_label("API key", exact=True).fill(alice)
    tab.button("Continue").click()

    expect(page.locator(".connection.live")).to_be_visible()
    expect(tab.table_row("hers alone")).to_be_visible()
    expect(page.locator("main tbody tr")).to_have_count(1)
    assert theirs not in page.content() and "not hers" not in page.content()
    page.screenshot(path=str(tmp_path / "keys.png"))
    page.goto("/#/overview")
    expect(page.locator("main")).to_be_visible()
    assert alice not in page.evaluate("JSON.stringify(localStorage)")
    with Client(guarded.base_url, api_key=admin) as ops:
        ops.revoke_key("alice")
    expect(page.get_by_label("API key", exact=True)).to_be_visible()
    tab.ignore_errors("WebSocket connection")
    assert tab.errors() == []
    context.close()
