"""Batches over HTTP and on the command line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollama_queue.http.serving.app import create_app
from tests.support.fakes.model_server import Answer
from tests.support.harness.cli import CliHarness

TASKS = [
    {"type": "chat", "model": "m", "priority": 15, "messages": [{"role": "user", "content": "a"}]},
    {"type": "generate", "model": "m", "priority": "high", "prompt": "b", "system": "be brief"},
    {"type": "embed", "model": "m", "priority": 1, "input": "c"},
]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[CliHarness]:
    with CliHarness(tmp_path) as opened:
        yield opened


@pytest.fixture
def http(house: CliHarness) -> httpx.Client:
    app = create_app(house.queue, max_upload=2000)
    return httpx.Client(transport=httpx.WSGITransport(app=app), base_url="http://localhost")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (json.dumps(TASKS), "application/json"),
        (json.dumps({"tasks": TASKS}), "application/json"),
        ("\n".join(map(json.dumps, TASKS)), "application/x-ndjson"),
        ("\n\n".join(map(json.dumps, TASKS)) + "\n", "application/x-ndjson; charset=utf-8"),
    ],
)
def test_each_form_of_a_batch_is_taken(http: httpx.Client, content: str, kind: str) -> None:
    url = "/api/tasks/batch?wait=20"
    answer = http.post(url, content=content, headers={"Content-Type": kind})

    assert answer.status_code == 201
    made = answer.json()
    assert [item["task_id"] for item in made["results"]] == made["task_ids"]
    assert [item["status"] for item in made["results"]] == ["completed"] * 3
    batch = http.get(f"/api/batches/{made['batch_id']}").json()
    assert (batch["total"], batch["completed"]) == (3, 3)
    assert http.get("/api/batches").json() == [batch]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([TASKS[0], {**TASKS[1], "priorty": 1}], "tasks[1].priorty"),
        ([TASKS[0], 3], "tasks[1]"),
        ([], "tasks"),
        ({"task": TASKS}, "tasks"),
        ("x", "tasks"),
    ],
)
def test_a_bad_batch_names_the_item(http: httpx.Client, body: Any, field: str) -> None:
    answer = http.post("/api/tasks/batch", json=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == field
    assert http.get("/api/status").json()["total_tasks"] == 0


def test_a_line_that_is_not_json_is_numbered(http: httpx.Client) -> None:
    headers = {"Content-Type": "application/x-ndjson"}
    answer = http.post("/api/tasks/batch", content=b'{"type"\n', headers=headers)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("line 1 must be JSON")


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
def test_a_batch_may_not_be_too_large(http: httpx.Client, kind: str) -> None:
    content = json.dumps([{**TASKS[1], "prompt": "x" * 3000}])
    answer = http.post("/api/tasks/batch", content=content, headers={"Content-Type": kind})

    assert answer.status_code == 413


def test_a_file_is_submitted(house: CliHarness, tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(TASKS))

    ids = house.ok("submit", "batch", "--file", str(path)).split()

    assert [house.queue.get_task(task_id).priority for task_id in ids] == [15, 10, 1]


def test_lines_are_submitted_and_waited_for(house: CliHarness, tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(map(json.dumps, TASKS)))

    items = house.json("submit", "batch", "--file", str(path), "--sync")

    assert [item["status"] for item in items] == ["completed"] * 3
    assert items[0]["result"]["message"]["content"] == "Hello from here"


def test_a_batch_with_a_failure_exits_1(house: CliHarness, tmp_path: Path) -> None:
    house.fake.script(Answer(400, {"error": "no"}))
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(TASKS))

    result = house.run("submit", "batch", "--file", str(path), "--sync")

    assert result.exit_code == 1
    assert "Error: 1 of 3 tasks did not complete" in result.stderr
    assert result.stdout.count("completed") == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps([TASKS[0], {"type": "chat"}]), "tasks[1].model is missing"),
        ("[", "must be JSON"),
        ("", "tasks must be a list of at least one task"),
    ],
)
def test_a_bad_file_submits_nothing(
    house: CliHarness, tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(text)

    result = house.run("submit", "batch", "--file", str(path))

    assert result.exit_code == 2
    assert words in result.stderr
    assert house.queue.get_queue_stats().total_tasks == 0


def test_a_missing_file_is_named(house: CliHarness) -> None:
    result = house.run("submit", "batch", "--file", "nowhere.json")

    assert (result.exit_code, "nowhere.json cannot be read" in result.stderr) == (2, True)
