"""The OpenAPI document is valid, names the routes there are, and says what they answer."""

import json
import re
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator

from ollama_queue import QueueManager
from ollama_queue.http import wire
from ollama_queue.http.native import openapi
from ollama_queue.http.serving.app import create_app
from tests.support.fakes.model_server import Answer
from tests.support.harness.app import TASK, AppHarness

DOCUMENT: dict[str, Any] = json.loads(bytes(openapi.document()))
SCHEMAS = DOCUMENT["components"]["schemas"]
CRON = {"name": "n", "cron_expr": "@daily", "task_template": TASK}
NOBODY = "0199c2a4-7d3e-7b11-8f00-5a2e9d1c4b60"


def matches(value: Any, schema: dict[str, Any]) -> None:
    whole = {**schema, "components": DOCUMENT["components"]}
    Draft202012Validator(whole, format_checker=FormatChecker()).validate(value)


class Caller:
    """Makes requests, and compares what it sends and what comes back with the document."""

    def __init__(self, house: AppHarness) -> None:
        self.http = house.http

    def __call__(self, method: str, rule: str, *, status: int = 200, **more: Any) -> Any:
        path = rule.replace("{id}", more.pop("id", ""))
        response = self.http.request(method, path, **more)
        assert response.status_code == status, response.text
        operation = DOCUMENT["paths"][rule][method.lower()]
        if "json" in more and status < 300:
            matches(more["json"], schema_of(operation["requestBody"]))
        answer = response.json()
        matches(answer, schema_of(operation["responses"][str(status)]))
        return answer


