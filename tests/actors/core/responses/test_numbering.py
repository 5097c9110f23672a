"""The numbers of a response's events, for readers that come late, come back, or come too late."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ollama_queue import Status, Task
from ollama_queue.actors.core.model.ids import instant_of, mint
from ollama_queue.actors.core.model.tasks import Attempt, Chunk, TaskType, Upstream
from ollama_queue.actors.core.responses.numbering import STRIDE, NumberedEvents
from ollama_queue.actors.core.responses.reply import ResponseReply
from ollama_queue.actors.core.responses.response import (
    ResponseView,
    response_id,
    response_of,
    task_id_of,
)
from tests.support.chat_pieces import completions, piece

AT = datetime(2026, 1, 1, tzinfo=UTC)
ID = mint(int(AT.timestamp() * 1e6), 7)
HEX = ID.replace("-", "")
QUEUED = Task(
    id=ID,
    type=TaskType.CHAT,
    model="m",
    priority=10,
    created_at=AT,
    queued_at=AT,
    max_retries=3,
    payload={"input": "hi", "metadata": {"a": "b"}, "temperature": None, "background": True},
)


def done(pieces: list[Any], attempt: int = 1) -> tuple[list[Chunk], Task]:
    """The chunks of an attempt that completed its task, and the task."""
    reply = ResponseReply()
    events = [event for each in pieces for event in reply.take(each)] + reply.end()
    chunks = [Chunk(f"{attempt}.{n}", event) for n, event in enumerate(events)]
    result = msgspec.json.decode(msgspec.json.encode(reply.whole()))
    task = replace(
        QUEUED,
        status=Status.COMPLETED,
        attempt=attempt,
        started_at=AT,
        completed_at=AT + timedelta(seconds=2),
        result=result,
    )
    return [*chunks, Chunk(f"{attempt}.{len(events)}", done=True, status=task.status)], task


def read(chunks: list[Chunk], task: Task, after: int | None = None, queued: bool = True) -> Any:
    """The events of a stream that a reader gets after number `after`."""
    view = ResponseView(task.id, task.model, task.payload or {})
    events = NumberedEvents(view, after, is_queued=queued)

    def all_of() -> Iterator[Any]:
        yield from events.opening()
        for chunk in chunks:
            attempt, number = map(int, chunk.id.split("."))
            if chunk.done:
                yield from events.end(attempt, number, task)
            elif not chunk.restart:
                yield from events.take(attempt, number, chunk.data)

    return list(all_of())


def numbers(events: list[Any]) -> list[int]:
    return [event["sequence_number"] for event in events]


def whole(task: Task) -> list[Chunk]:
    """The chunks of a reader that comes when none is kept any more."""
    restart, result = (
        Chunk(f"{task.attempt}.0", restart=True),
        Chunk(f"{task.attempt}.0", task.result),
    )
    return [restart, result, Chunk(f"{task.attempt}.1", done=True, status=task.status)]


def test_a_stream_has_the_shape_of_openais() -> None:
    events = read(*done([piece(content="Hello"), piece("stop")]))

    assert [event["type"] for event in events] == [
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert numbers(events) == list(range(10))
    statuses = [event["response"]["status"] for event in events if "response" in event]
    assert statuses == ["queued", "queued", "in_progress", "completed"]
    assert {event["item_id"] for event in events if "item_id" in event} == {f"msg_{HEX}_0"}
    assert {event["item"]["id"] for event in events if "item" in event} == {f"msg_{HEX}_0"}
    assert events[-1]["response"]["output"] == [events[-2]["item"]]


def test_what_does_not_wait_is_not_queued() -> None:
    events = read(*done([piece(content="Hello"), piece("stop")]), queued=False)

    assert [event["type"] for event in events[:3]] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
    ]
    assert numbers(events) == list(range(9))
    assert events[0]["response"]["status"] == "in_progress"


@given(completions(), st.integers(1, 3), st.integers(-1, 60), st.booleans())
def test_a_reader_gets_what_follows_wherever_it_was(
    pieces: list[Any], attempt: int, seen: int, queued: bool
) -> None:
    chunks, task = done(pieces, attempt)
    events = read(chunks, task, queued=queued)
    after = numbers(events)[min(seen, len(events) - 1)] if seen >= 0 else None
    rest = events if after is None else events[min(seen, len(events) - 1) + 1 :]

    assert numbers(events) == sorted(set(numbers(events)))
    assert read(chunks, task, after, queued) == rest
    assert read(whole(task), task, after, queued) == rest  # its chunks are forgotten


@given(completions(), st.integers(0, 60))
def test_a_place_in_the_chunks_is_the_number_of_an_event(pieces: list[Any], seen: int) -> None:
    chunks, task = done(pieces, 2)
    events = read(chunks, task)
    event = events[min(seen, len(events) - 1)]
    view = ResponseView(task.id, task.model, {})
    place = NumberedEvents(view, event["sequence_number"], is_queued=True).position

    if seen < 2:
        assert place is None
    else:
        assert place == (2, min(seen, len(events) - 1) - 3)


def test_a_new_attempt_begins_again_behind_all_numbers_of_the_old() -> None:
    chunks, _ = done([piece(content="Hel"), piece(content="lo")])
    again, task = done([piece(content="Hi"), piece("stop")], attempt=2)

    events = read([*chunks[:3], Chunk("2.0", restart=True), *again], task)

    assert numbers(events)[:6] == [0, 1, 2, 3, 4, 5]
    assert numbers(events)[6:] == list(range(STRIDE + 2, STRIDE + 10))
    assert events[6]["type"] == "response.in_progress"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "Hi"
    assert read(again, task, after=5) == events[6:]
    assert read(whole(task), task, after=5) == events[6:]


@pytest.mark.parametrize("after", [None, 0, 5, 50])
def test_a_failure_is_told_to_each_reader(after: int | None) -> None:
    upstream = Upstream("too long", code="context_length_exceeded")
    attempt = Attempt(
        attempt=1, backend="b", started_at=AT, ended_at=AT, error="x", upstream=upstream
    )
    failed = replace(QUEUED, status=Status.FAILED, attempt=1, attempts=[attempt], error="x")

    *_, last = read([Chunk("1.0", done=True, status=Status.FAILED)], failed, after)

    assert last["type"] == "response.failed"
    assert last["sequence_number"] > (after or 0)
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"] == {"code": "context_length_exceeded", "message": "too long"}


def test_a_cancelled_response_fails_as_cancelled() -> None:
    cancelled = replace(QUEUED, status=Status.CANCELLED, completed_at=AT)

    events = read([Chunk("0.0", done=True, status=Status.CANCELLED)], cancelled)

    assert [event["type"] for event in events] == [
        "response.created",
        "response.queued",
        "response.failed",
    ]
    assert events[-1]["response"]["status"] == "cancelled"
    assert events[-1]["response"]["error"]["code"] == "cancelled"


# --- the object ---------------------------------------------------------------------------------


def test_a_response_repeats_its_request_and_has_openais_defaults() -> None:
    _, task = done([piece(content="Hello"), piece("length")])

    response = response_of(task)

    assert response == {
        "id": f"resp_{HEX}",
        "object": "response",
        "created_at": int(AT.timestamp()),
        "completed_at": int(AT.timestamp()) + 2,
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "model": "m",
        "output": response["output"],
        "error": None,
        "previous_response_id": None,
        "instructions": None,
        "tools": [],
        "tool_choice": "auto",
        "truncation": "disabled",
        "parallel_tool_calls": True,
        "text": {"format": {"type": "text"}},
        "top_p": 1.0,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "top_logprobs": 0,
        "temperature": 1.0,
        "reasoning": None,
        "usage": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "store": True,
        "background": True,
        "service_tier": "default",
        "metadata": {"a": "b"},
        "user": None,
        "safety_identifier": None,
        "prompt_cache_key": None,
    }


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({}, "queued"),
        ({"attempt": 1}, "in_progress"),  # it waits for its next attempt
        ({"status": Status.RUNNING, "attempt": 1}, "in_progress"),
        ({"status": Status.FAILED}, "failed"),
        ({"status": Status.CANCELLED}, "cancelled"),
    ],
)
def test_the_status_of_a_response(facts: Any, status: str) -> None:
    response = response_of(replace(QUEUED, **facts))

    assert (response["status"], response["output"], response["completed_at"]) == (status, [], None)


@given(st.integers(0, 2**48 * 1000 - 1), st.integers(0, 2**62 - 1))
def test_the_id_of_a_response_is_its_tasks(at_us: int, chance: int) -> None:
    task_id = mint(at_us, chance)

    assert task_id_of(response_id(task_id)) == task_id
    assert ResponseView(task_id, "m", {}).waiting()["created_at"] == instant_of(task_id) // 10**6


@given(st.text() | st.from_regex(r"resp_[0-9a-f]{31,33}") | st.from_regex(r"RESP_[0-9a-f]{32}"))
def test_what_is_no_id_of_a_response_is_no_tasks(text: str) -> None:
    known = task_id_of(text)

    assert known is None or response_id(known) == text
