"""The main job on a real model: submit by the form, follow the reply, find it in the list."""

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.support.harness.page import Visit
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import LlamaServer


def test_a_chat_with_a_real_model(browser: Browser, llama: LlamaServer, tmp_path: Path) -> None:
    with QueueServer(tmp_path, llama.url, kind="openai") as server:
        context = browser.new_context(base_url=server.base_url)
        visit = Visit(context.new_page(), server)
        page = visit.open()
        expect(page.get_by_role("region", name="Model servers")).to_contain_text("healthy")
        page.get_by_role("link", name="Submit", exact=True).click()
        visit.field("Model").fill(llama.model)
        visit.field("Message 1").fill("Say hello.")
        page.locator("details.more > summary").click()
        visit.field("Max tokens").fill("24")
        visit.button("Submit").click()
        reply = page.get_by_role("region", name="assistant")
        expect(reply).to_be_visible(timeout=60_000)
        task = visit.client.get_task(page.url.rpartition("/")[2])
        assert task.result is not None
        words = task.result["message"]["content"].split()
        expect(reply).to_contain_text(words[0])
        page.get_by_role("link", name="Tasks").click()
        expect(page.locator("tr.task-row", has_text="Say hello.")).to_contain_text("completed")
        assert visit.complaints() == []
        context.close()
