"""Ollama's routes, request by request: headers, errors in Ollama's form, who may ask."""

import json
from typing import Any

import httpx
import pytest

from ollama_queue.http.serving.guard import Guard
from tests.support.fakes.behaviours import WORDS
from tests.support.fakes.model_server import Answer, Stream
from tests.support.harness.app import MAX_BODY, AppHarness, client

CHAT = {"model": "smollm2", "messages": [{"role": "user", "content": "hi"}]}
WHOLE = {**CHAT, "stream": False}
POSTS = {
    "/api/chat": CHAT,
    "/api/generate": {"model": "smollm2", "prompt": "hi"},
    "/api/embed": {"model": "smollm2", "input": "hi"},
    "/api/embeddings": {"model": "smollm2", "prompt": "hi"},
    "/api/show": {"model": "smollm2"},
    "/api/pull": {"model": "smollm2"},
}


def words(response: httpx.Response) -> tuple[int, str]:
    """Status and sentence; the form is checked on the way."""
    assert response.headers["Content-Type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    assert isinstance(body["error"], str)
    return response.status_code, body["error"]


def test_a_stream_is_lines_of_json(house: AppHarness) -> None:
    answer = house.http.post("/api/chat", json=CHAT)

    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.text.endswith("\n")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["message"]["content"] for line in lines] == ["Hello", " from", " here", ""]
    assert [line["done"] for line in lines] == [False, False, False, True]
    assert lines[-1]["eval_count"] == 3


def test_vectors_are_sent_on_as_they_were_written(house: AppHarness) -> None:
    """They are not decoded: there may be millions of numbers."""
    vectors = b"[[1e-07, 0.10, 1.0e2]]"  # as msgspec would not write them
    body = b'{"model": "smollm2", "embeddings": %b}' % vectors
    house.fake.script(Answer(200, body))

    answer = house.http.post("/api/embed", json=POSTS["/api/embed"])
    task = house.http.get(f"/api/tasks/{answer.headers['X-Queue-Task-Id']}")

    assert vectors in answer.content
    assert vectors in task.content


@pytest.mark.parametrize("body", [CHAT, WHOLE])
def test_headers_tell_of_the_task(house: AppHarness, body: dict[str, Any]) -> None:
    answer = house.http.post("/api/chat", json=body)

    task = house.queue.get_task(answer.headers["X-Queue-Task-Id"])
    assert task.executed_on == answer.headers["X-Queue-Backend"] == "ollama"
    assert 0 <= int(answer.headers["X-Queue-Wait-Ms"]) < 10_000
    assert task.payload == {"messages": CHAT["messages"]}


def test_a_whole_reply_is_json(house: AppHarness) -> None:
    answer = house.http.post("/api/chat", json=WHOLE)

    assert answer.headers["Content-Type"] == "application/json"
    reply = answer.json()
    assert reply["message"] == {"role": "assistant", "content": "Hello from here"}
    assert (reply["done"], reply["done_reason"], reply["eval_count"]) == (True, "stop", 3)


def test_a_failed_task_is_named_too(house: AppHarness) -> None:
    house.fake.script(Answer(400, {"error": "no"}))
    answer = house.http.post("/api/chat", json=CHAT)

    status, sentence = words(answer)
    assert status == 400
    assert sentence == "no"
    task = house.queue.get_task(answer.headers["X-Queue-Task-Id"])
    assert (task.status, task.attempts[0].status) == ("failed", 400)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"messages": CHAT["messages"]}, "model is required: name a model, such as qwen3"),
        ({**CHAT, "model": 7}, "model is required: name a model, such as qwen3"),
        ({**CHAT, "stream": "yes"}, "stream must be true or false"),
        ({**CHAT, "messages": "hi"}, "messages must be a list of at least one message"),
        ({**CHAT, "options": [1]}, "options: expected `object`, got `array`"),
        ([CHAT], "the body must be a JSON object"),
    ],
)
def test_mistakes(house: AppHarness, body: Any, sentence: str) -> None:
    assert words(house.http.post("/api/chat", json=body)) == (400, sentence)


def test_what_is_no_json_or_too_large(house: AppHarness) -> None:
    status, sentence = words(house.http.post("/api/generate", content=b"{"))
    assert (status, sentence[:8]) == (400, "the body")
    assert words(house.http.post("/api/generate", content=b" " * (MAX_BODY + 1))) == (
        413,
        f"the body is larger than {MAX_BODY} bytes",
    )


