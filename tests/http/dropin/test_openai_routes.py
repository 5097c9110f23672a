"""OpenAI's routes as they are on the wire: while a task waits, and when it is not taken on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import openai
import pytest
from msgspec.structs import replace

from ollama_queue import Status, generate_task
from ollama_queue.actors.core.model.errors import OutcomeUnknown, Unavailable
from ollama_queue.http.dropin.openai import OpenAIStreamFormat
from ollama_queue.http.serving.app import create_app
from tests.support.fakes.model_server import Answer, Stream
from tests.support.harness.app import AppHarness

HI = [{"role": "user", "content": "hi"}]
BASE = "http://127.0.0.1:7125/v1"
CHAT = "/v1/chat/completions"
PATIENCE_S = 10.0


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppHarness]:
    monkeypatch.setattr(OpenAIStreamFormat, "silence_s", 0.02)
    made = AppHarness(tmp_path)
    yield made
    made.close()


def ask(house: AppHarness, stream: bool = False, **headers: str) -> httpx.Response:
    body = {"model": "m", "messages": HI, "stream": stream}
    return house.http.post(CHAT, json=body, headers=headers)


def told(response: httpx.Response) -> tuple[int, str, str | None]:
    """Status, type and code of an error, whose form is checked on the way."""
    assert response.headers["Content-Type"] == "application/json"
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    return response.status_code, error["type"], error["code"]


# --- while it waits -----------------------------------------------------------------------------


class Waiting:
    """A streamed chat that is asked for, and which waits since the queue is paused."""

    def __init__(self, house: AppHarness) -> None:
        self.house = house
        house.queue.pause()
        body = {"model": "m", "messages": HI, "stream": True}
        self._context = house.http.stream("POST", CHAT, json=body)

    def __enter__(self) -> "Waiting":
        self.response = self._context.__enter__()
        self.lines = self.response.iter_lines()
        self.task_id = self.response.headers["X-Queue-Task-Id"]
        return self

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)

    def rest(self) -> list[str]:
        """What comes beside the comments."""
        return [line for line in self.lines if line and not line.startswith(":")]


@pytest.mark.parametrize(
    ("facts", "comment"),
    [
        ({"position": 3, "eta_s": 12.3}, b": queued position=3 eta=12\n\n"),
        ({"position": 0}, b": queued position=0\n\n"),
        ({"eta_s": 40.0}, b": queued eta=40\n\n"),  # it waits for its next attempt
        ({}, b": queued\n\n"),
        ({"status": Status.RUNNING}, b":\n\n"),
    ],
)
def test_a_comment_says_what_is_known(house: AppHarness, facts: Any, comment: bytes) -> None:
    house.queue.pause()
    task = house.queue.get_task(house.queue.submit_task(generate_task("m", "hi")))
    known = {"position": None, "eta_s": None, **facts}
    assert OpenAIStreamFormat(None, False).waiting(replace(task, **known)) == comment


def test_comments_tell_where_it_stands(house: AppHarness) -> None:
    with Waiting(house) as waiting:
        assert waiting.response.status_code == 200
        assert waiting.response.headers["Content-Type"].startswith("text/event-stream")
        assert next(waiting.lines) == ": queued position=0"
        house.queue.resume()
        *pieces, last = waiting.rest()

    assert last == "data: [DONE]"
    assert [json.loads(piece[6:])["choices"][0]["delta"]["content"] for piece in pieces] == [
        "Hello",
        " from",
        " here",
        "",
    ]


def test_a_failure_behind_comments_is_the_last_event(house: AppHarness) -> None:
    house.fake.script(Answer(400, {"error": "too long"}))
    with Waiting(house) as waiting:
        next(waiting.lines)
        house.queue.resume()
        (event,) = waiting.rest()

    error = json.loads(event[6:])["error"]
    assert error["message"] == "too long"
    assert error["type"] == "invalid_request_error"


def test_a_call_that_failed_behind_comments_is_made_again(house: AppHarness) -> None:
    house.fake.script(Stream(words=[], then="cut"))
    with Waiting(house) as waiting:
        next(waiting.lines)
        house.queue.resume()
        assert waiting.rest()[-1] == "data: [DONE]"

    assert house.queue.get_task(waiting.task_id).attempt == 2


def test_one_who_leaves_takes_the_task_along(house: AppHarness) -> None:
    with Waiting(house) as waiting:
        next(waiting.lines)

    assert house.queue.get_task(waiting.task_id).status is Status.CANCELLED


def test_one_who_is_cancelled_is_told(house: AppHarness) -> None:
    with Waiting(house) as waiting:
        next(waiting.lines)
        house.queue.cancel_task(waiting.task_id)
        (event,) = waiting.rest()

    assert json.loads(event[6:])["error"]["message"] == f"task {waiting.task_id} was cancelled"


# --- whether to come again ----------------------------------------------------------------------


def test_a_full_queue_is_told_before_anything_is_taken_on(house: AppHarness) -> None:
    house.running()
    house.submit()

    answer = ask(house)

    assert told(answer) == (429, "rate_limit_error", "queue_full")
    assert answer.headers["x-should-retry"] == "true"
    assert int(answer.headers["Retry-After"]) >= 1
    assert house.queue.get_queue_stats().total_tasks == 2


def test_openais_client_hears_that_the_queue_is_full(house: AppHarness) -> None:
    house.running()
    house.submit()
    transport = httpx2.WSGITransport(app=create_app(house.queue))
    with (
        httpx2.Client(transport=transport) as http,
        openai.OpenAI(base_url=BASE, api_key="none", max_retries=0, http_client=http) as client,
        pytest.raises(openai.RateLimitError),
    ):
        client.embeddings.create(model="m", input="x")


def test_a_task_that_failed_is_not_to_be_sent_again(house: AppHarness) -> None:
    house.fake.default = Answer(501, {"error": "no"})

    answer = ask(house)

    assert told(answer) == (501, "api_error", "task_failed")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("error", "headers", "again"),
    [
        (Unavailable("the queue is shutting down", retry_after_s=5), {}, "true"),
        (OutcomeUnknown("no answer in time"), {}, "false"),
        (OutcomeUnknown("no answer in time"), {"Idempotency-Key": "k"}, "true"),
    ],
)
def test_only_what_cannot_be_a_second_task_is_to_be_sent_again(
    house: AppHarness,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    headers: dict[str, str],
    again: str,
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(house.queue, "submit_listed", refuse)

    answer = ask(house, **headers)

    assert told(answer)[:2] == (503, "api_error")
    assert answer.headers["x-should-retry"] == again
    assert "Retry-After" in answer.headers


def test_errors_of_the_door_have_openais_form(house: AppHarness) -> None:
    assert told(house.http.get("/v1/images"))[0] == 404
    assert told(house.http.get(CHAT))[0] == 405
    assert told(house.http.post(CHAT, content=b"{"))[0] == 400
    assert told(house.http.post(CHAT, content=b"[]"))[:2] == (400, "invalid_request_error")
    assert told(house.http.post(CHAT, content=b"x" * 3000))[0] == 413
    assert told(ask(house, Origin="http://evil.example"))[0] == 403
