"""The Overview: what runs, what waits and why, pausing, and taking a model server out."""

import re
import threading

from playwright.sync_api import expect

from tests.support.fakes.behaviours import Stream
from tests.support.harness.page import Replies, Visit


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
    ended = visit.page.get_by_role("region", name="Finished per minute")
    words = f"Last hour: {sum(minute.completed for minute in history)} completed"
    expect(ended.get_by_role("img", name=re.compile(f"^{words}"))).to_be_visible()
    columns = ended.locator("svg title")
    expect(columns).to_have_count(60)
    drawn = [re.search(r"completed: (\d+)", text) for text in columns.all_text_contents()]
    counts = [int(found[1]) for found in drawn if found]
    assert sum(counts) == sum(minute.completed for minute in history)
    waits = visit.page.get_by_role("region", name="Time to start")
    expect(waits.get_by_role("img", name=re.compile("^Last hour: .* on average"))).to_be_visible()


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
        expect(visit.page.locator(".facts")).to_contain_text("the queue to resume")
        visit.button("Resume", banner).click()
        expect(banner).to_have_count(0)
        expect(visit.page.locator("main .status").first).to_contain_text("completed")
    finally:
        visit.client.resume()


def wait(visit: Visit, seconds: int) -> None:
    """On the page's own clock."""
    visit.page.clock.fast_forward(seconds * 1000)


def test_a_model_server_is_drained_and_resumed(visit: Visit) -> None:
    visit.page.clock.install()
    visit.open()
    servers = visit.page.get_by_role("region", name="Model servers")
    expect(servers).to_contain_text("healthy")
    try:
        visit.button("Drain ollama").click()
        visit.confirm("Drain")
        expect(servers).to_contain_text("drained")
        task_id = visit.chat("nobody takes it")
        expect(visit.page.get_by_role("region", name="Waiting by priority")).to_contain_text(
            "1 for a model server"
        )
        banner = visit.page.locator(".banner.unserved")
        wait(visit, 8)
        expect(banner).to_have_count(0)
        wait(visit, 3)
        expect(banner).to_contain_text("1 task waiting for a model server; nothing is lost.")
        expect(banner).to_contain_text("smollm2 (1): ollama is drained")
        visit.button("Resume ollama").click()
        expect(servers).to_contain_text("healthy")
        visit.ended(task_id)
        expect(banner).to_have_count(0)
    finally:
        visit.client.resume_backend("ollama")


def test_the_banner_names_the_models_that_nobody_has_and_leads_to_their_tasks(
    visit: Visit,
) -> None:
    visit.page.clock.install()
    visit.open()
    models = ("unheard-of", "unheard-of", "gone-model", "third", "fourth")
    ids = [visit.chat(f"for {model}", model=model) for model in models]
    other = visit.chat("for later", scheduled_at="2031-01-01T00:00:00Z", model="unheard-of")
    waits = visit.page.get_by_role("region", name="Waiting by priority")
    expect(waits).to_contain_text("5 for a model server")
    wait(visit, 11)
    banner = visit.page.locator(".banner.unserved")
    expect(banner).to_contain_text("5 tasks waiting for a model server; nothing is lost.")
    expect(banner).to_contain_text("unheard-of (2): no server has it")
    expect(banner).to_contain_text("and 1 more model")
    banner.get_by_role("link", name="unheard-of").click()
    rows = visit.page.locator("tr.task-row")
    expect(visit.page).to_have_url(re.compile("waiting_for=backend&model=unheard-of$"))
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("no server")
    expect(rows.first.locator(".status")).to_have_attribute("title", "no server has it")
    expect(visit.page.locator(".chips")).to_contain_text("waiting for: backend")
    banner.get_by_role("link", name="View all 5").click()
    expect(rows).to_have_count(5)
    rows.first.locator(".c-title a").click()
    expect(visit.panel()).to_contain_text("a model server: no server has it")
    visit.client.cancel_tasks(ids=[*ids, other])
    expect(banner).to_have_count(0)


def test_a_list_by_what_tasks_wait_for_follows_without_an_event_of_theirs(visit: Visit) -> None:
    visit.client.drain_backend("ollama")
    try:
        task_id = visit.chat("waits for a server", tags=["reasons"])
        visit.open("tasks?waiting_for=paused")
        rows = visit.page.locator("tr.task-row")
        expect(visit.page.locator("main")).to_contain_text("No matching tasks")
        visit.client.pause()
        expect(rows).to_have_count(1)
        visit.client.cancel_task(task_id)
        expect(rows).to_have_count(0)
    finally:
        visit.client.resume()
        visit.client.resume_backend("ollama")
