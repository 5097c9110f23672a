"""One task: its reply as it comes, what was asked, and what can be done to it."""

import re
import threading
from typing import Any

from playwright.sync_api import expect

from ollama_queue import embed_task
from tests.support.fakes.behaviours import Answer, Stream
from tests.support.harness.page import BrowserTab, Replies


def test_a_reply_is_followed_as_it_comes(tab: BrowserTab, replies: Replies) -> None:
    gate = threading.Event()
    replies.when("slowly", Stream(("Once", " upon", " a time"), gate=gate))
    task_id = tab.submit_chat("Tell it slowly")
    tab.open(f"task/{task_id}")
    reply = tab.page.get_by_role("region", name="reply")
    expect(reply).to_contain_text("Once")
    expect(reply).not_to_contain_text("upon")
    gate.set()
    answer = tab.page.get_by_role("region", name="assistant")
    expect(answer).to_contain_text("Once upon a time")
    expect(reply).to_have_count(0)


def test_an_attempt_that_ends_is_begun_again_in_sight(tab: BrowserTab, replies: Replies) -> None:
    gate = threading.Event()
    replies.when("shaky", Stream(("first words",), then="hang"))
    task_id = tab.submit_chat("a shaky one", timeout_s=1.5)
    tab.open(f"task/{task_id}")
    reply = tab.page.get_by_role("region", name="reply")
    expect(reply).to_contain_text("first words")
    replies.when("shaky", Stream(("better", " words"), gate=gate))
    expect(reply).to_contain_text("better")
    expect(reply).not_to_contain_text("first words")
    gate.set()
    expect(tab.page.get_by_role("region", name="assistant")).to_contain_text("better words")
    tab.page.get_by_role("tab", name="Timeline").click()
    expect(tab.page.locator(".timeline")).to_contain_text("Attempt 2")


def test_a_late_task_says_so_wherever_it_is_shown(tab: BrowserTab) -> None:
    tab.client.pause()
    try:
        waits = tab.submit_chat("patient", start_within=600)
        tab.open(f"task/{waits}")
        facts = tab.page.locator(".facts")
        expect(facts).to_contain_text("Start within10 m 00 s")
        expect(facts).to_contain_text(re.compile(r"Expires in9 m \d\d s"))
        late = tab.submit_chat("impatient", start_within=0.01)
        tab.wait_for(late)
        tab.open(f"task/{late}")
        expect(tab.page.locator("main .status").first).to_contain_text("expired")
        expect(tab.page.get_by_role("region", name="error")).to_contain_text("did not start within")
        tab.open("tasks")
        tab.button("Filters").click()
        tab.field("Error").select_option("expired")
        rows = tab.page.locator("main tbody tr")
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text("impatient")
        tab.client.cancel_task(waits)
    finally:
        tab.client.resume()


def test_a_running_task_is_cancelled(tab: BrowserTab, replies: Replies) -> None:
    replies.when("without end", Stream(then="hang"))
    task_id = tab.submit_chat("without end")
    tab.open(f"tasks?open={task_id}")
    expect(tab.panel().locator(".status").first).to_contain_text("running")
    tab.button("Cancel", tab.panel()).click()
    tab.expect_toast("Cancelled")
    expect(tab.panel().locator(".status").first).to_contain_text("cancelled")
    assert tab.client.get_task(task_id).status == "cancelled"


def test_a_failed_task_says_why_and_is_retried(tab: BrowserTab, replies: Replies) -> None:
    replies.when("doomed", Answer(400, {"error": "the model is not amused"}))
    task_id = tab.submit_chat("doomed")
    tab.wait_for(task_id)
    tab.open(f"task/{task_id}")
    expect(tab.page.get_by_role("region", name="error")).to_contain_text("not amused")
    replies.when("doomed", Stream())
    tab.button("Retry").click()
    expect(tab.page.get_by_role("region", name="assistant")).to_contain_text("Hello from here")


def test_a_task_is_retried_as_new_with_edits(tab: BrowserTab) -> None:
    fields = {"system": "Be kind.", "options": {"seed": 3}, "tags": ["kept"], "think": False}
    task_id = tab.submit_chat("the old question", model="qwen3", **fields)
    tab.wait_for(task_id)
    tab.open(f"task/{task_id}")
    tab.button("Duplicate and edit …").click()
    expect(tab.field("Message 1")).to_have_value("the old question")
    tab.field("Message 1").fill("a better question")
    tab.button("Submit").click()
    expect(tab.page).to_have_url(re.compile("#/task/"))
    expect(tab.page.get_by_role("heading", name="a better question")).to_be_visible()
    new = tab.client.get_task(tab.page.url.rpartition("/")[2])
    assert new.id != task_id
    assert new.payload == {
        "messages": [{"role": "user", "content": "a better question"}],
        "system": "Be kind.",
        "think": False,
    }
    assert (new.options, new.tags) == ({"seed": 3}, ["kept"])


