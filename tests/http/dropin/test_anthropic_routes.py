"""Anthropic's routes as they are on the wire: every event, pings, and errors by route."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any, cast

import httpx
import pytest

from ollama_queue import Status
from ollama_queue.actors.core.model.errors import OutcomeUnknown, Unavailable
from ollama_queue.actors.store.rocksdb import Store
from ollama_queue.actors.store.sentinel import SyncedState
from ollama_queue.http.dropin.anthropic import AnthropicStreamFormat
from tests.support.fakes.model_server import Answer, Stream
from tests.support.harness.app import AppHarness
from tests.support.recorders import PATIENCE_S

HI = [{"role": "user", "content": "hi"}]
MESSAGES = "/v1/messages"
PING = ("ping", {"type": "ping"})
Events = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppHarness]:
    monkeypatch.setattr(AnthropicStreamFormat, "silence_s", 0.02)
    made = AppHarness(tmp_path)
    yield made
    made.close()


def body(**more: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": HI, **more}


def ask(house: AppHarness, stream: bool = False, **headers: str) -> httpx.Response:
    return house.http.post(MESSAGES, json=body(stream=stream), headers=headers)


def told(response: httpx.Response) -> tuple[int, str, str]:
    """Status, type and message of an error, whose form is checked on the way."""
    assert response.headers["Content-Type"] == "application/json"
    answer = response.json()
    assert answer.keys() == {"type", "error", "request_id"}
    assert answer["type"] == "error"
    assert answer["error"].keys() == {"type", "message"}
    assert answer["request_id"] == response.headers["request-id"]
    return response.status_code, answer["error"]["type"], answer["error"]["message"]


def frames(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a stream. The name of each is also its data's type."""
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line:
            data = json.loads(line.removeprefix("data: "))
            assert data["type"] == name
            yield name, data


class Waiting:
    """A streamed message that is asked for, and which waits since the queue is paused."""

    def __init__(self, house: AppHarness) -> None:
        house.queue.pause()
        self._context = house.http.stream("POST", MESSAGES, json=body(stream=True))

    def __enter__(self) -> "Waiting":
        self.response = self._context.__enter__()
        self.events = frames(self.response.iter_lines())
        self.task_id = self.response.headers["X-Queue-Task-Id"]
        return self

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)

    def rest(self) -> Events:
        """What comes beside the pings."""
        return [event for event in self.events if event != PING]


def test_every_event_of_a_message(house: AppHarness) -> None:
    response = ask(house, stream=True)

    assert response.headers["Content-Type"] == "text/event-stream"
    name = response.headers["request-id"].removeprefix("req_")
    text = {"type": "text", "text": ""}
    events = frames(iter(response.text.splitlines()))
    assert [event for event in events if event != PING] == [
        (
            "message_start",
            {
                "type": "message_start",
                "message": {
                    "id": f"msg_{name}",
                    "type": "message",
                    "role": "assistant",
                    "model": "m",
                    "content": [],
                    "stop_reason": None,
                    "stop_sequence": None,
                    "usage": {"input_tokens": 1, "output_tokens": 0},
                },
            },
        ),
        (
            "content_block_start",
            {"type": "content_block_start", "index": 0, "content_block": text},
        ),
        *(
            (
                "content_block_delta",
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "text_delta", "text": word},
                },
            )
            for word in ("Hello", " from", " here")
        ),
        ("content_block_stop", {"type": "content_block_stop", "index": 0}),
        (
            "message_delta",
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"input_tokens": 3, "output_tokens": 3},
            },
        ),
        ("message_stop", {"type": "message_stop"}),
    ]


def test_a_whole_message(house: AppHarness) -> None:
    response = ask(house)

    assert response.json() == {
        "id": f"msg_{response.headers['request-id'].removeprefix('req_')}",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Hello from here"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 3},
    }


def test_what_claude_code_sends(house: AppHarness) -> None:
    """The fields of its requests, as version 2.1 sends them."""
    cached = {"cache_control": {"type": "ephemeral"}}
    house.fake.script(Answer(400, {"error": '"m" does not support thinking'}), Stream())
    request = body(
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "<system-reminder>\nBe kind.\n</system-reminder>\n"},
                    {"type": "text", "text": "Say hello", **cached},
                ],
            },
            {"role": "system", "content": "Agents: none"},
        ],
        system=[{"type": "text", "text": "x-header: 1"}, {"type": "text", "text": "You", **cached}],
        tools=[{"name": "Bash", "description": "Run", "input_schema": {"type": "object"}}],
        thinking={"type": "adaptive"},
        output_config={"effort": "high"},
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        metadata={"user_id": '{"device_id":"d1","account_uuid":"","session_id":"s1"}'},
        stream=True,
    )
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "claude-code-20250219"}

    response = house.http.post(f"{MESSAGES}?beta=true", json=request, headers=headers)

    assert response.text.endswith('event: message_stop\ndata: {"type":"message_stop"}\n\n')
    (task,) = house.queue.list_tasks()
    assert (task.title, task.tenant, task.attempt) == ("Say hello Agents: none", "d1", 1)
    assert [call.body.get("think") for call in house.fake.calls] == ["high", None]
    assert [each["role"] for each in house.fake.calls[1].body["messages"]] == ["system", "user"]


# --- while it waits -----------------------------------------------------------------------------


