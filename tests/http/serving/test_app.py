"""The HTTP door: what it takes, and with which status it answers."""

import json
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.util import setup_testing_defaults

import httpx
import pytest

from ollama_queue.http.serving.app import create_app
from tests.support.harness.app import MAX_BODY, TASK, AppHarness, error


@pytest.fixture
def http(house: AppHarness) -> httpx.Client:
    return house.http


@pytest.mark.parametrize(
    ("path", "in_form"),
    [
        ("/api/tasks/%ff", lambda told: told["code"] == "invalid" and told["field"] == "path"),
        ("/api/tasks%ff", lambda told: told["code"] == "invalid"),
        ("/v1/files/file-%ff", lambda told: told["type"] == "invalid_request_error"),
        ("/api/tags%ff", lambda told: told["code"] == "invalid"),
        ("/api/blobs/%ff", lambda told: told == "the path must be UTF-8"),
    ],
)
def test_a_path_that_is_not_utf_8_is_400(house: AppHarness, path: str, in_form: Any) -> None:
    """It once led to the route of the path without those bytes."""
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin1")
    started: list[str] = []

    (body,) = create_app(house.queue)(environ, lambda status, headers: started.append(status))

    assert started == ["400 Bad Request"]
    assert in_form(json.loads(body)["error"])


# --- submitting ---------------------------------------------------------------------------------


def test_a_new_task_is_201_and_a_known_one_200(house: AppHarness) -> None:
    house.running()
    headers = {"Idempotency-Key": "k"}
    first, again = house.submit(**headers), house.submit(**headers)

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.headers["Content-Type"] == "application/json"
    assert first.json() == again.json()
    assert first.json().keys() == {"task_id", "status", "position"}
    assert (first.json()["status"], first.json()["position"]) == ("pending", 0)


def test_a_key_of_another_task_is_409(house: AppHarness) -> None:
    house.submit(**{"Idempotency-Key": "k"})
    other = house.submit({**TASK, "prompt": "other"}, **{"Idempotency-Key": "k"})

    assert error(other) == (409, "conflict", "idempotency_key")


@pytest.mark.parametrize("key", ["", "k" * 257])
def test_a_key_must_have_a_length(house: AppHarness, key: str) -> None:
    assert error(house.submit(**{"Idempotency-Key": key})) == (400, "invalid", "idempotency_key")


@pytest.mark.parametrize(
    ("task", "field"),
    [
        ([], "task"),
        ("hi", "task"),
        ({}, "type"),
        ({"type": "paint"}, "type"),
        ({"type": ["chat"]}, "type"),
        ({"type": "chat"}, "model"),
        ({**TASK, "model": 3}, "model"),
        ({**TASK, "colour": "red"}, "colour"),
        ({**TASK, "priority": "urgent"}, "priority"),
        ({**TASK, "tags": "a"}, "tags"),
        ({**TASK, "tags": ["a", 1]}, "tags[1]"),
        ({**TASK, "payload": {"prompt": "hi"}}, "prompt"),
        ({**TASK, "scheduled_at": "tomorrow"}, "scheduled_at"),
        ({**TASK, "timeout_s": 0}, "timeout_s"),
    ],
)
def test_a_wrong_task_is_400_with_the_field(house: AppHarness, task: Any, field: str) -> None:
    assert error(house.submit(task)) == (400, "invalid", field)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"type": "chat"', b"[" * 1500, b"nan", b'"\\ud800']
)
def test_a_body_that_is_not_json_is_400(http: httpx.Client, body: bytes) -> None:
    assert error(http.post("/api/tasks", content=body)) == (400, "invalid", "body")


def test_a_full_queue_is_429_and_says_when(house: AppHarness) -> None:
    house.running()
    house.submit()
    full = house.submit()

    assert error(full) == (429, "queue_full", None)
    assert full.headers["Retry-After"] == "5"


# --- size ---------------------------------------------------------------------------------------


class Untouchable:
    """A body that must not be read."""

    def read(self, size: int = -1) -> bytes:
        raise AssertionError("read before it was refused")


def test_a_large_body_is_413_before_it_is_read(house: AppHarness) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        environ["wsgi.input"] = Untouchable()
        return inner(environ, start_response)

    inner = create_app(house.queue, max_body=MAX_BODY)
    with httpx.Client(transport=httpx.WSGITransport(app=app)) as http:
        answer = http.post("http://127.0.0.1:7125/api/tasks", content=b"x" * (MAX_BODY + 1))

    assert error(answer) == (413, "too_large", None)


