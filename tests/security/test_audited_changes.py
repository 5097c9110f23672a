"""Whoever changes something leaves an entry in the audit log, on every route of the table."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollama_queue import AuditEntry
from ollama_queue.http.routes import ROUTES, HttpRoute
from tests.support.harness.tenants import OPS, TenantsHarness

TASK = {"type": "generate", "model": "smollm2", "prompt": "a secret"}
CRON = {"name": "nightly", "cron_expr": "@daily", "task_template": TASK}
CHAT = {"model": "smollm2", "messages": [{"role": "user", "content": "a secret"}]}
NO_CHANGE = {
    "submit_task": "the task itself says when it came, and from which tenant",
    "submit_batch": "and so do those of a batch",
    "test_cron": "a question",
}
WRITING = [route for route in ROUTES if route.method != "GET" and route.operation not in NO_CHANGE]


class Workshop:
    """A paused queue, an admin's client, and one of everything that can be changed."""

    def __init__(self, folder: Path) -> None:
        self.house = TenantsHarness(folder)
        self.house.fake.lists("smollm2", loaded=["smollm2"])
        self.house.queue.probe_backends()
        self.house.queue.pause()
        self.http = self.house.client(OPS)

    def made(self, path: str, body: Any, field: str) -> str:
        answer = self.http.post(path, json=body)
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()[field])

    def task(self) -> str:
        return self.made("/api/tasks", TASK, "task_id")

    def cancelled(self) -> str:
        return self.made(f"/api/tasks/{self.task()}/cancel", None, "id")

    def batch(self) -> str:
        return self.made("/api/tasks/batch", [TASK], "batch_id")

    def cron(self) -> str:
        return self.made("/api/cron", CRON, "id")

    def key(self) -> str:
        self.made("/api/keys", {"name": "first", "role": "admin"}, "name")
        return self.made("/api/keys", {"name": "new"}, "name")

    def delivery(self) -> str:
        task = {**TASK, "callback_url": "http://127.0.0.1:9/"}
        self.made(f"/api/tasks/{self.made('/api/tasks', task, 'task_id')}/cancel", None, "id")
        (delivery,) = self.house.queue.list_deliveries().deliveries
        return delivery.id

    def file(self) -> str:
        line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": CHAT}
        content = json.dumps(line).encode()
        upload = self.http.post(
            "/v1/files", data={"purpose": "batch"}, files={"file": ("a.jsonl", content)}
        )
        return str(upload.json()["id"])

    def entries(self) -> list[AuditEntry]:
        """All entries, newest first."""
        return self.house.queue.list_audit().entries


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path)
    yield made
    made.house.close()


Prepared = tuple[str, Any]  # what is changed, and the body of the request
PREPARED: dict[str, Callable[[Workshop], Prepared]] = {
    "cancel_task": lambda shop: (shop.task(), None),
    "update_task_priority": lambda shop: (shop.task(), {"priority": 3}),
    "retry_task": lambda shop: (shop.cancelled(), None),
    "delete_task": lambda shop: (shop.cancelled(), None),
    "cancel_tasks": lambda shop: ("", {"ids": [shop.task()]}),
    "retry_tasks": lambda shop: ("", {"ids": [shop.cancelled()]}),
    "delete_tasks": lambda shop: ("", {"ids": [shop.cancelled()]}),
    "priority_tasks": lambda shop: ("", {"ids": [shop.task()], "priority": 3}),
    "cancel_batch": lambda shop: (shop.batch(), None),
    "retry_delivery": lambda shop: (shop.delivery(), None),
    "add_cron": lambda shop: ("", CRON),
    "update_cron": lambda shop: (shop.cron(), {"name": "weekly"}),
    "remove_cron": lambda shop: (shop.cron(), None),
    "enable_cron": lambda shop: (shop.cron(), None),
    "disable_cron": lambda shop: (shop.cron(), None),
    "run_cron": lambda shop: (shop.cron(), None),
    "drain_backend": lambda shop: ("ollama", None),
    "resume_backend": lambda shop: ("ollama", None),
    "load_model": lambda shop: ("ollama", {"model": "smollm2"}),
    "unload_model": lambda shop: ("ollama", {"model": "smollm2"}),
    "pause": lambda shop: ("", None),
    "resume": lambda shop: ("", None),
    "take_snapshot": lambda shop: ("", None),
    "add_key": lambda shop: ("", {"name": "new", "role": "admin"}),
    "rotate_key": lambda shop: (shop.key(), None),
    "revoke_key": lambda shop: (shop.key(), None),
}


