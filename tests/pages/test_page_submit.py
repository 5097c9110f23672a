"""The Submit view: each type of task, mistakes beside their fields, a file of tasks."""

import json
import re
from pathlib import Path

from playwright.sync_api import Browser, expect

from ollama_queue import Task
from tests.support.fakes.model_server import FakeOllama
from tests.support.harness.page import BrowserTab, Replies
from tests.support.servers.queue_server import QueueServer

ON_TASK = re.compile(r"#/task/[0-9a-f-]{36}$")


def submitted(tab: BrowserTab) -> Task:
    """The task that the form made: the page shows it now."""
    tab.button("Submit").click()
    expect(tab.page).to_have_url(ON_TASK)
    expect(tab.page.locator("main .status").first).to_contain_text("completed")
    return tab.client.get_task(tab.page.url.rpartition("/")[2])


def options(tab: BrowserTab) -> None:
    tab.page.locator("details.more > summary").click()


def test_a_chat_of_several_messages(tab: BrowserTab) -> None:
    tab.open("submit")
    tab.field("Model").fill("qwen3")
    tab.field("Priority").select_option("10 high")
    tab.field("System").fill("Be brief.")
    tab.field("Message 1").fill("What is a queue?")
    tab.button("Add a message").click()
    tab.field("Message 2").fill("A line of those who wait.")
    tab.button("Add a message").click()
    expect(tab.field("Role of message 3")).to_have_value("user")
    tab.field("Message 3").fill("And a stack?")
    options(tab)
    tab.field("Temperature").fill("0.5")
    tab.field("Tags").fill("one, two")
    task = submitted(tab)
    expect(tab.page.locator("main")).to_contain_text("Hello from here")
    assert (task.type, task.model, task.priority) == ("chat", "qwen3", 10)
    assert [each["role"] for each in task.payload["messages"]] == ["user", "assistant", "user"]
    assert task.payload["system"] == "Be brief."
    assert (task.options, task.tags) == ({"temperature": 0.5}, ["one", "two"])


def test_a_completion_in_json(tab: BrowserTab) -> None:
    tab.open("submit")
    tab.field("Type").select_option("generate")
    tab.field("Model").fill("smollm2")
    tab.field("Prompt").fill("A colour, as JSON")
    options(tab)
    tab.field("Response format").select_option("JSON")
    tab.field("More options (JSON)").fill('{"seed": 7}')
    task = submitted(tab)
    assert task.payload == {"prompt": "A colour, as JSON", "format": "json"}
    assert task.options == {"seed": 7}


def test_embeddings_are_summarised(tab: BrowserTab) -> None:
    tab.open("submit")
    tab.field("Type").select_option("embed")
    tab.field("Model").fill("nomic-embed-text")
    tab.field("Texts").fill("one text\n\nanother text")
    task = submitted(tab)
    assert task.payload == {"input": ["one text", "another text"]}
    expect(tab.page.get_by_role("region", name="embeddings")).to_contain_text("2 embeddings of")


def test_a_task_for_later(tab: BrowserTab) -> None:
    tab.open("submit")
    tab.field("Model").fill("smollm2")
    tab.field("Message 1").fill("for later")
    tab.field("Not before").fill("2030-01-02T03:04")
    tab.button("Submit").click()
    expect(tab.page.locator("main .status").first).to_contain_text("scheduled")
    task = tab.client.get_task(tab.page.url.rpartition("/")[2])
    assert task.scheduled_at is not None and task.scheduled_at.year == 2030
    tab.client.cancel_task(task.id)


def test_a_mistake_is_said_beside_its_field(tab: BrowserTab) -> None:
    tab.open("submit")
    wrong = tab.page.locator("main form .is-wrong")
    tab.button("Submit").click()
    expect(wrong.locator("label")).to_have_text("Model")
    expect(tab.field("Model")).to_be_focused()
    tab.field("Model").fill("smollm2")
    tab.button("Submit").click()
    expect(tab.page.locator("main form [role=alert]")).to_contain_text("at least one message")
    expect(tab.field("Message 1")).to_be_focused()
    tab.field("Message 1").fill("something")
    options(tab)
    tab.field("More options (JSON)").fill("[1]")
    tab.button("Submit").click()
    expect(wrong.locator("label")).to_have_text("More options (JSON)")
    tab.field("More options (JSON)").fill("")
    tab.field("Timeout").fill("-3")  # which only the server minds
    tab.button("Submit").click()
    expect(wrong).to_contain_text("timeout_s must be seconds above 0")
    tab.field("Timeout").fill("30")
    assert submitted(tab).timeout_s == 30


def test_a_fallback_answers_in_place_of_the_model(tab: BrowserTab) -> None:
    tab.open("submit")
    tab.field("Model").fill("smollm2")
    tab.field("Message 1").fill("whoever can")
    options(tab)
    tab.field("Fallback models").fill("qwen3, smollm2:latest")
    tab.button("Submit").click()
    wrong = tab.page.locator("main form .is-wrong")
    expect(wrong).to_contain_text("must be a model other than the task's own")
    tab.field("Fallback models").fill("qwen3, tiny")
    task = submitted(tab)
    assert task.fallback_models == ["qwen3", "tiny"]
    expect(tab.page.locator("main .facts")).to_contain_text("qwen3, tiny")