def test_a_body_without_a_length_is_413_too(http: httpx.Client) -> None:
    pieces = (b"x" * 100 for _ in range(MAX_BODY // 100 + 1))
    request = http.build_request("POST", "/api/tasks", content=pieces)
    assert "Content-Length" not in request.headers

    assert error(http.send(request)) == (413, "too_large", None)


def test_a_body_without_a_length_is_read(http: httpx.Client) -> None:
    pieces = iter([json.dumps(TASK).encode()])

    assert http.post("/api/tasks", content=pieces).status_code == 201


def test_a_body_of_just_the_size_is_taken(http: httpx.Client) -> None:
    body = json.dumps(TASK).encode().ljust(MAX_BODY)

    assert http.post("/api/tasks", content=body).status_code == 201


# --- reading ------------------------------------------------------------------------------------


def test_a_task_is_shown_whole(house: AppHarness) -> None:
    task = house.http.get(f"/api/tasks/{house.done()}").json()

    assert (task["status"], task["payload"], task["priority"]) == ("completed", {"prompt": "hi"}, 5)
    assert task["created_at"].endswith("Z")
    assert task["attempts"][0]["backend"] == "ollama"
    assert task["result"]["response"] == "Hello from here"


def test_waiting_ends_with_the_task_or_the_time(house: AppHarness) -> None:
    task_id = house.running()
    assert house.http.get(f"/api/tasks/{task_id}?wait=0.05").json()["status"] == "running"
    assert house.http.get(f"/api/tasks/{task_id}?wait=0").json()["status"] == "running"

    house.queue.cancel_task(task_id)
    assert house.http.get(f"/api/tasks/{task_id}?wait=60").json()["status"] == "cancelled"


@pytest.mark.parametrize("wait", ["", "soon", "-1", "nan", "inf", "3601", "1e9"])
def test_a_wait_must_be_seconds(house: AppHarness, wait: str) -> None:
    answer = house.http.get(f"/api/tasks/{house.done()}", params={"wait": wait})

    assert error(answer) == (400, "invalid", "wait")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("limit=1.5", "limit"),
        ("limit=9999999999", "limit"),
        ("limit=٣", "limit"),
        ("offset=-1", "offset"),
        ("offset=10001", "offset"),
        ("status=lost", "status"),
        ("status=pending&status=lost", "status"),
        ("colour=red", "colour"),
    ],
)
def test_a_wrong_query_is_400_with_the_parameter(
    http: httpx.Client, query: str, field: str
) -> None:
    assert error(http.get(f"/api/tasks?{query}")) == (400, "invalid", field)


def test_a_query_that_a_route_does_not_know_is_400(house: AppHarness) -> None:
    assert error(house.http.get(f"/api/tasks/{house.done()}?waits=1")) == (400, "invalid", "waits")


def test_lists_take_several_statuses(house: AppHarness) -> None:
    done = house.done()
    listed = house.http.get("/api/tasks?status=completed&status=failed&limit=5&offset=0").json()

    assert [task["id"] for task in listed] == [done]
    assert (listed[0]["payload"], listed[0]["title"]) == (None, "hi")


def test_the_status_has_two_addresses(http: httpx.Client) -> None:
    status, alias = http.get("/api/status").json(), http.get("/api/stats").json()

    assert status.keys() == alias.keys()
    assert (status["total_tasks"], status["queues_by_priority"]["5"]) == (0, 0)


def test_a_sign_of_life(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}


# --- changing -----------------------------------------------------------------------------------


def test_changes_answer_with_the_task(house: AppHarness) -> None:
    task_id = house.running()
    changed = house.http.post(f"/api/tasks/{task_id}/priority", json={"priority": "high"})
    cancelled = house.http.post(f"/api/tasks/{task_id}/cancel")
    gone = house.http.delete(f"/api/tasks/{task_id}")

    assert [answer.status_code for answer in (changed, cancelled, gone)] == [200] * 3
    assert (changed.json()["id"], changed.json()["priority"]) == (task_id, 10)
    assert (cancelled.json()["status"], gone.json()["id"]) == ("cancelled", task_id)


@pytest.mark.parametrize(
    "body", [[], {}, {"priority": 5, "x": 1}, {"level": 5}, 5, {"priority": 0}]
)
def test_a_priority_comes_alone(house: AppHarness, body: Any) -> None:
    answer = house.http.post(f"/api/tasks/{house.running()}/priority", json=body)

    assert error(answer) == (400, "invalid", "priority")


def test_pausing_is_ok(http: httpx.Client) -> None:
    assert http.post("/api/pause").json() == {"status": "ok"}
    assert http.get("/api/status").json()["paused"] is True
    assert http.post("/api/resume").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("POST", "/cancel"),
        ("POST", "/priority"),
        ("POST", "/retry"),
        ("DELETE", ""),
    ],
)
def test_an_unknown_task_is_404(http: httpx.Client, method: str, path: str) -> None:
    body = {"priority": 5} if path == "/priority" else None

    answer = http.request(method, f"/api/tasks/unknown{path}", json=body)

    assert error(answer) == (404, "not_found", "id")


@pytest.mark.parametrize("verb", ["cancel", "retry", "priority"])
def test_another_state_is_409(house: AppHarness, verb: str) -> None:
    body = {"priority": 5} if verb == "priority" else None

    answer = house.http.post(f"/api/tasks/{house.done()}/{verb}", json=body)

    assert error(answer)[:2] == (409, "conflict")
