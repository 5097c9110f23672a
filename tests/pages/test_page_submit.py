"""A task, or a file of them, from the form to the model."""

import json
from pathlib import Path

from ollama_queue import generate_task
from tests.pages.browser import Desk, expect


def test_submit_a_chat(desk: Desk) -> None:
    page = desk.open("submit")

    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.get_by_text("Write at least one message")).to_be_visible()
    expect(page.get_by_label("Message 1", exact=True)).to_be_focused()
    page.get_by_label("Message 1", exact=True).fill("Hello?")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.get_by_label("Model", exact=True)).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Model", exact=True).fill("qwen3")
    page.get_by_role("button", name="Add a message").click()
    page.get_by_label("Message 2", exact=True).fill("Yes.")
    page.get_by_label("Priority").select_option("10")
    page.get_by_text("Options", exact=True).click()
    page.get_by_label("Retries").fill("101")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.get_by_text("max_retries must be a whole number from 0 to 100")).to_be_visible()
    desk.complaints.clear()  # the browser logs each answer that is an error
    page.get_by_label("Retries").fill("1")
    page.get_by_label("Reply").select_option("json")
    page.keyboard.press("Control+Enter")

    desk.address(r"#/task/")
    expect(page.get_by_label("assistant").last).to_contain_text("Hello from here")
    [call] = desk.fake.wait_for_calls(1)
    assert [m["content"] for m in call.body["messages"]] == ["Hello?", "Yes."]
    assert call.body["format"] == "json"


def test_again_with_edits(desk: Desk) -> None:
    task_id = desk.client.submit_task(
        generate_task("qwen3", "old words", system="short", keep_alive="5m", options={"seed": 3})
    )
    desk.client.wait(task_id)
    page = desk.open(f"task/{task_id}")

    page.get_by_role("button", name="Retry as new").click()
    expect(page.get_by_label("Prompt")).to_have_value("old words")
    page.get_by_label("Prompt").fill("new words")
    page.get_by_role("button", name="Submit", exact=True).click()
    second = desk.fake.wait_for_calls(2)[1].body
    assert (second["prompt"], second["system"], second["keep_alive"]) == (
        "new words",
        "short",
        "5m",
    )
    assert second["options"]["seed"] == 3


def test_a_file_of_tasks(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    good = {"type": "generate", "model": "qwen3", "prompt": "from a file"}
    file.write_text(f"{json.dumps(good)}\n{{nonsense\n")
    page = desk.open("submit")
    page.get_by_role("button", name="A file of tasks").click()

    page.get_by_label("Choose a file").set_input_files(file)
    expect(page.get_by_text("line 2")).to_be_visible()
    expect(page.get_by_role("button", name="Submit 1 task")).to_be_disabled()

    file.write_text(f"{json.dumps(good)}\n" * 3)
    page.get_by_label("Choose a file").set_input_files(file)
    page.get_by_role("button", name="Submit 3 tasks").click()
    page.get_by_role("link", name="See them").click()
    expect(desk.row("from a file")).to_have_count(3)