def test_a_task_is_deleted(tab: BrowserTab) -> None:
    task_id = tab.submit_chat("to forget")
    tab.wait_for(task_id)
    tab.open(f"task/{task_id}")
    tab.button("Delete").click()
    tab.confirm("Delete")
    tab.expect_toast("Deleted")
    expect(tab.page.locator("main")).to_contain_text("has been deleted")
    assert tab.client.list_tasks({"q": task_id}) == []


def test_all_of_it_can_be_seen_and_copied(tab: BrowserTab) -> None:
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    task_id = tab.submit_chat("in full", metadata={"ticket": "A-17"})
    tab.wait_for(task_id)
    tab.open(f"task/{task_id}")
    tab.page.get_by_role("tab", name="Payload").click()
    expect(tab.page.get_by_role("tabpanel")).to_contain_text("A-17")
    tab.page.get_by_role("tab", name="Raw JSON").click()
    expect(tab.page.get_by_role("tabpanel")).to_contain_text(task_id)
    tab.button("Copy result").click()
    tab.expect_toast("Copied")
    assert tab.page.evaluate("navigator.clipboard.readText()") == "Hello from here"


def test_replies_in_openais_dialect_are_read_like_all(tab: BrowserTab, replies: Replies) -> None:
    gate = threading.Event()
    replies.when("openly", Stream(("Once", " upon", " a time"), gate=gate))
    task_id = tab.submit_chat("Tell it openly", dialect="openai")
    tab.open(f"task/{task_id}")
    expect(tab.page.get_by_role("region", name="reply")).to_contain_text("Once")
    gate.set()
    expect(tab.page.get_by_role("region", name="assistant")).to_contain_text("Once upon a time")
    expect(tab.page.locator(".figures")).to_contain_text("3 output tokens")

    vectors = tab.client.submit_task(embed_task("smollm2", ["a", "bcd"], dialect="openai"))
    tab.wait_for(vectors)
    tab.open(f"task/{vectors}")
    expect(tab.page.get_by_role("region", name="embeddings")).to_contain_text("3.0000")


def test_a_time_is_local_and_utc_when_hovered_over(tab: BrowserTab) -> None:
    task_id = tab.submit_chat("when was it")
    [task] = tab.wait_for(task_id)
    tab.open(f"task/{task_id}")
    created = tab.page.locator(".facts time").first
    expect(created).to_have_attribute(
        "title", re.compile(f"{task.created_at:%Y-%m-%d %H:%M:%S}.*UTC")
    )


def test_a_task_that_is_not_there_says_so(tab: BrowserTab) -> None:
    tab.open("task/none-such")
    expect(tab.page.locator("main")).to_contain_text("It may have been deleted")
    tab.page.get_by_role("link", name="All tasks").click()
    expect(tab.page).to_have_url(re.compile("#/tasks$"))


def test_a_response_is_shown_like_a_chat(tab: BrowserTab, replies: Replies) -> None:
    gate = threading.Event()
    replies.when("slow response", Stream(("It", " comes"), gate=gate))
    call = {"type": "function_call", "call_id": "c", "name": "add", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "output": "five"}
    user = {"role": "user", "content": [{"type": "input_text", "text": "slow response"}]}
    payload = {"instructions": "be brief", "input": [user, call, output]}
    new: Any = {"type": "chat", "model": "smollm2", "dialect": "responses", "payload": payload}
    task_id = tab.client.submit_task(new)
    tab.open(f"task/{task_id}")
    expect(tab.page.get_by_role("region", name="reply")).to_contain_text("It")
    gate.set()
    expect(tab.page.get_by_role("region", name="assistant").last).to_contain_text("It comes")
    expect(tab.page.get_by_role("region", name="system")).to_contain_text("be brief")
    expect(tab.page.get_by_role("region", name="user")).to_contain_text("slow response")
    expect(tab.page.get_by_role("region", name="tool")).to_contain_text("five")
    expect(tab.page.locator(".conversation")).to_contain_text("add({})")
    expect(tab.page.locator(".figures")).to_contain_text("3 prompt tokens")
    expect(tab.page.get_by_role("heading", level=1)).to_contain_text("slow response")
