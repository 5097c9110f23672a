"""The page at a server with API keys: asks once, shows the tenant's own; admins manage keys."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from ollama_queue import Client, chat_task, generate_task
from tests.support import axe
from tests.support.fakes.model_server import FakeOllama
from tests.support.harness.page import MODELS, BrowserTab, assert_no_horizontal_scroll
from tests.support.servers.queue_server import QueueServer


@pytest.fixture
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
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("This queue requires an API key")
    expect(dialog.get_by_role("alert")).to_have_count(0)
    expect(page.locator(".connection.locked")).to_have_text("Not connected")
    expect(page.locator(".banner")).to_have_count(0)
    page.get_by_label("API key", exact=True).fill("oq_wrong")
    tab.button("Continue").click()
    expect(dialog.get_by_role("alert")).to_contain_text("the API key is unknown")
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
    expect(page.locator("main")).not_to_contain_text("cannot be reached")
    tab.ignore_errors("WebSocket connection")
    assert tab.errors() == []
    context.close()


def test_an_admin_adds_rotates_and_revokes_keys(
    browser: Browser, guarded: QueueServer, tmp_path: Path
) -> None:
    context = browser.new_context(base_url=guarded.base_url, locale="en-GB")
    tab = BrowserTab(context.new_page(), guarded)
    page = tab.open("keys")
    expect(page.locator("main")).to_contain_text("Everybody who can reach this server")

    admin = add_key(tab, "ops")
    expect(page.locator(".connection.live")).to_be_visible()
    expect(tab.table_row("ops")).to_contain_text(f"{admin[:10]}…")
    assert admin not in page.evaluate("JSON.stringify(localStorage)")
    tab.button("Done").click()
    expect(page.locator(".new-key")).to_have_count(0)
    assert admin not in page.content()

    alice = add_key(tab, "alice", tasks="5", models="smol*, qwen3")
    with Client(guarded.base_url, api_key=alice) as client:
        client.wait(client.submit_task(generate_task("smollm2", "hi")), timeout=20)
    tab.open("keys")
    row = tab.table_row("alice")
    expect(row).to_contain_text("models: smol*, qwen3")
    expect(row).to_contain_text("tasks a day: 4 of 5 left until")
    page.screenshot(path=str(tmp_path / "admin.png"))
    assert axe.violations(page) == []
    for width in (1280, 800, 360):
        page.set_viewport_size({"width": width, "height": 800})
        assert_no_horizontal_scroll(page, f"keys at {width}")
    page.set_viewport_size({"width": 1280, "height": 800})

    tab.button("Add key").click()
    tab.field("Name").fill("alice")
    tab.button("Create key").click()
    expect(page.get_by_role("alert")).to_contain_text("there is a key named alice already")
    tab.button("Cancel").click()
    tab.button("Rotate", row).click()
    tab.confirm("Replace key")
    rotated = page.locator(".new-key").inner_text()
    with Client(guarded.base_url, api_key=rotated) as client:
        (left,) = client.get_usage().budgets
        assert (left.name, left.left) == ("requests_per_day", 4)
    tab.button("Rotate", tab.table_row("ops")).click()
    tab.confirm("Replace key")
    expect(page.get_by_role("heading", name="The key of ops")).to_be_visible()
    tab.button("Revoke", row).click()
    tab.confirm("Revoke key")
    tab.expect_toast("Revoked alice")
    expect(row).to_have_count(0)
    tab.ignore_errors("WebSocket connection")
    assert tab.errors() == []
    context.close()


def test_a_user_sees_what_is_left_and_no_keys(browser: Browser, guarded: QueueServer) -> None:
    with Client(guarded.base_url) as anybody:
        admin = anybody.add_key({"name": "ops", "role": "admin"}).key
    with Client(guarded.base_url, api_key=admin) as ops:
        alice = ops.add_key({"name": "alice", "tokens_per_month": 1000}).key
    context = browser.new_context(base_url=guarded.base_url, locale="en-GB")
    tab = BrowserTab(context.new_page(), guarded)
    tab.page.goto("/#/keys")
    tab.page.get_by_label("API key", exact=True).fill(alice)
    tab.button("Continue").click()

    expect(tab.page.locator("main")).to_contain_text("Keys are for admins")
    tab.page.get_by_role("link", name="History").click()
    left = tab.page.get_by_role("region", name="Left of your budgets")
    expect(left).to_contain_text("tokens a month: 1,000 of 1,000 left until")
    tab.ignore_errors("WebSocket connection")
    assert tab.errors() == []
    context.close()


def add_key(tab: BrowserTab, name: str, tasks: str = "", models: str = "") -> str:
    """Add a key in the form; returns it as the page shows it, once."""
    tab.button("Add key").click()
    tab.field("Name").fill(name)
    if tasks or models:
        tab.page.locator("summary", has_text="Limits").click()
        tab.field("Tasks a day").fill(tasks)
        tab.field("Models").fill(models)
    tab.button("Create key").click()
    expect(tab.page.get_by_role("heading", name=f"The key of {name}")).to_be_visible()
    return tab.page.locator(".new-key").inner_text()
