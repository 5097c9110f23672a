"""The page stays right: over a restart of the server, and beside a second tab."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Route, expect

from tests.support.fakes.model_server import FakeOllama
from tests.support.harness.page import BrowserTab
from tests.support.servers.fleet import ServersOfQueue
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.queue_server import QueueServer

# Counts how often the page has said that it is not connected.
COUNT_LOSSES = """() => {
    window.losses = 0;
    new MutationObserver(() => {
        if (document.querySelector(".banner.lost, .connection.lost")) window.losses += 1;
    }).observe(document.body, { subtree: true, childList: true, attributes: true });
}"""


@pytest.fixture
def own_server(browser: Browser, fake: FakeOllama, tmp_path: Path) -> Iterator[QueueServer]:
    """To be stopped."""
    with QueueServer(tmp_path, fake.url) as made:
        yield made


@pytest.fixture
def own_tab(browser: Browser, own_server: QueueServer) -> Iterator[BrowserTab]:
    context = browser.new_context(base_url=own_server.base_url)
    tab = BrowserTab(context.new_page(), own_server)
    yield tab
    tab.ignore_errors("ERR_CONNECTION_REFUSED")
    tab.ignore_errors("WebSocket connection")
    tab.ignore_errors("503 (Service Unavailable)")  # of a server that is about to stop
    assert tab.errors() == []
    context.close()


def test_a_restart_of_the_server_is_said_and_got_over(
    own_tab: BrowserTab, own_server: QueueServer
) -> None:
    tab = own_tab
    tab.wait_for(tab.submit_chat("before the restart"))
    tab.open("tasks")
    rows = tab.page.locator("tr.task-row")
    expect(rows).to_have_count(1)
    own_server.stop()
    expect(tab.page.locator(".banner")).to_contain_text("Connection lost")
    expect(tab.page.locator(".connection.lost")).to_be_visible()
    expect(rows).to_have_count(1)
    own_server.start()
    tab.wait_for(tab.submit_chat("after the restart"))
    expect(tab.page.locator(".connection.live")).to_be_visible()
    expect(tab.page.locator(".banner")).to_have_count(0)
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("after the restart")
    expect(rows.first).to_contain_text("completed")


def test_a_page_at_a_server_that_follows_outlives_the_leader(
    browser: Browser, fake: FakeOllama, tmp_path: Path
) -> None:
    with (
        PostgresServer() as database,
        database.queue() as conninfo,
        ServersOfQueue(tmp_path, fake.url, conninfo, size=2) as fleet,
    ):
        leader, (follower,) = fleet.leader(), fleet.followers()
        fleet.ready(follower)
        context = browser.new_context(base_url=follower.base_url)
        tab = BrowserTab(context.new_page(), follower)
        tab.wait_for(tab.submit_chat("of the old leader"))
        tab.open("tasks").evaluate(COUNT_LOSSES)
        rows = tab.page.locator("tr.task-row")
        expect(rows).to_have_count(1)

        leader.kill()
        fleet.until(lambda: fleet.leader() is follower)
        fleet.ready(follower)
        tab.wait_for(tab.submit_chat("of the new leader"))

        expect(rows).to_have_count(2)
        expect(rows.first).to_contain_text("of the new leader")
        expect(rows.first).to_contain_text("completed")
        expect(tab.page.locator(".connection.live")).to_be_visible()
        assert tab.page.evaluate("window.losses") == 0
        assert tab.errors() == []
        context.close()


def test_an_action_that_cannot_be_done_says_so(
    own_tab: BrowserTab, own_server: QueueServer
) -> None:
    tab = own_tab
    task_id = tab.submit_chat("out of reach", scheduled_at="2031-01-01T00:00:00Z")
    tab.open(f"task/{task_id}")
    expect(tab.button("Cancel")).to_be_visible()
    own_server.stop()
    tab.button("Cancel").click()
    tab.expect_toast("the server cannot be reached")


def test_two_tabs_agree(tab: BrowserTab, context: BrowserContext) -> None:
    other = BrowserTab(context.new_page(), tab.server)
    task_id = tab.submit_chat("seen twice", tags=["twice"], scheduled_at="2031-01-01T00:00:00Z")
    tab.open("tasks?tag=twice")
    other.open(f"task/{task_id}")
    row = tab.page.locator("tr.task-row")
    expect(row).to_contain_text("5 normal")
    other.page.locator(".facts").get_by_label("Priority").select_option("10 high")
    expect(row).to_contain_text("10 high")
    tab.page.bring_to_front()  # a browser draws a tab behind another once a second
    row.get_by_role("checkbox").check()
    tab.page.get_by_role("toolbar").get_by_role("button", name="Cancel").click()
    tab.confirm("Cancel")
    expect(other.page.locator("main .status").first).to_contain_text("cancelled")
    expect(row).to_contain_text("cancelled")
    other.page.bring_to_front()
    other.button("Delete").click()
    other.confirm("Delete")
    expect(row).to_have_count(0)
    assert other.errors() == []


def test_a_key_is_asked_for_and_kept_for_the_tab(tab: BrowserTab) -> None:
    """The server's part is played: what it answers without a key."""
    page = tab.page

    def guard(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer s3cret":
            route.continue_()
        else:
            error = {"code": "unauthorized", "message": "a key is needed"}
            route.fulfill(status=401, json={"error": error})

    page.route("**/api/**", guard)
    page.goto("/#/tasks")
    page.get_by_label("API key", exact=True).fill("s3cret")
    tab.button("Continue").click()
    expect(page.locator("tr.task-row, .empty-title").first).to_be_visible()
    assert "s3cret" in page.evaluate("JSON.stringify(sessionStorage)")
    assert "s3cret" not in page.evaluate("JSON.stringify(localStorage)")
    tab.ignore_errors("WebSocket connection")  # of which the server knows no keys yet
