"""The main job on a real model: submit by the form, follow the reply, find it in the list."""

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.support.harness.page import BrowserTab
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import LlamaServer


def test_a_chat_with_a_real_model(browser: Browser, llama: LlamaServer, tmp_path: Path) -> None:
    with QueueServer(tmp_path, llama.url, kind="openai") as server:
        context = browser.new_context(base_url=server.base_url)
        tab = BrowserTab(context.new_page(), server)
        page = tab.open()
        expect(page.get_by_role("region", name="Model servers")).to_contain_text("healthy")
        page.get_by_role("link", name="Submit", exact=True).click()
        tab.field("Model").fill(llama.model)
        tab.field("Message 1").fill("Say hello.")
        page.locator("details.more > summary").click()
        tab.field("Max tokens").fill("24")
        tab.button("Submit").click()
        reply = page.get_by_role("region", name="assistant")
        expect(reply).to_be_visible(timeout=60_000)
        task = tab.client.get_task(page.url.rpartition("/")[2])
        assert task.result is not None
        words = task.result["message"]["content"].split()
        expect(reply).to_contain_text(words[0])
        page.get_by_role("link", name="Tasks").click()
        expect(page.locator("tr.task-row", has_text="Say hello.")).to_contain_text("completed")
        assert tab.errors() == []
        context.close()
