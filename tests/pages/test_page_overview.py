"""The Overview: what runs, what waits and why, pausing, and taking a model server out."""

import re
import threading
from typing import Any

from playwright.sync_api import expect

from tests.support.fakes.behaviours import Answer, Stream
from tests.support.fakes.model_server import FakeOllama
from tests.support.harness.page import MODELS, BrowserTab, Replies


def test_what_runs_is_shown_with_its_words(tab: BrowserTab, replies: Replies) -> None:
    gate = threading.Event()
    replies.when("on stage", Stream(("Curtain", " up"), gate=gate))
    tab.open()
    task_id = tab.submit_chat("on stage")
    running = tab.page.get_by_role("region", name="Running now").locator("li", has_text="on stage")
    expect(running).to_contain_text("Curtain")
    expect(running).to_contain_text("smollm2 on ollama")
    expect(running).to_contain_text("1 tok")
    expect(running).to_contain_text("/s")
    gate.set()
    expect(running).to_have_count(0)
    tab.wait_for(task_id)


def test_the_last_hour_is_drawn_as_the_history_has_it(tab: BrowserTab) -> None:
    tab.wait_for(tab.submit_chat("one for the chart"))
    history = tab.client.get_history()
    tab.open()
    ended = tab.page.get_by_role("region", name="Finished per minute")
    words = f"Last hour: {sum(minute.completed for minute in history)} completed"
    expect(ended.get_by_role("img", name=re.compile(f"^{words}"))).to_be_visible()
    columns = ended.locator("svg title")
    expect(columns).to_have_count(60)
    drawn = [re.search(r"completed: (\d+)", text) for text in columns.all_text_contents()]
    counts = [int(found[1]) for found in drawn if found]
    assert sum(counts) == sum(minute.completed for minute in history)
    waits = tab.page.get_by_role("region", name="Time to start")
    expect(waits.get_by_role("img", name=re.compile("^Last hour: .* on average"))).to_be_visible()


def test_failures_are_grouped_and_lead_to_their_tasks(tab: BrowserTab, replies: Replies) -> None:
    for number in (17, 18):
        prompt = f"cause {number}"
        replies.when(prompt, Answer(400, {"error": f"layer {number} of <b>it</b> is missing"}))
        tab.wait_for(tab.submit_chat(prompt))
    tab.open()
    groups = tab.page.get_by_role("region", name="Failures by cause")
    group = groups.get_by_role("listitem").filter(has_text="layer # of <b>it</b> is missing")
    expect(group).to_contain_text("2")
    expect(group).to_contain_text("400 on ollama")
    group.get_by_role("link").click()
    rows = tab.table_row("cause 1")
    expect(rows).to_have_count(2)
    (found,) = [each for each in tab.client.list_failures() if "layer #" in each.words]
    assert f"failure={found.id}" in tab.page.url
    tab.client.delete_tasks(filter={"failure": found.id})
    expect(rows).to_have_count(0)


def test_pausing_is_shown_and_undone(tab: BrowserTab) -> None:
    tab.open()
    tab.button("Pause the queue").click()
    tab.confirm("Pause")
    banner = tab.page.locator(".banner.paused")
    try:
        expect(banner).to_contain_text("The queue is paused")
        depth = tab.page.get_by_role("row", name=re.compile("^10 high"))
        expect(depth.locator(".amount")).to_have_text("0")
        task_id = tab.submit_chat("while paused", priority="high")
        expect(depth.locator(".amount")).to_have_text("1")
        tab.open(f"task/{task_id}")
        expect(tab.page.locator(".facts")).to_contain_text("the queue to resume")
        tab.button("Resume", banner).click()
        expect(banner).to_have_count(0)
        expect(tab.page.locator("main .status").first).to_contain_text("completed")
    finally:
        tab.client.resume()


def wait(tab: BrowserTab, seconds: int) -> None:
    """On the page's own clock."""
    tab.page.clock.fast_forward(seconds * 1000)


def test_a_model_server_is_drained_and_resumed(tab: BrowserTab) -> None:
    tab.page.clock.install()
    tab.open()
    servers = tab.page.get_by_role("region", name="Model servers")
    expect(servers).to_contain_text("healthy")
    try:
        tab.button("Drain ollama").click()
        tab.confirm("Drain")
        expect(servers).to_contain_text("drained")
        task_id = tab.submit_chat("nobody takes it")
        expect(tab.page.get_by_role("region", name="Waiting by priority")).to_contain_text(
            "1 for a model server"
        )
        banner = tab.page.locator(".banner.unserved")
        wait(tab, 8)
        expect(banner).to_have_count(0)
        wait(tab, 3)
        expect(banner).to_contain_text("1 task waiting for a model server; nothing is lost.")
        expect(banner).to_contain_text("smollm2 (1): ollama is drained")
        tab.button("Resume ollama").click()
        expect(servers).to_contain_text("healthy")
        tab.wait_for(task_id)
        expect(banner).to_have_count(0)
    finally:
        tab.client.resume_backend("ollama")


