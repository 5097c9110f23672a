"""The Overview: what runs, what waits and why, pausing, and taking a model server out."""

import re
import threading

from playwright.sync_api import expect

from tests.behaviours import Stream
from tests.pages.visiting import Replies, Visit


def test_what_runs_is_shown_with_its_words(visit: Visit, replies: Replies) -> None:
    gate = threading.Event()
    replies.when("on stage", Stream(("Curtain", " up"), gate=gate))
    visit.open()
    task_id = visit.chat("on stage")
    running = visit.page.get_by_role("region", name="Running now").locator(
        "li", has_text="on stage"
    )
    expect(running).to_contain_text("Curtain")
    gate.set()
    expect(running).to_have_count(0)
    visit.ended(task_id)
    expect(visit.page.get_by_role("img", name=re.compile("^In the last hour"))).to_be_visible()


def test_pausing_is_shown_and_undone(visit: Visit) -> None:
    visit.open()
    visit.button("Pause the queue").click()
    visit.confirm("Pause")
    banner = visit.page.locator(".banner.paused")
    try:
        expect(banner).to_contain_text("The queue is paused")
        task_id = visit.chat("while paused")
        visit.open(f"task/{task_id}")
        expect(visit.page.locator(".facts")).to_contain_text("the queue to be resumed")
        visit.button("Resume", banner).click()
        expect(banner).to_have_count(0)
        expect(visit.page.locator("main .status").first).to_contain_text("completed")
    finally:
        visit.client.resume()


def test_a_model_server_is_drained_and_resumed(visit: Visit) -> None:
    visit.open()
    servers = visit.page.get_by_role("region", name="Model servers")
    expect(servers).to_contain_text("healthy")
    try:
        visit.button("Drain ollama").click()
        visit.confirm("Drain")
        expect(servers).to_contain_text("drained")
        task_id = visit.chat("nobody takes it")
        banner = visit.page.locator(".banner.nobody")
        expect(banner).to_contain_text("No model server can take tasks")
        visit.button("Resume ollama").click()
        expect(servers).to_contain_text("healthy")
        visit.ended(task_id)
        expect(banner).to_have_count(0)
    finally:
        visit.client.resume_backend("ollama")


def test_a_model_that_nobody_has_is_said(visit: Visit) -> None:
    visit.open()
    task_id = visit.chat("for nobody", model="unheard-of")
    banner = visit.page.locator(".banner.missing")
    expect(banner).to_contain_text("1 task waits for a model")
    visit.client.cancel_task(task_id)
    expect(banner).to_have_count(0)