@pytest.mark.parametrize("route", WRITING, ids=lambda route: route.operation)
def test_each_route_that_changes_something_leaves_an_entry(
    shop: Workshop, route: HttpRoute[Any]
) -> None:
    target, body = PREPARED[route.operation](shop)
    before = len(shop.entries())

    answer = shop.http.request(route.method, route.public_path.replace("{id}", target), json=body)

    assert answer.status_code == route.status, answer.text
    entries = shop.entries()
    made = entries[: len(entries) - before]
    (entry,) = (each for each in made if each.action == route.verb)
    assert entry.target == target or not target
    assert (entry.who, entry.door) == ("ops", "http")
    assert "secret" not in str(made)


@pytest.mark.parametrize(
    "route",
    [route for route in WRITING if "{id}" in route.public_path],
    ids=lambda route: route.operation,
)
def test_a_change_of_what_is_not_there_leaves_none(shop: Workshop, route: HttpRoute[Any]) -> None:
    _, body = PREPARED[route.operation](shop)
    before = len(shop.entries())
    path = route.public_path.replace("{id}", "01a21f60-3ffc-7e18-97f3-85655d6b8be8")

    answer = shop.http.request(route.method, path, json=body)

    assert answer.status_code == httpx.codes.NOT_FOUND, answer.text
    assert len(shop.entries()) == before


def test_neither_does_one_that_its_state_refuses(shop: Workshop) -> None:
    key, file_id = shop.key(), shop.file()
    body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions"}
    batch = shop.made("/v1/batches", {**body, "completion_window": "24h"}, "id")
    assert shop.http.post(f"/v1/batches/{batch}/cancel").status_code == httpx.codes.OK
    ended = shop.http.post(f"/v1/batches/{batch}/cancel")
    while ended.status_code == httpx.codes.OK:
        ended = shop.http.post(f"/v1/batches/{batch}/cancel")
    cron = shop.made("/api/cron", {**CRON, "overlap": "skip"}, "id")
    assert shop.http.post(f"/api/cron/{cron}/run").status_code == httpx.codes.CREATED
    before = len(shop.entries())

    statuses = [
        shop.http.request(method, path, json=body).status_code
        for method, path, body in (
            ("POST", "/api/keys", {"name": key}),
            ("POST", f"/v1/batches/{batch}/cancel", None),
            ("POST", f"/api/batches/{batch}/cancel", None),
            ("POST", f"/api/cron/{cron}/run", None),
            ("DELETE", "/v1/files/file-none", None),
        )
    ]

    assert statuses == [409, 409, 409, 409, 404]
    assert len(shop.entries()) == before


def test_a_batch_from_a_file_leaves_one_however_often_it_is_asked_for(shop: Workshop) -> None:
    file_id = shop.file()
    body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions"}
    body["completion_window"] = "24h"
    ids = {
        shop.http.post("/v1/batches", json=body, headers={"Idempotency-Key": "k"}).json()["id"]
        for _ in range(2)
    }
    params = {**CHAT, "max_tokens": 5}
    requests = {"requests": [{"custom_id": "1", "params": params}]}
    assert shop.http.post("/v1/messages/batches", json=requests).status_code == 200

    created = [each for each in shop.entries() if each.action == "create_batch"]
    assert len(ids) == 1
    assert [each.who for each in created] == ["ops", "ops"]
    assert f"batch_{created[-1].target.replace('-', '')}" in ids
    assert created[-1].detail == f"from {file_id}"


def test_the_command_line_is_named_apart_from_programs(shop: Workshop) -> None:
    for agent in ("ollama-queue-cli", "ollama-queue", "curl/8"):
        answer = shop.http.post("/api/pause", headers={"User-Agent": agent})
        assert answer.status_code == httpx.codes.OK

    assert [each.door for each in shop.entries()[:3]] == ["http", "client", "cli"]