def test_pings_come_while_it_waits(house: AppHarness) -> None:
    with Waiting(house) as waiting:
        assert waiting.response.status_code == 200
        assert next(waiting.events) == PING
        assert next(waiting.events) == PING
        house.queue.resume()
        names = [name for name, _ in waiting.rest()]

    assert (names[0], names[-1]) == ("message_start", "message_stop")


def test_nothing_follows_the_end_of_a_message_while_its_task_ends(
    house: AppHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_stored, sync = Event(), Store.sync

    def sync_later(store: Store, written: SyncedState) -> None:
        assert is_stored.wait(PATIENCE_S)
        sync(store, written)

    with ThreadPoolExecutor() as threads, Waiting(house) as waiting:
        chunks = iter(cast(httpx.SyncByteStream, waiting.response.stream))
        monkeypatch.setattr(Store, "sync", sync_later)
        resumed = threads.submit(house.queue.resume)
        while b"message_stop" not in next(chunks):
            pass
        assert [next(chunks) for _ in range(3)] == [b"", b"", b""]
        is_stored.set()
        assert b"".join(chunks) == b""
        resumed.result(PATIENCE_S)


def test_a_failure_behind_pings_is_the_last_event(house: AppHarness) -> None:
    house.fake.script(Answer(400, {"error": "too long"}))
    with Waiting(house) as waiting:
        next(waiting.events)
        house.queue.resume()
        ((name, data),) = waiting.rest()

    error = {"type": "invalid_request_error", "message": "too long"}
    request_id = waiting.response.headers["request-id"]
    assert (name, data) == ("error", {"type": "error", "error": error, "request_id": request_id})


def test_a_call_that_failed_behind_pings_is_made_again(house: AppHarness) -> None:
    house.fake.script(Stream(words=[], then="cut"))
    with Waiting(house) as waiting:
        next(waiting.events)
        house.queue.resume()
        assert waiting.rest()[-1][0] == "message_stop"

    assert house.queue.get_task(waiting.task_id).attempt == 2


def test_one_who_leaves_takes_the_task_along(house: AppHarness) -> None:
    with Waiting(house) as waiting:
        next(waiting.events)

    assert house.queue.get_task(waiting.task_id).status is Status.CANCELLED


# --- errors -------------------------------------------------------------------------------------


def test_errors_of_the_door_have_anthropics_form(house: AppHarness) -> None:
    http = house.http
    assert told(http.post("/api/event_logging/batch?beta=true", json={}))[:2] == (
        404,
        "not_found_error",
    )
    assert told(http.get(f"{MESSAGES}/batchless"))[:2] == (404, "not_found_error")
    assert told(http.get(MESSAGES))[:2] == (405, "invalid_request_error")
    assert told(http.post(MESSAGES, content=b"{"))[:2] == (400, "invalid_request_error")
    assert told(http.post(MESSAGES, content=b"[]"))[:2] == (400, "invalid_request_error")
    assert told(http.post(MESSAGES, content=b"x" * 3000))[:2] == (413, "request_too_large")
    assert told(http.post(f"{MESSAGES}/count_tokens", json={}))[0] == 400
    assert told(ask(house, Origin="http://evil.example"))[:2] == (403, "permission_error")
    assert told(http.post(MESSAGES, json=body(model=" ")))[2].startswith("model is required")


def test_its_clients_are_answered_in_their_form_below_v1(house: AppHarness) -> None:
    headers = {"anthropic-version": "2023-06-01"}

    assert told(house.http.get("/v1/what", headers=headers))[0] == 404
    assert told(house.http.get("/v1/models/gone", headers=headers))[0] == 404
    assert "object" in house.http.get("/v1/models").json()
    assert house.http.get("/v1/models", headers=headers).json()["has_more"] is False


def test_pages_of_this_machine_may_use_it(house: AppHarness) -> None:
    assert ask(house, Origin="http://localhost:3000").status_code == 200


def test_a_full_queue_is_told_before_anything_is_taken_on(house: AppHarness) -> None:
    house.running()
    house.submit()

    answer = ask(house)

    assert told(answer)[:2] == (429, "rate_limit_error")
    assert answer.headers["x-should-retry"] == "true"
    assert int(answer.headers["Retry-After"]) >= 1
    assert house.queue.get_queue_stats().total_tasks == 2


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (Unavailable("the queue is shutting down", retry_after_s=5), "true"),
        (OutcomeUnknown("no answer in time"), "false"),
    ],
)
def test_an_overloaded_queue_is_told(
    house: AppHarness, monkeypatch: pytest.MonkeyPatch, error: Exception, again: str
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(house.queue, "submit_listed", refuse)

    answer = ask(house)

    assert told(answer)[:2] == (503, "overloaded_error")
    assert answer.headers["x-should-retry"] == again


def test_a_failed_task_is_named(house: AppHarness) -> None:
    house.fake.default = Answer(501, {"error": "no"})

    answer = ask(house)

    assert told(answer)[:2] == (501, "api_error")
    task_id = answer.headers["X-Queue-Task-Id"]
    assert answer.headers["request-id"] == f"req_{task_id.replace('-', '')[-24:]}"


def test_a_question_about_tokens_is_no_task(house: AppHarness) -> None:
    answer = house.http.post(f"{MESSAGES}/count_tokens?beta=true", json=body())

    assert answer.json() == {"input_tokens": 1}
    assert house.queue.get_queue_stats().total_tasks == 0