def test_a_full_queue(house: AppHarness) -> None:
    house.running()
    house.submit()

    answer = house.http.post("/api/chat", json=CHAT)

    status, sentence = words(answer)
    assert (status, "1 tasks" in sentence or "full" in sentence) == (429, True)
    assert int(answer.headers["Retry-After"]) >= 1
    assert "X-Queue-Task-Id" not in answer.headers


def test_a_queue_that_is_not_there(house: AppHarness) -> None:
    house.queue.close(grace_s=0)

    for path in ("/api/chat", "/api/show"):
        answer = house.http.post(path, json=CHAT)
        assert (answer.status_code, words(answer)[1]) == (503, "the queue is stopped")
        assert answer.headers["Retry-After"]
    assert house.http.get("/api/tags").status_code == 503


@pytest.mark.parametrize("path", POSTS)
def test_pages_of_other_sites_are_refused(house: AppHarness, path: str) -> None:
    answer = house.http.post(path, json=POSTS[path], headers={"Origin": "http://evil.example"})

    assert words(answer) == (403, "requests from pages of http://evil.example are refused")
    assert house.fake.calls == []


@pytest.mark.parametrize("path", ["/api/tags", "/api/ps", "/api/version"])
def test_foreign_hosts_are_refused(house: AppHarness, path: str) -> None:
    local = client(house.queue, guard=Guard(loopback_only=True))

    answer = local.get(path, headers={"Host": "evil.example"})

    assert words(answer)[0] == 403
    assert local.get(path).status_code == 200


def test_other_methods(house: AppHarness) -> None:
    assert words(house.http.get("/api/chat")) == (405, "/api/chat does not take GET")
    assert words(house.http.post("/api/tags")) == (405, "/api/tags does not take POST")
    assert words(house.http.post("/api/blobs/sha256:0")) == (
        403,
        "the queue does not forward blobs: set proxy.admin to true in its configuration, or run it "
        "against the model server itself, with its address in OLLAMA_HOST",
    )
    assert house.http.head("/api/blobs/sha256:0").status_code == 403


def test_heads(house: AppHarness) -> None:
    for path in ("/", "/api/tags", "/api/version"):
        answer = house.http.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


def test_the_status_says_that_there_is_no_cloud(house: AppHarness) -> None:
    for path in ("/api/status", "/api/stats"):
        status = house.http.get(path).json()
        assert status["cloud"] == {"disabled": True, "source": "ollama-queue"}
        assert status["total_tasks"] == 0


def test_nothing_is_said_while_it_waits(house: AppHarness) -> None:
    """The head, too, comes with the first word: until then the status may become another."""
    house.fake.script(Stream(words=[], then="cut"), Answer(404, {"error": "gone"}))

    assert words(house.http.post("/api/chat", json=CHAT))[0] == 404


def test_a_cancel_of_others_ends_the_stream(house: AppHarness) -> None:
    house.fake.script(Stream(then="hang"))
    events = house.queue.subscribe(["task_started"])
    with house.http.stream("POST", "/api/chat", json=CHAT) as answer:
        lines = answer.iter_lines()
        said = [json.loads(next(lines))["message"]["content"] for _ in WORDS]
        task_id = events.get(10).task.id
        house.queue.cancel_task(task_id)
        rest = [json.loads(line) for line in lines]

    assert said == list(WORDS)
    assert rest == [{"error": f"task {task_id} was cancelled"}]


def test_an_empty_request_loads_and_is_no_task(house: AppHarness) -> None:
    house.fake.default = Answer(body={"model": "smollm2", "done": True})
    for path in POSTS.keys() - {"/api/show", "/api/pull"}:
        answer = house.http.post(path, json={"model": "smollm2", "keep_alive": "1h"})
        if path == "/api/embeddings":
            assert answer.status_code == 404  # of which the fake knows nothing
        else:
            assert answer.json() == {"model": "smollm2", "done": True}
    assert house.queue.get_queue_stats().total_tasks == 0


def test_an_unload_that_fails(house: AppHarness) -> None:
    house.fake.lists("smollm2", loaded=["smollm2"])
    house.fake.script(Answer(500, {"error": "cannot"}))
    body = {"model": "smollm2", "keep_alive": "0s", "prompt": ""}

    status, sentence = words(house.http.post("/api/generate", json=body))

    assert (status, sentence) == (500, "cannot")
