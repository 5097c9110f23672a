"""The bounds of what users write, at each door, and how little lists and events carry."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ollama_queue.actors.api.views import listed, shown, whole
from ollama_queue.actors.core.messages.replies import StoredTask
from ollama_queue.actors.core.model import limits
from ollama_queue.actors.core.model.events import EventRecord
from ollama_queue.actors.core.model.tasks import Attempt, Record, Task
from ollama_queue.actors.core.plan.settle import kept, utc
from tests.support.harness.app import AppHarness, error
from tests.support.harness.cli import CliHarness

LONG = "x" * 257
TASK = {"type": "generate", "model": "m", "prompt": "p"}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
CRON = {"name": "n", "cron_expr": "0 9 * * *", "task_template": TASK}


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/api/tasks", {**TASK, "model": LONG}, "model"),
        ("POST", "/api/tasks", {**TASK, "tags": ["a"] * 65}, "tags"),
        ("POST", "/api/tasks", {**TASK, "timeout_s": 604_801}, "timeout_s"),
        ("POST", "/api/tasks/batch", [TASK, {**TASK, "tags": ["a", LONG]}], "tasks[1].tags[1]"),
        ("POST", "/api/tasks/cancel", {"ids": ["a", LONG]}, "ids[1]"),
        ("POST", "/api/tasks/delete", {"filter": {"q": LONG}}, "q"),
        ("POST", "/api/cron", {**CRON, "cron_expr": "* " * 200}, "cron_expr"),
        ("POST", "/api/cron", {**CRON, "name": LONG}, "name"),
        ("POST", "/api/cron/test", {"cron_expr": "* " * 200}, "cron_expr"),
        ("GET", f"/api/tasks?model={LONG}", None, "model"),
        ("GET", f"/api/tasks?tag=a&tag={LONG}", None, "tag"),
        ("GET", f"/api/tasks/{LONG}", None, "task_id"),
        ("GET", f"/api/tasks/{LONG}/stream", None, "task_id"),
        ("DELETE", f"/api/cron/{LONG}", None, "cron_id"),
        ("POST", f"/api/backends/{LONG}/drain", None, "name"),
        ("GET", f"/api/events?tasks={LONG}", None, "tasks[0]"),
    ],
)
def test_native_routes_name_the_field(
    house: AppHarness, method: str, path: str, body: Any, field: str
) -> None:
    answer = house.http.request(method, path, json=body)

    assert error(answer) == (400, "invalid", field)
    assert len(answer.content) < 500
    assert house.queue.get_queue_stats().total_tasks == 0


@pytest.mark.parametrize(("path", "body"), [("/api/chat", CHAT), ("/v1/chat/completions", CHAT)])
@pytest.mark.parametrize(
    ("headers", "more", "words"),
    [
        ({}, {"model": LONG}, "model must have at most 256 characters, it has 257"),
        ({"X-Queue-Tenant": LONG}, {}, "X-Queue-Tenant must have at most 256 characters"),
        ({"X-Queue-Timeout": "604801"}, {}, "X-Queue-Timeout must be seconds above 0, at most"),
        ({"X-Queue-Timeout": "nan"}, {}, "X-Queue-Timeout must be seconds above 0, at most"),
        ({"X-Queue-Timeout": "1h"}, {}, "X-Queue-Timeout must be seconds above 0, at most"),
        ({"X-Queue-Start-Within": "0"}, {}, "X-Queue-Start-Within must be seconds above 0"),
        ({"Idempotency-Key": LONG}, {}, "the idempotency key must have 1 to 256 characters"),
    ],
)
def test_routes_of_other_apis_say_it_in_their_form(
    house: AppHarness, path: str, body: Any, headers: dict[str, str], more: Any, words: str
) -> None:
    answer = house.http.post(path, json={**body, **more}, headers=headers)

    assert answer.status_code == 400
    told = answer.json()["error"]
    assert (told if isinstance(told, str) else told["message"]).startswith(words)
    assert house.queue.get_queue_stats().total_tasks == 0


def test_a_tier_is_not_repeated_at_any_length(house: AppHarness) -> None:
    answer = house.http.post("/v1/chat/completions", json={**CHAT, "service_tier": LONG})

    assert answer.json()["error"]["param"] == "service_tier"


def test_a_client_of_another_api_may_limit_its_call(house: AppHarness) -> None:
    limits = {"X-Queue-Timeout": "2.5", "X-Queue-Start-Within": "1.5"}
    answer = house.http.post("/api/chat", json={**CHAT, "stream": False}, headers=limits)

    task = house.queue.get_task(answer.headers["X-Queue-Task-Id"])
    assert task.deadline == task.created_at + timedelta(seconds=2.5)
    assert task.start_within == 1.5


def test_a_models_name_that_looks_like_rules_is_a_name(house: AppHarness) -> None:
    """Once it ended the scheduler, and with it the queue."""
    answer = house.http.post("/api/tasks", json={**TASK, "model": 'm {"@backend":"other"} {'})

    assert answer.status_code == 201
    assert house.queue.get_task(answer.json()["task_id"]).attempt == 0


def test_the_command_line_names_the_field(tmp_path: Path) -> None:
    with CliHarness(tmp_path) as shell:
        for words, said in (
            (("submit", "generate", "--model", LONG, "--prompt", "p"), "model must have at most"),
            (("list", "--tag", LONG), "tag must have at most 256 characters"),
        ):
            result = shell.run(*words)
            assert (result.exit_code, said in result.stderr) == (2, True), result.stderr


# --- what lists and events carry ----------------------------------------------------------------


def an_attempt(number: int) -> Attempt:
    error = "é" * 2000
    at = utc(number)
    return Attempt(attempt=number, backend="b" * 256, started_at=at, ended_at=at, error=error)


def largest(**fields: Any) -> Record:
    """A record as large as the limits allow."""
    facts: dict[str, Any] = {
        "model": "m" * 256,
        "tenant": "t" * 256,
        "backend": "b" * 256,
        "title": "t" * 120,
        "tags": ["t" * 128] * 64,
        "error": "e" * 2000,
        "attempts": kept([an_attempt(n) for n in range(1, 151)]),
    }
    at = utc(0)
    base = {"id": "i" * 36, "type": "generate", "priority": 5, "max_retries": 100}
    return Record(**base, created_at=at, queued_at=at, **(facts | fields))


def test_lists_and_events_carry_little_of_a_task() -> None:
    task = listed(largest(), None)

    assert len(msgspec.json.encode(task).decode()) < 14_000
    assert [each.attempt for each in task.attempts] == [51, 149, 150]
    assert {len(each.error or "") for each in task.attempts} == {limits.BRIEF}
    assert shown(EventRecord("task_failed", largest(), utc(0), 1)).task == task


def test_a_record_keeps_the_newest_attempts_and_their_words() -> None:
    attempts = largest().attempts

    assert [each.attempt for each in attempts] == list(range(51, 151))
    assert [len(each.error or "") for each in attempts] == [200] * 90 + [2000] * 10
    assert len(msgspec.json.encode(largest()).decode()) < 100_000


def test_what_was_larger_before_is_cut_in_lists_and_whole_by_itself() -> None:
    old = largest(model="m" * 10_000, tags=["t" * 10_000] * 1000, error="e" * 10_000)
    task: Task = listed(old, None)

    assert (len(task.model), len(task.tags), len(task.tags[0])) == (256, 64, 128)
    assert task.error == "e" * 1999 + "…"
    alone = whole(StoredTask(old, json.dumps({"payload": {}}).encode(), None), None)
    assert (alone.model, alone.tags, alone.error) == (old.model, old.tags, old.error)
