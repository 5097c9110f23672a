"""The web application in docs/examples, started and called as its users would."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Self

import httpx
import pytest

from tests.support.fakes.behaviours import Answer
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import ROOT, model_server

PROGRAM = ROOT / "docs" / "examples" / "web_app.py"
QUESTION = {"message": "Hello", "model": "qwen3"}


class WebApp:
    """`python docs/examples/web_app.py` on a free port, in front of a queue."""

    def __init__(self, queue_url: str) -> None:
        self.reserved = model_server.ReservedPort()
        self.port = self.reserved.number
        self.settings = {"PORT": str(self.port), "OLLAMA_QUEUE_SERVER": queue_url}

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM],
            env={**os.environ, "PYTHONPATH": str(ROOT), **self.settings},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        assert any("Running on" in line for line in self.process.stderr)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=30)

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.request(method, url, trust_env=False, **options)


@pytest.fixture(scope="module")
def app(server: QueueServer) -> Iterator[WebApp]:
    with WebApp(server.base_url) as running:
        yield running


def submitted(app: WebApp) -> str:
    answer = app.call("POST", "/chat", json=QUESTION)
    assert answer.status_code == 200
    assert answer.json()["status"] == "submitted"
    return str(answer.json()["task_id"])


def test_a_chat_is_answered_at_once_and_its_result_later(app: WebApp, server: QueueServer) -> None:
    task_id = submitted(app)
    with server.client() as queue:
        queue.wait(task_id, timeout=30)

    answer = app.call("GET", f"/task/{task_id}")

    assert answer.status_code == 200
    shown = answer.json()
    assert shown["result"]["message"]["content"] == "Hello!"
    del shown["result"]
    assert shown == {"task_id": task_id, "status": "completed", "error": None}


def test_a_task_that_fails_says_why(app: WebApp, server: QueueServer, model: FakeOllama) -> None:
    model.script(Answer(400, {"error": "no such option"}))
    task_id = submitted(app)
    with server.client() as queue:
        queue.wait(task_id, timeout=30)

    shown = app.call("GET", f"/task/{task_id}").json()

    assert (shown["status"], shown["result"]) == ("failed", None)
    assert shown["error"].endswith("no such option")


@pytest.mark.parametrize(
    "body",
    [
        {"content": b"no json"},
        {"json": ["Hello"]},
        {"json": {"message": "Hello"}},
        {"json": {"message": 5, "model": "qwen3"}},
        {"json": {"message": "Hello", "model": " "}},  # what only the queue knows to be wrong
    ],
)
def test_a_bad_body_is_400(app: WebApp, body: dict[str, Any]) -> None:
    answer = app.call("POST", "/chat", **body)

    assert answer.status_code == 400
    assert "m" in answer.json()["error"]


def test_an_unknown_task_is_404(app: WebApp) -> None:
    answer = app.call("GET", "/task/nothing")

    assert answer.status_code == 404
    assert answer.json() == {"error": "there is no task nothing"}


def test_a_queue_that_is_away_is_503() -> None:
    nobody = model_server.ReservedPort()
    with WebApp(f"127.0.0.1:{nobody.number}") as app:
        assert app.call("POST", "/chat", json=QUESTION).status_code == 503


def test_it_is_no_dependency_of_the_package() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    needed, _, others = text.partition("[project.optional-dependencies]")

    assert "flask" not in needed.lower() and '"flask"' in others.lower()
    assert "Flask==" in (ROOT / "constraints.txt").read_text()