def test_a_task_has_its_limits_of_time(tab: BrowserTab) -> None:
    tab.open("submit")
    tab.field("Model").fill("smollm2")
    tab.field("Message 1").fill("in time, or not at all")
    options(tab)
    tab.field("Deadline").fill("2020-01-01T10:00")  # which only the server minds
    tab.button("Submit").click()
    wrong = tab.page.locator("main form .is-wrong")
    expect(wrong).to_contain_text("deadline must be in the future")
    tab.field("Deadline").fill("2040-01-01T10:00")
    tab.field("Start within").fill("90")
    task = submitted(tab)
    assert task.deadline is not None and task.deadline.year == 2040
    assert task.start_within == 90


def test_the_only_model_there_is_need_not_be_named(
    browser: Browser, replies: Replies, tmp_path: Path
) -> None:
    with (
        FakeOllama(replies.behaviour_for).lists("lonely") as one,
        QueueServer(tmp_path, one.url) as server,
    ):
        page = browser.new_page(base_url=server.base_url)
        tab = BrowserTab(page, server)
        tab.open("crons/new")
        expect(tab.field("Model")).to_have_value("lonely")
        tab.open("submit")
        expect(tab.field("Model")).to_have_value("lonely")
        tab.field("Model").fill("")  # another one is about to be typed
        expect(tab.field("Model")).to_have_value("")
        tab.open("submit")
        tab.field("Message 1").fill("to the only one")
        assert submitted(tab).model == "lonely"
        assert tab.errors() == []
        page.close()


def lines(*tasks: object) -> bytes:
    return "\n".join(json.dumps(task) for task in tasks).encode()


def chat(text: str) -> dict[str, object]:
    return {"type": "chat", "model": "smollm2", "messages": [{"role": "user", "content": text}]}


def test_a_file_of_tasks_is_dropped(tab: BrowserTab) -> None:
    tab.open("batches")
    tab.page.get_by_role("link", name="Submit a batch").first.click()  # two, where there is none
    text = lines(chat("first"), {"type": "generate", "model": "qwen3", "prompt": "second"}).decode()
    dropped = tab.page.evaluate_handle(
        "(text) => { const data = new DataTransfer();"
        "data.items.add(new File([text], 'tasks.jsonl')); return data; }",
        text,
    )
    tab.page.locator(".drop").dispatch_event("drop", {"dataTransfer": dropped})
    found = tab.page.locator(".file-summary")
    expect(found).to_contain_text("tasks.jsonl")
    expect(found).to_contain_text("1 chat, 1 generate")
    tab.button("Submit 2 tasks").click()
    tab.page.get_by_role("link", name="View batch").click()
    expect(tab.panel().locator(".tally")).to_contain_text("completed2")


def test_an_array_of_tasks_is_chosen(tab: BrowserTab, tmp_path: Path) -> None:
    tab.open("submit?mode=batch")
    file = tmp_path / "tasks.json"
    file.write_text(json.dumps([chat("a"), chat("b"), chat("c")]))
    tab.page.locator("input[type=file]").set_input_files(file)
    tab.button("Submit 3 tasks").click()
    expect(tab.page.locator(".file-summary")).to_contain_text("Submitted 3 tasks")


def test_what_is_wrong_in_a_file_is_named_before_it_goes(tab: BrowserTab) -> None:
    tab.open("submit?mode=batch")
    promptless = {"type": "generate", "model": "smollm2", "payload": {"prompts": "?"}}
    bad = lines(chat("fine"), {"type": "chat", "messages": []}, promptless) + b"\nno json at all\n"
    files = {"name": "bad.jsonl", "mimeType": "application/x-ndjson", "buffer": bad}
    tab.page.locator("input[type=file]").set_input_files(files)
    mistakes = tab.page.locator(".mistakes li")
    expect(mistakes).to_have_count(3)
    expect(mistakes.first).to_contain_text("line 2 model is missing")
    expect(mistakes.nth(1)).to_contain_text("line 3 prompt is missing")
    expect(mistakes.last).to_contain_text("line 4")
    expect(tab.page.get_by_role("button", name=re.compile("^Submit \\d"))).to_be_disabled()


def test_what_only_the_server_minds_in_a_file_is_named(tab: BrowserTab) -> None:
    tab.open("submit?mode=batch")
    body = lines(chat("fine"), chat("fine") | {"priority": 99})
    files = {"name": "bad.jsonl", "mimeType": "application/x-ndjson", "buffer": body}
    tab.page.locator("input[type=file]").set_input_files(files)
    tab.button("Submit 2 tasks").click()
    expect(tab.page.locator(".file-summary [role=alert]")).to_contain_text("priority must be")
