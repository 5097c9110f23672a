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
    expect(running).to_contain_text("smollm2 on ollama")
    expect(running).to_contain_text("1 tok")
    expect(running).to_contain_text("/s")
    gate.set()
    expect(running).to_have_count(0)
    visit.ended(task_id)


def test_the_last_hour_is_drawn_as_the_history_has_it(visit: Visit) -> None:
    visit.ended(visit.chat("one for the chart"))
    history = visit.client.get_history()
    visit.open()
    ended = visit.page.get_by_role("region", name="Tasks ended a minute")
    words = f"In the last hour {sum(minute.completed for minute in history)} tasks? completed"
    expect(ended.get_by_role("img", name=re.compile(f"^{words}"))).to_be_visible()
    columns = ended.locator("svg title")
    expect(columns).to_have_count(60)
    drawn = [re.search(r"completed: (\d+)", text) for text in columns.all_text_contents()]
    counts = [int(found[1]) for found in drawn if found]
    assert sum(counts) == sum(minute.completed for minute in history)
    waits = visit.page.get_by_role("region", name="Wait before the first run")
    expect(waits.get_by_role("img", name=re.compile("^On average"))).to_be_visible()


def test_pausing_is_shown_and_undone(visit: Visit) -> None:
    visit.open()
    visit.button("Pause the queue").click()
    visit.confirm("Pause")
    banner = visit.page.locator(".banner.paused")
    try:
        expect(banner).to_contain_text("The queue is paused")
        depth = visit.page.get_by_role("row", name=re.compile("^10 high"))
        expect(depth.locator(".amount")).to_have_text("0")
        task_id = visit.chat("while paused", priority="high")
        expect(depth.locator(".amount")).to_have_text("1")
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
