"""The Batches view: how far each is, what failed, its results as a file."""

import json
import re
import threading
from pathlib import Path

import openai
from playwright.sync_api import expect

from ollama_queue import generate_task
from tests.support.fakes.behaviours import Answer, Stream
from tests.support.harness.page import BrowserTab, Replies


def submit(tab: BrowserTab, *prompts: str, **fields: object) -> str:
    tasks = [generate_task("smollm2", prompt, **fields) for prompt in prompts]
    return tab.client.submit_batch(tasks).batch_id


def test_a_batch_is_followed_to_its_end(tab: BrowserTab, replies: Replies) -> None:
    gate = threading.Event()
    replies.when("held", Stream(gate=gate))
    tab.open("batches")
    batch_id = submit(tab, "held one", "held two", "three")
    line = tab.table_row(batch_id)
    expect(line).to_contain_text("1 of 3")
    line.locator(".l-name a").click()
    counts = tab.panel().locator(".tally")
    expect(counts).to_contain_text("running2")
    gate.set()
    expect(line).to_contain_text("done")
    expect(counts).to_contain_text("completed3")
    tab.panel().get_by_role("link", name="View tasks").click()
    expect(tab.page).to_have_url(re.compile(f"#/tasks\\?batch_id={batch_id}"))


def test_errors_are_shown_and_retried(tab: BrowserTab, replies: Replies) -> None:
    replies.when("hopeless", Answer(400, {"error": "no such luck"}))
    batch_id = submit(tab, "fine", "hopeless case")
    tab.open(f"batches/{batch_id}")
    errors = tab.panel().locator(".part", has_text="Errors")
    expect(errors).to_contain_text("hopeless case")
    expect(errors).to_contain_text("no such luck")
    expect(tab.table_row(batch_id).locator(".l-last")).to_contain_text("1")
    replies.when("hopeless", Stream())
    tab.button("Retry 1 failed").click()
    expect(tab.panel().locator(".tally")).to_contain_text("completed2")
    expect(errors).to_have_count(0)


def test_errors_are_shown_by_kind(tab: BrowserTab, replies: Replies) -> None:
    for number in range(3):
        answer = Answer(400, {"error": f"line {number} is too long"})
        replies.when(f"verbose {number}", answer)
    replies.when("rude", Answer(400, {"error": "mind your words"}))
    batch_id = submit(tab, "verbose 0", "verbose 1", "verbose 2", "rude")
    tab.open(f"batches/{batch_id}")
    kinds = tab.panel().locator(".part", has_text="Errors").locator("li")
    expect(kinds).to_have_count(2)
    expect(kinds.nth(0)).to_contain_text("is too long")
    expect(kinds.nth(0)).to_contain_text("and 2 more like it")
    expect(kinds.nth(1)).to_contain_text("mind your words")
    expect(kinds.nth(1)).not_to_contain_text("more like it")


def test_what_is_left_is_cancelled(tab: BrowserTab, replies: Replies) -> None:
    replies.when("endless", Stream(then="hang"))
    batch_id = submit(tab, *(f"endless {number}" for number in range(6)))
    tab.open(f"batches/{batch_id}")
    tab.button("Cancel the rest").click()
    tab.confirm("Cancel tasks")
    tab.expect_toast("6 tasks cancelled")
    expect(tab.panel().locator(".tally")).to_contain_text("cancelled6")
    expect(tab.button("Cancel the rest")).to_have_count(0)


def test_results_are_downloaded_in_the_order_of_the_file(tab: BrowserTab, tmp_path: Path) -> None:
    prompts = [f"line {number}" for number in range(450)]  # three pages
    batch_id = submit(tab, *prompts)
    tab.open(f"batches/{batch_id}")
    expect(tab.panel()).to_contain_text("completed450")
    with tab.page.expect_download() as download:
        tab.button("Download results").click()
    assert download.value.suggested_filename == f"batch-{batch_id}.jsonl"
    lines = Path(download.value.path()).read_text().splitlines()
    tasks = [json.loads(line) for line in lines]
    assert [task["payload"]["prompt"] for task in tasks] == prompts
    assert {task["result"]["response"] for task in tasks} == {"Hello from here"}
    tab.expect_toast("Saved 450 tasks")


def test_a_batch_that_is_gone_says_so(tab: BrowserTab) -> None:
    tab.open("batches/none-such")
    expect(tab.panel()).to_contain_text("Batch not found")


def create(tab: BrowserTab, *lines: str) -> str:
    """Create a batch from a file with these lines; its id."""
    with openai.OpenAI(base_url=f"{tab.client.url}/v1", api_key="x", max_retries=0) as official:
        file = official.files.create(file="\n".join(lines).encode(), purpose="batch")
        batch = official.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="7d"
        )
    return tab.client.get_batch(batch.id).id


def request(name: str) -> str:
    body = {"model": "smollm2", "messages": [{"role": "user", "content": name}]}
    url = "/v1/chat/completions"
    return json.dumps({"custom_id": name, "method": "POST", "url": url, "body": body})


def test_a_batch_from_a_file_is_followed_and_its_files_downloaded(
    tab: BrowserTab, replies: Replies
) -> None:
    gate = threading.Event()
    replies.when("held", Stream(gate=gate))
    replies.when("hopeless", Answer(400, {"error": {"message": "no such luck"}}))
    batch_id = create(tab, request("held"), request("hopeless"), request("fine"))
    tab.open(f"batches/{batch_id}")
    expect(tab.panel()).to_contain_text("in progress")
    gate.set()
    expect(tab.panel().locator(".facts")).to_contain_text("Statuscompleted")
    expect(tab.table_row(batch_id)).to_contain_text("completed")
    for link, custom_ids in (
        ("Download replies", ["held", "fine"]),
        ("Download errors", ["hopeless"]),
    ):
        with tab.page.expect_download() as download:
            tab.panel().get_by_role("link", name=link).click()
        lines = Path(download.value.path()).read_text().splitlines()
        assert [json.loads(line)["custom_id"] for line in lines] == custom_ids
        assert download.value.suggested_filename.endswith(".jsonl")


def test_what_is_wrong_in_a_file_is_shown_by_kind(tab: BrowserTab) -> None:
    batch_id = create(tab, request("a"), request("a"), "<b>x</b>", request("a"))
    tab.open(f"batches/{batch_id}")
    faults = tab.panel().locator(".part", has_text="Errors in the file")
    expect(faults).to_contain_text("duplicate_custom_id: lines 2, 4")
    expect(faults).to_contain_text("invalid_json_line: line 3")
    expect(tab.table_row(batch_id)).to_contain_text("failed")


def test_a_batch_from_a_file_is_cancelled(tab: BrowserTab, replies: Replies) -> None:
    replies.when("endless", Stream(then="hang"))
    batch_id = create(tab, *(request(f"endless {number}") for number in range(6)))
    tab.open(f"batches/{batch_id}")
    tab.button("Cancel the batch").click()
    tab.confirm("Cancel batch")
    expect(tab.panel().locator(".facts")).to_contain_text("Statuscancelled")
    expect(tab.panel().get_by_role("link", name="Download errors")).to_have_count(1)
    expect(tab.button("Cancel the batch")).to_have_count(0)
