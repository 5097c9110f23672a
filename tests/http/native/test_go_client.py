"""The original's client, written in Go: the exact bodies that it sends, which are whole records.

What its `encoding/json` makes of a struct: zero values stand there, a nil map is null, times have
nanoseconds.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollama_queue import Config, QueueManager
from ollama_queue.actors.core.config.config import Backend, QueueSettings
from tests.support.fakes.model_server import FakeOllama
from tests.support.harness.app import client

ZERO = "0001-01-01T00:00:00Z"
CHAT: dict[str, Any] = {
    "id": "",
    "type": "chat",
    "priority": 10,
    "status": "pending",
    "model": "smollm2",
    "payload": {"messages": [{"role": "user", "content": "Hello"}]},
    "options": None,
    "created_at": "2026-01-02T15:04:05.123456789+01:00",
    "retry_count": 0,
    "max_retries": 3,
}
GENERATE: dict[str, Any] = {
    **CHAT,
    "id": "3b1f8a6e-2f0e-4a38-9d6e-3f9a51c0a001",
    "type": "generate",
    "payload": {"prompt": "Hello", "system": "Be brief"},
    "options": {"temperature": 0.2},
    "remote_execution": False,
    "scheduled_at": "2026-01-02T15:04:05.123456789Z",
}
EMBED: dict[str, Any] = {
    **CHAT,
    "type": "embed",
    "payload": {"input": ["a", "b"], "truncate": True},
    "executed_on": "local",
    "result": None,
    "error": "",
}
CRON: dict[str, Any] = {
    "id": "",
    "name": "Daily Report",
    "cron_expr": "0 9 * * 1-5",
    "enabled": True,
    "task_template": {
        "type": "generate",
        "model": "smollm2",
        "priority": 5,
        "payload": {"prompt": "Generate", "system": "You are a business analyst"},
    },
    "run_count": 0,
    "created_at": ZERO,
    "updated_at": ZERO,
    "metadata": {"department": "analytics"},
}


@pytest.fixture
def http(tmp_path: Path) -> Iterator[httpx.Client]:
    fake = FakeOllama()
    config = Config(
        backends=[Backend(name="gpu", url=fake.url)],
        queue=QueueSettings(storage_path=str(tmp_path)),
    )
    with fake, QueueManager(config) as queue:
        yield client(queue)


@pytest.mark.parametrize("body", [CHAT, GENERATE, EMBED])
def test_a_whole_task_is_taken(http: httpx.Client, body: dict[str, Any]) -> None:
    answer = http.post("/api/tasks", json=body)
    assert answer.status_code == 201, answer.text

    task = http.get(f"/api/tasks/{answer.json()['task_id']}?wait=20").json()

    assert (task["status"], task["type"]) == ("completed", body["type"])
    assert (task["priority"], task["max_retries"]) == (10, 3)
    assert task["options"] == (body["options"] or {})
    assert task["payload"] == body["payload"]
    assert task["created_at"] > body["created_at"]  # the queue's own


def test_an_id_of_its_own_makes_one_task_of_two_submits(http: httpx.Client) -> None:
    first, again = (http.post("/api/tasks", json=GENERATE) for _ in range(2))
    other = http.post("/api/tasks", json={**GENERATE, "payload": {"prompt": "Else"}})
    nameless = {http.post("/api/tasks", json=CHAT).json()["task_id"] for _ in range(2)}

    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert first.json()["task_id"] == again.json()["task_id"]
    assert len(nameless) == 2


def test_a_batch_of_whole_tasks_is_taken(http: httpx.Client) -> None:
    answer = http.post("/api/tasks/batch?wait=20", json={"tasks": [CHAT, GENERATE, EMBED]})

    assert answer.status_code == 201
    assert [each["status"] for each in answer.json()["results"]] == ["completed"] * 3


def test_a_whole_cron_is_taken_changed_and_found(http: httpx.Client) -> None:
    cron_id = http.post("/api/cron", json=CRON).json()["id"]
    made = http.get(f"/api/cron/{cron_id}").json()
    changed = http.put(f"/api/cron/{cron_id}", json={**made, "enabled": False, "name": "é"})

    assert (made["name"], made["run_count"]) == ("Daily Report", 0)
    assert made["next_run"] is not None
    assert changed.json()["enabled"] is False
    for query, found in (
        ({}, 1),
        ({"enabled": "false"}, 1),
        ({"enabled": "true"}, 0),
        ({"name": ["x", "é"], "limit": 5}, 1),
        ({"name": "Daily Report"}, 0),
        ({"offset": 1}, 0),
    ):
        assert len(http.get("/api/cron", params=query).json()) == found, query
    assert http.get("/api/cron", params={"enabled": "1"}).status_code == 400
