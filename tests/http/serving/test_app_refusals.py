"""The HTTP door: what is not there, who may not, and the form of errors."""

import logging
import socket
from typing import Any

import httpx
import pytest

from ollama_queue import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    OutcomeUnknown,
    QueueError,
    QueueFull,
    Unauthorized,
    Unavailable,
)
from ollama_queue.actors.core.model import errors
from ollama_queue.http import wire
from ollama_queue.http.serving.guard import Guard
from tests.support.fakes.model_server import Answer
from tests.support.harness.app import AppHarness, client, error


@pytest.fixture
def http(house: AppHarness) -> httpx.Client:
    return house.http


# --- what is not there, and who may not ---------------------------------------------------------


@pytest.mark.parametrize("path", ["/nowhere", "/api", "/api/tasks/a/b/c", "/api/tasks/"])
def test_another_address_is_404(http: httpx.Client, path: str) -> None:
    answer = http.get(path)

    assert error(answer) == (404, "not_found", None)
    assert path in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/api/tasks"), ("GET", "/api/pause"), ("PATCH", "/api/tasks/a"), ("POST", "/healthz")],
)
def test_another_method_is_405(http: httpx.Client, method: str, path: str) -> None:
    assert error(http.request(method, path)) == (405, "method_not_allowed", None)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost:7125", "x"]
)
def test_pages_of_other_sites_may_not_change_anything(house: AppHarness, origin: str) -> None:
    assert error(house.submit(Origin=origin)) == (403, "forbidden", "Origin")
    assert house.http.get("/api/tasks", headers={"Origin": origin}).json() == []


NEAR = Guard(loopback_only=True, hosts=("queue.example.net", "*.example.com"))


def test_our_own_page_may(house: AppHarness) -> None:
    assert house.submit(Origin="http://127.0.0.1:7125").status_code == 201


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:7125", "127.evil.example", "8.8.8.8", "[2001:4860::1]"),
        *("local", "localhost.evil.example", "evillocal", "queue.example.org", "example.com"),
    ],
)
def test_a_name_that_only_points_here_is_refused(house: AppHarness, host: str) -> None:
    local = client(house.queue, guard=NEAR)

    assert error(local.get("/api/tasks", headers={"Host": host})) == (403, "forbidden", "Host")
    assert house.http.get("/api/tasks", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:7125", "127.0.0.1:1", "127.0.0.2", "[::1]:7125", "LOCALHOST"),
        *("localhost.", "app.localhost", "host.docker.internal:7125", "box.local", "Box.Local."),
        *("10.0.0.1", "192.168.1.5:7125", "[fd00::1]", "0.0.0.0", socket.gethostname()),
        *("queue.example.net", "QUEUE.example.net:80", "a.example.com", "a.b.example.com"),
    ],
)
def test_this_machine_has_several_names(house: AppHarness, host: str) -> None:
    local = client(house.queue, guard=NEAR)

    assert local.get("/healthz", headers={"Host": host}).status_code == 200


# --- errors -------------------------------------------------------------------------------------


def test_a_stopped_queue_is_503(house: AppHarness) -> None:
    house.queue.close(grace_s=0)

    for answer in (house.submit(), house.http.get("/api/tasks"), house.http.post("/api/pause")):
        assert error(answer) == (503, "unavailable", None)
        assert int(answer.headers["Retry-After"]) > 0


class Failing:
    """A queue whose every verb raises the same."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, verb: str) -> Any:
        def fail(*args: Any, **options: Any) -> Any:
            raise self.error

        return fail


STATUSES: list[tuple[type[QueueError], int]] = [
    (Invalid, 400),
    (Unauthorized, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (wire.TooLarge, 413),
    (wire.UnknownCoding, 415),
    (QueueFull, 429),
    (Unavailable, 503),
    (OutcomeUnknown, 503),
]


@pytest.mark.parametrize(("kind", "status"), STATUSES)
def test_every_error_crosses_the_wire_and_back(kind: type[QueueError], status: int) -> None:
    sent = kind("what would help", field="model", retry_after_s=2.2)
    answer = client(Failing(sent)).get("/api/tasks")

    assert error(answer) == (status, kind.code, "model")
    assert answer.headers["Retry-After"] == "3"
    read = wire.decode_error(status, answer.content, answer.headers["Retry-After"])
    assert (type(read), read.message, read.field) == (kind, "what would help", "model")
    assert read.retry_after_s == 3


@pytest.mark.parametrize(
    ("status", "kind"), [(502, OutcomeUnknown), (503, Unavailable), (504, OutcomeUnknown)]
)
def test_what_a_proxy_says_of_its_servers_is_an_outage(status: int, kind: type[QueueError]) -> None:
    read = wire.decode_error(status, b"<html><body>No server is available.", "2")

    assert (type(read), read.retry_after_s) == (kind, 2)
    assert f"the proxy, which says HTTP {status}" in read.message


def test_every_error_has_a_status() -> None:
    """One without a code of its own is, outside, what it is a kind of."""
    known = {each for each in vars(errors).values() if isinstance(each, type)}
    ours = {each for each in known if issubclass(each, QueueError) and "code" in vars(each)}
    ours -= {QueueError}

    assert (
        ours | {wire.TooLarge, wire.UnknownCoding}
        == set(wire.STATUS_OF)
        == {kind for kind, _ in STATUSES}
    )


def test_an_error_without_a_code_of_its_own_is_answered_as_its_kind() -> None:
    assert error(
        client(Failing(errors.NoCapableServer("no", field="model"))).get("/api/tasks")
    ) == (*(400, "invalid", "model"),)


def test_a_mistake_of_ours_is_500_and_keeps_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "ollama_queue"):
        answer = client(Failing(ZeroDivisionError("sk-secret"))).get("/api/tasks")

    assert error(answer) == (500, "internal", None)
    assert "sk-secret" not in answer.text
    assert "sk-secret" in caplog.text


def test_upstream_words_are_passed_on(house: AppHarness) -> None:
    house.fake.script(Answer(400, {"error": "this model cannot do that"}))

    task = house.http.get(f"/api/tasks/{house.done()}").json()

    assert task["status"] == "failed"
    assert "this model cannot do that" in task["error"]