def test_the_banner_names_the_models_that_nobody_has_and_leads_to_their_tasks(
    tab: BrowserTab,
) -> None:
    tab.page.clock.install()
    tab.open()
    models = ("unheard-of", "unheard-of", "gone-model", "third", "fourth")
    ids = [tab.submit_chat(f"for {model}", model=model) for model in models]
    other = tab.submit_chat("for later", scheduled_at="2031-01-01T00:00:00Z", model="unheard-of")
    waits = tab.page.get_by_role("region", name="Waiting by priority")
    expect(waits).to_contain_text("5 for a model server")
    wait(tab, 11)
    banner = tab.page.locator(".banner.unserved")
    expect(banner).to_contain_text("5 tasks waiting for a model server; nothing is lost.")
    expect(banner).to_contain_text("unheard-of (2): no server has it")
    expect(banner).to_contain_text("and 1 more model")
    banner.get_by_role("link", name="unheard-of").click()
    rows = tab.page.locator("tr.task-row")
    expect(tab.page).to_have_url(re.compile("waiting_for=backend&model=unheard-of$"))
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("no server")
    expect(rows.first.locator(".status")).to_have_attribute("title", "no server has it")
    expect(tab.page.locator(".chips")).to_contain_text("waiting for: backend")
    banner.get_by_role("link", name="View all 5").click()
    expect(rows).to_have_count(5)
    rows.first.locator(".c-title a").click()
    expect(tab.panel()).to_contain_text("a model server: no server has it")
    tab.client.cancel_tasks(ids=[*ids, other])
    expect(banner).to_have_count(0)


def test_a_list_by_what_tasks_wait_for_follows_without_an_event_of_theirs(tab: BrowserTab) -> None:
    tab.client.drain_backend("ollama")
    try:
        task_id = tab.submit_chat("waits for a server", tags=["reasons"])
        tab.open("tasks?waiting_for=paused")
        rows = tab.page.locator("tr.task-row")
        expect(tab.page.locator("main")).to_contain_text("No matching tasks")
        tab.client.pause()
        expect(rows).to_have_count(1)
        tab.client.cancel_task(task_id)
        expect(rows).to_have_count(0)
    finally:
        tab.client.resume()
        tab.client.resume_backend("ollama")


def test_a_model_is_loaded_and_unloaded_from_its_server(
    tab: BrowserTab, fake: FakeOllama, replies: Replies
) -> None:
    def behave(body: dict[str, Any]) -> Any:
        if body.get("prompt") or body.get("messages"):
            return replies.behaviour_for(body)
        loaded = ["smollm2"] if body.get("keep_alive") == 0 else ["smollm2", body["model"]]
        fake.lists(*MODELS, loaded=loaded)
        return Answer(body={"model": body["model"], "done": True})

    other = next(model for model in MODELS if model != "smollm2")
    fake.default = behave
    try:
        tab.open()
        servers = tab.page.get_by_role("region", name="Model servers")
        servers.get_by_label("Load a model on ollama").select_option(other)
        expect(tab.page.locator("body")).to_contain_text(f"{other} is in memory")
        tag = servers.locator(".tag.is-loaded", has_text=other)
        expect(tag).to_contain_text("in memory")
        tag.get_by_role("button", name=f"Unload {other} from ollama").click()
        expect(tag).to_have_count(0)
        expect(servers.locator(".tag", has_text=other)).to_be_visible()
    finally:
        fake.default = replies.behaviour_for
        fake.lists(*MODELS, loaded=["smollm2"])


def test_the_servers_of_a_fleet_are_listed(tab: BrowserTab) -> None:
    servers = tab.page.get_by_role("region", name="Servers", exact=True)
    tab.open()
    expect(tab.page.get_by_role("region", name="Model servers")).to_be_visible()
    expect(servers).to_have_count(0)  # there is one only

    one = {"version": "0.1.0", "slots": 4, "calls": 3, "same_settings": True}
    fleet = [
        {**one, "id": "a", "url": "http://10.0.0.5:7125", "leads": True, "lag_s": 0.3},
        {**one, "id": "b", "url": None, "leads": False, "lag_s": 2.0, "same_settings": False},
        {**one, "id": "c", "url": "http://c", "leads": False, "lag_s": 8.0, "silent": True},
    ]
    full = [{**fleet[0], "read_only": "the disk is full"}, *fleet[1:]]
    tab.page.route("**/api/servers", lambda route: route.fulfill(json=full))
    tab.open()
    expect(servers.get_by_title("the disk is full")).to_have_text("leader, read-only")
    tab.page.unroute("**/api/servers")

    tab.page.route("**/api/servers", lambda route: route.fulfill(json=fleet))
    tab.open()

    rows = servers.get_by_role("row")
    expect(rows).to_have_count(4)
    expect(rows.nth(1)).to_contain_text("http://10.0.0.5:7125")
    expect(rows.nth(1)).to_contain_text("leader")
    expect(rows.nth(1)).to_contain_text("3 of 4")
    expect(rows.nth(2)).to_contain_text("follower")
    expect(rows.nth(2)).to_contain_text("different from the leader's")
    expect(rows.nth(3)).to_contain_text("silent")
    tab.page.unroute("**/api/servers")
