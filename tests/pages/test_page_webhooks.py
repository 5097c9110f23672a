"""The deliveries of webhooks on the page: what was sent where, what was answered, and again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from ollama_queue import generate_task
from tests.support import axe
from tests.support.fakes.model_server import FakeOllama
from tests.support.fakes.webhook_receiver import WebhookReceiver, answer
from tests.support.harness.page import MODELS, BrowserTab, assert_no_horizontal_scroll
from tests.support.servers.queue_server import QueueServer


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as made:
        yield made


@pytest.fixture
def sending(chromium: str, tmp_path: Path, receiver: WebhookReceiver) -> Iterator[QueueServer]:
    """A server whose tasks may send to this machine."""
    fake = FakeOllama()
    fake.lists(*MODELS)
    hook = f"{{name: audit, url: '{receiver.url}/all', events: [task_completed]}}"
    settings = f"webhooks: [{hook}]\ncallbacks: {{allowed_networks: [127.0.0.1]}}\n"
    with QueueServer(tmp_path, fake.url, settings=settings) as server:
        yield server
    fake.refuse()


def test_deliveries_are_listed_with_their_answers_and_sent_again(
    browser: Browser, sending: QueueServer, receiver: WebhookReceiver, tmp_path: Path
) -> None:
    receiver.play = answer(410)
    context = browser.new_context(base_url=sending.base_url, locale="en-GB")
    tab = BrowserTab(context.new_page(), sending)
    page = tab.open("webhooks")
    expect(page.locator("main")).to_contain_text("No deliveries yet")
    task_id = tab.client.submit_task(generate_task("smollm2", "hi", callback_url=receiver.url))
    receiver.wait_for(2)

    tab.open("webhooks?status=failed")
    failed = tab.table_row("failed")
    expect(failed).to_have_count(2)
    theirs = failed.filter(has_not_text="audit")
    expect(theirs).to_contain_text("task completed")
    expect(theirs).to_contain_text("the receiver answered with status 410 · 1 attempt")
    assert (theirs.get_by_role("link", name="View task").get_attribute("href") or "").endswith(
        task_id
    )
    theirs.locator("summary").click()
    expect(theirs.locator("li")).to_have_count(1)
    page.screenshot(path=str(tmp_path / "webhooks.png"))
    assert axe.violations(page) == []
    assert_no_horizontal_scroll(page, "webhooks")

    receiver.play = answer(204)
    tab.button("Send again", theirs).click()
    tab.expect_toast("Sent again")
    receiver.wait_for(3)
    page.get_by_label("Status").select_option("delivered")
    delivered = tab.table_row("delivered")
    expect(delivered).to_contain_text("status 204 · 2 attempts")
    assert page.url.endswith("#/webhooks?status=delivered")
    tab.button("Send again", delivered).click()
    tab.confirm("Send again")
    receiver.wait_for(4)
    expect(delivered).to_contain_text("3 attempts")
    assert tab.errors() == []
    context.close()
