"""Fallbacks at the doors: which model answers, and where the answer says so."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollama_queue import Config, QueueManager
from ollama_queue.actors.core.config import config
from ollama_queue.actors.core.config.config import Backend, ModelSettings
from tests.support.fakes.model_server import Answer, FakeOllama, Hang
from tests.support.harness.app import client

MESSAGES = [{"role": "user", "content": "hi"}]
HEADER = {"X-Queue-Fallback-Models": "none, Small:latest"}
SMALL = "Small:latest"
NOT_FOUND = Answer(404, {"error": "model 'big' not found"})
# The path of each API, what it is asked, and where its reply names the model.
ASKED: dict[str, tuple[dict[str, Any], str]] = {
    "/api/chat": ({"messages": MESSAGES}, "model"),
    "/api/generate": ({"prompt": "hi"}, "model"),
    "/v1/chat/completions": ({"messages": MESSAGES}, "model"),
    "/v1/completions": ({"prompt": "hi"}, "model"),
    "/v1/responses": ({"input": "hi"}, "model"),
    "/v1/messages": ({"messages": MESSAGES, "max_tokens": 9}, "model"),
}


class TwoModels:
    """A queue before a server with `big` and one with `small`, which takes what waited 50 ms."""

    def __init__(self, folder: Path) -> None:
        self.big, self.small = FakeOllama().lists("big"), FakeOllama().lists("small")
        backends = [
            Backend(name="gpu1", url=self.big.url, parallel=1),
            Backend(name="gpu2", url=self.small.url, parallel=1),
        ]
        self.queue = QueueManager(
            Config(
                backends=backends,
                models={"big": ModelSettings(after=0.05)},
                queue=config.QueueSettings(storage_path=str(folder)),
            )
        ).start()
        self.queue.probe_backends()
        self.http = client(self.queue)

    def post(self, path: str, model: str, headers: dict[str, str], **more: Any) -> httpx.Response:
        body = {"model": model, **ASKED[path][0], **more}
        return self.http.post(path, json=body, headers=headers)

    def close(self) -> None:
        self.queue.close(grace_s=0)
        self.big.refuse()
        self.small.refuse()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[TwoModels]:
    fleet = TwoModels(tmp_path)
    yield fleet
    fleet.close()


def check(answer: httpx.Response, model: str) -> None:
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"] == model
    assert answer.headers["X-Queue-Model"] == model


@pytest.mark.parametrize("path", ASKED)
def test_the_answer_names_the_model_that_gave_it(two: TwoModels, path: str) -> None:
    check(two.post(path, "big", HEADER, stream=False), "big")
    check(two.post(path, "absent", HEADER, stream=False), SMALL)
    assert two.small.calls[-1].body["model"] == SMALL


@pytest.mark.parametrize("path", ASKED)
def test_so_does_a_stream(two: TwoModels, path: str) -> None:
    answer = two.post(path, "absent", HEADER, stream=True)

    assert answer.headers["X-Queue-Model"] == SMALL
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines()]
    pieces = [json.loads(line) for line in lines if line.startswith("{")]
    named = [piece.get("message", {}).get("model") or piece.get("model") for piece in pieces]
    named += [
        piece["response"]["model"] for piece in pieces if isinstance(piece.get("response"), dict)
    ]
    assert {name for name in named if name} == {SMALL}


@pytest.mark.parametrize("path", ["/api/chat", "/v1/messages"])
def test_it_does_not_wait_longer_than_the_settings_say(two: TwoModels, path: str) -> None:
    two.big.script(Hang())
    first = two.queue.submit_task({"type": "chat", "model": "big", "messages": MESSAGES})
    two.big.wait_for_calls(1)

    check(two.post(path, "big", HEADER, stream=False), SMALL)
    two.queue.cancel_task(first)


def test_a_model_that_is_not_there_after_all_has_a_fallback(two: TwoModels) -> None:
    two.big.script(NOT_FOUND)

    check(two.post("/api/chat", "big", HEADER, stream=False), SMALL)


def test_without_one_it_is_not_found(two: TwoModels) -> None:
    answer = two.post("/api/chat", "absent", {"X-Queue-Fallback-Models": ""}, stream=False)

    assert answer.status_code == 404


@pytest.mark.parametrize("path", ["/api/embed", "/v1/embeddings"])
def test_embeddings_have_none(two: TwoModels, path: str) -> None:
    body = {"model": "small", "input": "hi"}
    answer = two.http.post(path, json=body, headers=HEADER)

    assert answer.status_code == 400
    assert "fallback_models must be empty for an embed task" in answer.text


def test_the_task_says_which_models_were_called(two: TwoModels) -> None:
    two.big.script(NOT_FOUND)
    task = {"type": "chat", "model": "Big", "messages": MESSAGES, "fallback_models": [SMALL]}
    task_id = two.http.post("/api/tasks", json=task).json()["task_id"]
    done = two.http.get(f"/api/tasks/{task_id}?wait=10").json()

    assert (done["status"], done["model"], done["model_used"]) == ("completed", "Big", SMALL)
    assert done["fallback_models"] == [SMALL]
    assert [(each["backend"], each["fallback"]) for each in done["attempts"]] == [
        ("gpu1", None),
        ("gpu2", SMALL),
    ]
    (again,) = two.http.get("/api/tasks").json()
    assert again["model_used"] == SMALL


def test_a_batch_says_it_of_each(two: TwoModels) -> None:
    task = {"type": "chat", "messages": MESSAGES, "fallback_models": [SMALL]}
    tasks = [{**task, "model": model} for model in ("big", "absent")]
    answer = two.http.post("/api/tasks/batch?wait=10", json={"tasks": tasks}).json()["results"]

    assert [result["model_used"] for result in answer] == ["big", SMALL]
    (big, small) = two.queue.submit_batch_tasks(tasks)
    assert (big.model_used, small.model_used) == ("big", SMALL)
