"""Responses in the background, by OpenAI's client: read later, again, and from any event."""

import asyncio
import itertools
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from ollama_queue import Status
from tests.support.fakes.model_server import Hang, Stream
from tests.support.harness.openai import OpenAIHarness, open_openai
from tests.support.harness.site import SITES

TEXT = [
    "response.created",
    "response.queued",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]
PATIENCE_S = 10.0


@pytest.fixture(scope="module", params=SITES)
def house(request: pytest.FixtureRequest) -> Iterator[OpenAIHarness]:
    with open_openai(request) as made:
        yield made


def begin(house: OpenAIHarness, **more: Any) -> Any:
    return house.client.responses.create(model="m", input="hi", background=True, **more)


def follow(house: OpenAIHarness, response_id: str, **more: Any) -> list[Any]:
    return list(house.client.responses.retrieve(response_id, stream=True, **more))


def task_id_of(response: Any) -> str:
    digits = response.id.removeprefix("resp_")
    ends = (0, 8, 12, 16, 20, 32)
    return "-".join(digits[start:end] for start, end in itertools.pairwise(ends))


def test_it_is_queued_at_once_and_read_later(house: OpenAIHarness) -> None:
    house.queue.pause()
    started = begin(house, metadata={"a": "b"})
    assert (started.status, started.background, started.output) == ("queued", True, [])
    assert house.client.responses.retrieve(started.id) == started
    house.queue.resume()
    task = house.queue.wait(task_id_of(started), timeout=PATIENCE_S)

    ended = house.client.responses.retrieve(started.id)
    assert (ended.status, ended.output_text) == ("completed", "Hello from here")
    assert (ended.id, ended.created_at, ended.metadata) == (
        started.id,
        started.created_at,
        {"a": "b"},
    )
    assert (task.priority, task.title, task.dialect) == (5, "hi", "responses")


def test_its_events_as_they_come_and_again(house: OpenAIHarness) -> None:
    events = list(begin(house, stream=True))

    assert [event.type for event in events] == TEXT
    assert [event.sequence_number for event in events] == list(range(len(TEXT)))
    response_id = events[0].response.id
    assert follow(house, response_id) == events
    for after in range(len(events)):
        assert follow(house, response_id, starting_after=after) == events[after + 1 :]
    assert follow(house, response_id, starting_after=1000) == []


def test_a_reader_that_was_cut_off_goes_on(house: OpenAIHarness) -> None:
    gate = threading.Event()
    house.model.script(Stream(gate=gate))
    seen = []
    with begin(house, stream=True) as stream:
        for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta":
                break

    rest = iter(
        house.client.responses.retrieve(
            seen[0].response.id, stream=True, starting_after=seen[-1].sequence_number
        )
    )
    gate.set()
    seen += list(rest)

    assert [event.type for event in seen] == TEXT
    assert [event.sequence_number for event in seen] == list(range(len(TEXT)))
    assert "".join(e.delta for e in seen if e.type.endswith("delta")) == "Hello from here"


def test_the_clients_own_stream_of_an_existing_response(house: OpenAIHarness) -> None:
    started = begin(house)
    with house.client.responses.stream(response_id=started.id, starting_after=4) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()

    assert kinds == TEXT[5:]
    assert final.output_text == "Hello from here"


def test_one_whose_client_is_gone_at_once_is_not_stuck(house: OpenAIHarness) -> None:
    body = json.dumps({"model": "m", "input": "left", "background": True}).encode()
    head = f"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    ended = house.queue.subscribe(["task_completed", "task_cancelled"])
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", house.server.port)) as connection:
            connection.sendall(head.encode() + body)

    assert [ended.get(PATIENCE_S).event for _ in range(5)] == ["task_completed"] * 5


def test_a_stream_in_the_background_survives_its_client(house: OpenAIHarness) -> None:
    ended = house.queue.subscribe(["task_completed", "task_cancelled"])
    house.model.script(Stream(gate=(gate := threading.Event())))
    with begin(house, stream=True) as stream:
        next(iter(stream))
    gate.set()

    assert ended.get(PATIENCE_S).event == "task_completed"


