"""The Batches view: how far each is, what failed, its results as a file."""

import json
import re
import threading
from pathlib import Path

from playwright.sync_api import expect

from ollama_queue import generate_task
from tests.support.fakes.behaviours import Answer, Stream
from tests.support.harness.page import Replies, Visit


def submit(visit: Visit, *prompts: str, **fields: object) -> str:
    tasks = [generate_task("smollm2", prompt, **fields) for prompt in prompts]
    return visit.client.submit_batch(tasks).batch_id


def test_a_batch_is_followed_to_its_end(visit: Visit, replies: Replies) -> None:
    gate = threading.Event()
    replies.when("held", Stream(gate=gate))
    visit.open("batches")
    batch_id = submit(visit, "held one", "held two", "three")
    line = visit.line(batch_id)
    expect(line).to_contain_text("1 of 3")
    line.locator(".l-name a").click()
    counts = visit.panel().locator(".tally")
    expect(counts).to_contain_text("running2")
    gate.set()
    expect(line).to_contain_text("done")
    expect(counts).to_contain_text("completed3")
    visit.panel().get_by_role("link", name="View tasks").click()
    expect(visit.page).to_have_url(re.compile(f"#/tasks\\?batch_id={batch_id}"))


def test_errors_are_shown_and_retried(visit: Visit, replies: Replies) -> None:
    replies.when("hopeless", Answer(400, {"error": "no such luck"}))
    batch_id = submit(visit, "fine", "hopeless case")
    visit.open(f"batches/{batch_id}")
    errors = visit.panel().locator(".part", has_text="Errors")
    expect(errors).to_contain_text("hopeless case")
    expect(errors).to_contain_text("no such luck")
    expect(visit.line(batch_id).locator(".l-last")).to_contain_text("1")
    replies.when("hopeless", Stream())
    visit.button("Retry 1 failed").click()
    expect(visit.panel().locator(".tally")).to_contain_text("completed2")
    expect(errors).to_have_count(0)


def test_what_is_left_is_cancelled(visit: Visit, replies: Replies) -> None:
    replies.when("endless", Stream(then="hang"))
    batch_id = submit(visit, *(f"endless {number}" for number in range(6)))
    visit.open(f"batches/{batch_id}")
    visit.button("Cancel the rest").click()
    visit.confirm("Cancel tasks")
    visit.said("6 tasks cancelled")
    expect(visit.panel().locator(".tally")).to_contain_text("cancelled6")
    expect(visit.button("Cancel the rest")).to_have_count(0)


def test_results_are_downloaded_in_the_order_of_the_file(visit: Visit, tmp_path: Path) -> None:
    prompts = [f"line {number}" for number in range(450)]  # three pages
    batch_id = submit(visit, *prompts)
    visit.open(f"batches/{batch_id}")
    expect(visit.panel()).to_contain_text("completed450")
    with visit.page.expect_download() as download:
        visit.button("Download results").click()
    assert download.value.suggested_filename == f"batch-{batch_id}.jsonl"
    lines = Path(download.value.path()).read_text().splitlines()
    tasks = [json.loads(line) for line in lines]
    assert [task["payload"]["prompt"] for task in tasks] == prompts
    assert {task["result"]["response"] for task in tasks} == {"Hello from here"}
    visit.said("Saved 450 tasks")


def test_a_batch_that_is_gone_says_so(visit: Visit) -> None:
    visit.open("batches/none-such")
    expect(visit.panel()).to_contain_text("Batch not found")