def schema_of(part: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = part["content"]["application/json"]["schema"]
    return schema


@pytest.fixture
def call(house: AppHarness) -> Caller:
    return Caller(house)


# --- the document -------------------------------------------------------------------------------


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_it_names_the_routes_that_there_are() -> None:
    routes = {
        (route.method, re.sub(r"<\w+>", "{id}", route.rule))
        for route in create_app(QueueManager()).routes
        if route.rule != "/" and not route.rule.startswith("/static/")  # the page is no API
        if not wire.is_ollamas(route.rule)  # which is documented by others
        if not wire.is_openais(route.rule)
    }

    assert routes == {
        (method.upper(), path)
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
    }


def test_each_operation_has_a_name_of_its_own() -> None:
    names = [
        operation["operationId"]
        for path in DOCUMENT["paths"].values()
        for operation in path.values()
    ]

    assert len(names) == len(set(names))


def test_each_schema_is_used() -> None:
    text = json.dumps(DOCUMENT)
    used = set(re.findall(r"#/components/schemas/(\w+)", text))

    assert set(DOCUMENT["components"]["schemas"]) - used == {"Event"}  # the feeds name it


def test_times_are_marked_wherever_they_are() -> None:
    def is_time(name: str, field: str) -> bool:
        return '"format": "date-time"' in json.dumps(SCHEMAS[name]["properties"][field])

    for name, field in (
        ("Task", "created_at"),
        ("Task", "started_at"),
        ("NewTask", "scheduled_at"),
        ("Attempt", "ended_at"),
        ("Period", "at"),
        ("TaskFilter", "since"),
        ("Times", "next"),
    ):
        assert is_time(name, field), (name, field)
    assert not is_time("Task", "title")


def test_headers_are_named() -> None:
    answers = DOCUMENT["paths"]["/api/tasks"]["get"]["responses"]

    assert set(answers["200"]["headers"]) == {"Link", "X-Total-Count"}
    assert set(answers["503"]["headers"]) == {"Retry-After"}
    assert "headers" not in answers["400"]


def test_it_is_served_as_it_is(house: AppHarness) -> None:
    answer = house.http.get("/openapi.json")

    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == DOCUMENT


# --- what the app really takes and answers ------------------------------------------------------


def test_tasks_are_as_documented(house: AppHarness, call: Caller) -> None:
    done = house.done()
    running = house.running()
    call("POST", "/api/tasks", json={**TASK, "priority": "high"}, status=201)
    call("POST", "/api/tasks", json=TASK, status=429)
    whole = {"type": "chat", "model": "m", "payload": {"messages": []}, "priority": 3}
    call("POST", "/api/tasks", json=whole, status=400)

    call("GET", "/api/tasks")
    call("GET", "/api/tasks", params={"status": "lost"}, status=400)
    for task_id in (done, running):
        call("GET", "/api/tasks/{id}", id=task_id)
    call("GET", "/api/tasks/{id}", id="gone", status=404)
    call("POST", "/api/tasks/{id}/priority", id=running, json={"priority": 3})
    call("POST", "/api/tasks/{id}/cancel", id=running)
    call("POST", "/api/tasks/{id}/cancel", id=done, status=409)
    call("DELETE", "/api/tasks/{id}", id=done)


def test_a_failed_task_is_as_documented(house: AppHarness, call: Caller) -> None:
    house.fake.script(Answer(400, {"error": "no"}))
    failed = call("GET", "/api/tasks/{id}", id=house.done())

    assert failed["error"] is not None
    assert failed["attempts"][0]["error"] is not None


def test_batches_are_as_documented(house: AppHarness, call: Caller) -> None:
    made = call("POST", "/api/tasks/batch", json={"tasks": [TASK]}, status=201)
    house.queue.wait(made["task_ids"][0], timeout=10)  # only one may wait in this house
    call("POST", "/api/tasks/batch", params={"wait": 10}, json=[TASK], status=201)
    call("POST", "/api/tasks/batch", json={"tasks": []}, status=400)
    call("GET", "/api/batches")
    call("GET", "/api/batches/{id}", id=made["batch_id"])


def test_bulk_is_as_documented(house: AppHarness, call: Caller) -> None:
    done = house.done()
    for verb in ("cancel", "retry", "delete"):
        call("POST", f"/api/tasks/{verb}", json={"ids": [done, NOBODY]})
        call("POST", f"/api/tasks/{verb}", json={"filter": {}})
    call("POST", "/api/tasks/priority", json={"ids": [done], "priority": "low"})
    call("POST", "/api/tasks/priority", json={"filter": {"status": ["pending"]}, "priority": 1})
    call("POST", "/api/tasks/priority", json={"filter": {}}, status=400)


def test_crons_are_as_documented(call: Caller) -> None:
    made = call("POST", "/api/cron", json=CRON, status=201)
    call("POST", "/api/cron", json={}, status=400)
    call("POST", "/api/cron", params={"if_exists": "keep"}, json=CRON)
    call("POST", "/api/cron", params={"if_exists": "error"}, json=CRON, status=409)
    call("GET", "/api/cron")
    for method, rule in (("GET", ""), ("PUT", "/enable"), ("PUT", "/disable"), ("DELETE", "")):
        call(method, f"/api/cron/{{id}}{rule}", id=made["id"])
    call("PUT", "/api/cron/{id}", id=made["id"], json={"name": "other"}, status=404)
    call("POST", "/api/cron/test", json={"cron_expr": "@daily", "count": 3})


def test_a_crons_run_is_as_documented(call: Caller) -> None:
    made = call("POST", "/api/cron", json=CRON, status=201)

    call("POST", "/api/cron/{id}/run", id=made["id"], status=201)
    call("PUT", "/api/cron/{id}", id=made["id"], json={"name": "other"})


def test_the_queue_is_as_documented(house: AppHarness, call: Caller) -> None:
    house.done()
    for path in ("/api/status", "/api/stats", "/api/history", "/healthz", "/openapi.json"):
        call("GET", path)
    call("GET", "/api/backends")
    for verb in ("drain", "resume"):
        call("POST", f"/api/backends/{{id}}/{verb}", id="ollama")
        call("POST", f"/api/backends/{{id}}/{verb}", id="gone", status=404)
    call("POST", "/api/pause")
    call("POST", "/api/resume")
    call("GET", "/ws", status=426)


def test_a_foreign_page_is_refused_as_documented(call: Caller) -> None:
    call("POST", "/api/pause", headers={"Origin": "http://evil.example"}, status=403)


def test_an_event_is_as_documented(house: AppHarness) -> None:
    events = house.queue.subscribe(["task_completed", "queue_paused"])
    house.done()
    house.queue.pause()

    for _ in range(2):
        event = json.loads(msgspec.json.encode(events.get(10)))
        matches(event, {"$ref": "#/components/schemas/Event"})
