"""Pages of other sites: which are let in, and that browsers are told so."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ollama_queue.http.serving.app import create_app
from ollama_queue.http.serving.guard import Guard
from tests.support.harness.app import TASK, AppHarness, error

EXTENSION = "chrome-extension://abcdef"
FRIEND, STRANGER = "https://app.example.com", "https://evil.example.com"


@pytest.fixture
def http(tmp_path: Path) -> Iterator[httpx.Client]:
    house = AppHarness(tmp_path)
    guard = Guard(origins=(FRIEND, EXTENSION), drop_in_origins=("https://*.friends.example",))
    app = create_app(house.queue, guard=guard)
    transport = httpx.WSGITransport(app=app)
    yield httpx.Client(transport=transport, base_url="http://127.0.0.1:7125")
    house.close()


def test_a_friend_may_send_and_see(http: httpx.Client) -> None:
    answer = http.post("/api/tasks", json=TASK, headers={"Origin": FRIEND})

    assert answer.status_code == 201
    assert answer.headers["Access-Control-Allow-Origin"] == FRIEND
    assert answer.headers["Vary"] == "Origin"
    listed = http.get("/api/tasks", headers={"Origin": FRIEND})
    assert "X-Total-Count" in listed.headers["Access-Control-Expose-Headers"]


def test_a_friend_sees_errors_too(http: httpx.Client) -> None:
    answer = http.get("/api/tasks/none", headers={"Origin": FRIEND})

    assert error(answer) == (404, "not_found", "id")
    assert answer.headers["Access-Control-Allow-Origin"] == FRIEND


def test_a_preflight_is_answered(http: httpx.Client) -> None:
    asked = {
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "content-type,idempotency-key",
    }
    answer = http.options("/api/tasks/x", headers={"Origin": FRIEND, **asked})

    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == FRIEND
    assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "content-type,idempotency-key"

    refused = http.options("/api/tasks/x", headers={"Origin": STRANGER, **asked})
    assert refused.status_code == 405
    assert "Access-Control-Allow-Origin" not in refused.headers


@pytest.mark.parametrize("origin", [STRANGER, "null", f"{FRIEND}:8443", "http://app.example.com"])
def test_a_stranger_is_refused_and_told_nothing(http: httpx.Client, origin: str) -> None:
    answer = http.post("/api/tasks", json=TASK, headers={"Origin": origin})

    assert error(answer) == (403, "forbidden", "Origin")
    assert "Access-Control-Allow-Origin" not in answer.headers
    seen = http.get("/api/tasks", headers={"Origin": origin})
    assert "Access-Control-Allow-Origin" not in seen.headers


def test_a_friend_may_be_an_extension(http: httpx.Client) -> None:
    answer = http.post("/api/tasks", json=TASK, headers={"Origin": EXTENSION})
    assert answer.status_code == 201
    assert answer.headers["Access-Control-Allow-Origin"] == EXTENSION


NEAR = [
    *("http://localhost", "https://localhost:3000", "http://127.0.0.1:8080", "app://obsidian.md"),
    *("file://", "tauri://localhost", "vscode-webview://1a2b", "vscode-file://vscode-app"),
    "https://a.friends.example",
]


@pytest.mark.parametrize("origin", NEAR)
def test_whom_ollama_lets_in_may_use_its_routes_only(http: httpx.Client, origin: str) -> None:
    headers = {"Origin": origin}
    for method, path in (("GET", "/api/tags"), ("POST", "/api/chat/"), ("GET", "/v1/models")):
        asked = {**headers, "Access-Control-Request-Method": method}
        preflight = http.options(path, headers=asked)
        assert preflight.status_code == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == origin
        answer = http.request(method, path, json={"model": "m", "messages": []}, headers=headers)
        assert answer.status_code != 403
        assert answer.headers["Access-Control-Allow-Origin"] == origin

    refused = http.post("/api/tasks", json=TASK, headers=headers)
    assert error(refused) == (403, "forbidden", "Origin")
    assert "Access-Control-Allow-Origin" not in refused.headers


@pytest.mark.parametrize(
    "origin",
    [
        *("null", STRANGER, "http://localhost.evil.example", "http://evil.example:80", "app:/x"),
        *("https://friends.example", "https://a.friends.example.evil", "http://192.168.1.5"),
    ],
)
def test_strangers_may_not_use_those_routes_either(http: httpx.Client, origin: str) -> None:
    answer = http.post("/api/chat", json={"model": "m"}, headers={"Origin": origin})
    assert answer.status_code == 403
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("origin", [STRANGER, "app://obsidian.md", "null"])
def test_with_a_star_pages_of_all_sites_are_let_in(tmp_path: Path, origin: str) -> None:
    """The settings allow it only where each request needs a key."""
    house = AppHarness(tmp_path)
    app = create_app(house.queue, guard=Guard(origins=("*",)))
    with httpx.Client(
        transport=httpx.WSGITransport(app=app), base_url="http://127.0.0.1:7125"
    ) as everybody:
        answer = everybody.post("/api/tasks", json=TASK, headers={"Origin": origin})
    house.close()

    assert answer.status_code == 201
    assert answer.headers["Access-Control-Allow-Origin"] == origin