@pytest.mark.parametrize("is_running", [False, True])
def test_a_cancelled_response_stays_cancelled(house: OpenAIHarness, is_running: bool) -> None:
    house.model.script(Hang())
    calls = len(house.model.calls)
    busy = begin(house)
    house.model.wait_for_calls(calls + 1)
    started = busy if is_running else begin(house)

    cancelled = house.client.responses.cancel(started.id)

    assert cancelled.status == "cancelled"
    assert house.client.responses.cancel(started.id).status == "cancelled"
    if not is_running:
        house.client.responses.cancel(busy.id)
    house.queue.wait(task_id_of(begin(house)), timeout=PATIENCE_S)  # the worker went on
    assert house.client.responses.retrieve(started.id).status == "cancelled"
    *_, last = follow(house, started.id)
    assert (last.type, last.response.status) == ("response.failed", "cancelled")


def test_cancelling_a_response_that_has_ended_changes_nothing(house: OpenAIHarness) -> None:
    events = list(begin(house, stream=True))

    assert house.client.responses.cancel(events[0].response.id) == events[-1].response


def test_a_reader_is_told_of_a_cancel(house: OpenAIHarness) -> None:
    house.model.script(Stream(then="hang"))
    stream = iter(begin(house, stream=True))
    seen = list(itertools.islice(stream, 6))

    house.client.responses.cancel(seen[0].response.id)
    *_, last = stream

    assert (last.type, last.response.error.code) == ("response.failed", "cancelled")


def test_a_deleted_response_is_gone(house: OpenAIHarness) -> None:
    ended = list(begin(house, stream=True))[-1].response
    house.model.script(Hang())
    running, waiting = begin(house), begin(house)
    for response in (ended, waiting, running):
        house.client.responses.delete(response.id)
        with pytest.raises(openai.NotFoundError) as caught:
            house.client.responses.retrieve(response.id)
        assert response.id in caught.value.message


def test_input_items_in_pages(house: OpenAIHarness) -> None:
    given: Any = [{"role": "user", "content": f"{n}"} for n in range(5)]
    started = house.client.responses.create(model="m", input=given, background=True)
    items = house.client.responses.input_items

    newest = items.list(started.id, limit=2)
    assert [item.content[0].text for item in newest.data] == ["4", "3"]  # type: ignore[union-attr]
    assert newest.has_more
    pages = items.list(started.id, limit=2, order="asc")
    assert [item.content[0].text for item in pages] == ["0", "1", "2", "3", "4"]  # type: ignore[union-attr]
    with pytest.raises(openai.BadRequestError) as caught:
        items.list(started.id, limit=101)
    assert caught.value.param == "limit"


@pytest.mark.parametrize("response_id", ["resp_1", "resp_" + "0" * 32, "x/y", "chat"])
def test_what_is_no_response_is_not_found(house: OpenAIHarness, response_id: str) -> None:
    if response_id == "chat":
        house.client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
        response_id = f"resp_{house.newest().id.replace('-', '')}"
    responses = house.client.responses
    for verb in (
        responses.retrieve,
        responses.cancel,
        responses.delete,
        responses.input_items.list,
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            verb(response_id)  # type: ignore[operator]
        assert caught.value.type == "invalid_request_error"


def test_the_same_request_with_its_key_is_the_same_response(house: OpenAIHarness) -> None:
    headers = {"Idempotency-Key": "once"}
    first, second = (begin(house, extra_headers=headers) for _ in range(2))

    assert first.id == second.id


def test_native_verbs_and_other_tasks(house: OpenAIHarness) -> None:
    payload = {"input": [{"role": "user", "content": "hi"}]}
    new: Any = {"type": "chat", "model": "m", "dialect": "responses", "payload": payload}
    task_id = house.queue.submit_task(new)
    chunks = list(house.queue.stream_task(task_id))
    task = house.queue.get_task(task_id)

    assert task.status is Status.COMPLETED
    assert [chunk.data["delta"] for chunk in chunks if "delta" in (chunk.data or ())] == [
        "Hello",
        " from",
        " here",
    ]
    assert task.result["output"][0]["content"][0]["text"] == "Hello from here"
    response = house.client.responses.retrieve(f"resp_{task_id.replace('-', '')}")
    assert response.output_text == "Hello from here"


def test_the_asynchronous_client(house: OpenAIHarness) -> None:
    async def responses() -> tuple[list[str], str, str]:
        async with openai.AsyncOpenAI(base_url=house.base_url, api_key="none") as client:
            started = await client.responses.create(model="m", input="hi", background=True)
            stream = await client.responses.retrieve(started.id, stream=True)
            kinds = [event.type async for event in stream]
            ended = await client.responses.retrieve(started.id)
            return kinds, ended.status or "", ended.output_text

    assert asyncio.run(responses()) == (TEXT, "completed", "Hello from here")
