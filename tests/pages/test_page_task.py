"""One task: its reply as it comes, what was asked, and what can be done to it."""

import re
import threading

from playwright.sync_api import expect

from ollama_queue import embed_task
from tests.support.fakes.behaviours import Answer, Stream
from tests.support.harness.page import Replies, Visit


def test_a_reply_is_followed_as_it_comes(visit: Visit, replies: Replies) -> None:
    gate = threading.Event()
    replies.when("slowly", Stream(("Once", " upon", " a time"), gate=gate))
    task_id = visit.chat("Tell it slowly")
    visit.open(f"task/{task_id}")
    reply = visit.page.get_by_role("region", name="reply")
    expect(reply).to_contain_text("Once")
    expect(reply).not_to_contain_text("upon")
    gate.set()
    answer = visit.page.get_by_role("region", name="assistant")
    expect(answer).to_contain_text("Once upon a time")
    expect(reply).to_have_count(0)


def test_an_attempt_that_ends_is_begun_again_in_sight(visit: Visit, replies: Replies) -> None:
    gate = threading.Event()
    replies.when("shaky", Stream(("first words",), then="hang"))
    task_id = visit.chat("a shaky one", timeout_s=1.5)
    visit.open(f"task/{task_id}")
    reply = visit.page.get_by_role("region", name="reply")
    expect(reply).to_contain_text("first words")
    replies.when("shaky", Stream(("better", " words"), gate=gate))
    expect(reply).to_contain_text("better")
    expect(reply).not_to_contain_text("first words")
    gate.set()
    expect(visit.page.get_by_role("region", name="assistant")).to_contain_text("better words")
    visit.page.get_by_role("tab", name="Timeline").click()
    expect(visit.page.locator(".timeline")).to_contain_text("Attempt 2")


def test_a_running_task_is_cancelled(visit: Visit, replies: Replies) -> None:
    replies.when("without end", Stream(then="hang"))
    task_id = visit.chat("without end")
    visit.open(f"tasks?open={task_id}")
    expect(visit.panel().locator(".status").first).to_contain_text("running")
    visit.button("Cancel", visit.panel()).click()
    visit.said("Cancelled")
    expect(visit.panel().locator(".status").first).to_contain_text("cancelled")
    assert visit.client.get_task(task_id).status == "cancelled"


def test_a_failed_task_says_why_and_is_retried(visit: Visit, replies: Replies) -> None:
    replies.when("doomed", Answer(400, {"error": "the model is not amused"}))
    task_id = visit.chat("doomed")
    visit.ended(task_id)
    visit.open(f"task/{task_id}")
    expect(visit.page.get_by_role("region", name="error")).to_contain_text("not amused")
    replies.when("doomed", Stream())
    visit.button("Retry").click()
    expect(visit.page.get_by_role("region", name="assistant")).to_contain_text("Hello from here")


def test_a_task_is_retried_as_new_with_edits(visit: Visit) -> None:
    fields = {"system": "Be kind.", "options": {"seed": 3}, "tags": ["kept"], "think": False}
    task_id = visit.chat("the old question", model="qwen3", **fields)
    visit.ended(task_id)
    visit.open(f"task/{task_id}")
    visit.button("Duplicate and edit …").click()
    expect(visit.field("Message 1")).to_have_value("the old question")
    visit.field("Message 1").fill("a better question")
    visit.button("Submit").click()
    expect(visit.page).to_have_url(re.compile("#/task/"))
    expect(visit.page.get_by_role("heading", name="a better question")).to_be_visible()
    new = visit.client.get_task(visit.page.url.rpartition("/")[2])
    assert new.id != task_id
    assert new.payload == {
        "messages": [{"role": "user", "content": "a better question"}],
        "system": "Be kind.",
        "think": False,
    }
    assert (new.options, new.tags) == ({"seed": 3}, ["kept"])


def test_a_task_is_deleted(visit: Visit) -> None:
    task_id = visit.chat("to forget")
    visit.ended(task_id)
    visit.open(f"task/{task_id}")
    visit.button("Delete").click()
    visit.confirm("Delete")
    visit.said("Deleted")
    expect(visit.page.locator("main")).to_contain_text("has been deleted")
    assert visit.client.list_tasks({"q": task_id}) == []


def test_all_of_it_can_be_seen_and_copied(visit: Visit) -> None:
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    task_id = visit.chat("in full", metadata={"ticket": "A-17"})
    visit.ended(task_id)
    visit.open(f"task/{task_id}")
    visit.page.get_by_role("tab", name="Payload").click()
    expect(visit.page.get_by_role("tabpanel")).to_contain_text("A-17")
    visit.page.get_by_role("tab", name="Raw JSON").click()
    expect(visit.page.get_by_role("tabpanel")).to_contain_text(task_id)
    visit.button("Copy result").click()
    visit.said("Copied")
    assert visit.page.evaluate("navigator.clipboard.readText()") == "Hello from here"


def test_replies_in_openais_dialect_are_read_like_all(visit: Visit, replies: Replies) -> None:
    gate = threading.Event()
    replies.when("openly", Stream(("Once", " upon", " a time"), gate=gate))
    task_id = visit.chat("Tell it openly", dialect="openai")
    visit.open(f"task/{task_id}")
    expect(visit.page.get_by_role("region", name="reply")).to_contain_text("Once")
    gate.set()
    expect(visit.page.get_by_role("region", name="assistant")).to_contain_text("Once upon a time")
    expect(visit.page.locator(".figures")).to_contain_text("3 output tokens")

    vectors = visit.client.submit_task(embed_task("smollm2", ["a", "bcd"], dialect="openai"))
    visit.ended(vectors)
    visit.open(f"task/{vectors}")
    expect(visit.page.get_by_role("region", name="embeddings")).to_contain_text("3.0000")


def test_a_time_is_local_and_utc_when_hovered_over(visit: Visit) -> None:
    task_id = visit.chat("when was it")
    [task] = visit.ended(task_id)
    visit.open(f"task/{task_id}")
    created = visit.page.locator(".facts time").first
    expect(created).to_have_attribute(
        "title", re.compile(f"{task.created_at:%Y-%m-%d %H:%M:%S}.*UTC")
    )


def test_a_task_that_is_not_there_says_so(visit: Visit) -> None:
    visit.open("task/none-such")
    expect(visit.page.locator("main")).to_contain_text("It may have been deleted")
    visit.page.get_by_role("link", name="All tasks").click()
    expect(visit.page).to_have_url(re.compile("#/tasks$"))
