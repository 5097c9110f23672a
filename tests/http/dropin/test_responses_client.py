"""Responses by OpenAI's official client that waits for them, on both kinds of model server."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import openai
import pydantic
import pytest
from openai.types.responses import ResponseFunctionToolCall

from ollama_queue import Status
from tests.support.chat_pieces import call, piece, usage
from tests.support.fakes.model_server import Answer, Stream
from tests.support.harness.executor import sse
from tests.support.harness.openai import OpenAIHarness, open_openai
from tests.support.harness.site import SITES

TOOL: Any = {
    "type": "function",
    "name": "add",
    "description": "Adds.",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
    "strict": False,
}
PICTURE = "data:image/png;base64,iVBORw0KGgo="
TEXT = [
    "response.created",
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


@pytest.fixture(scope="module", params=SITES)
def house(request: pytest.FixtureRequest) -> Iterator[OpenAIHarness]:
    with open_openai(request) as made:
        yield made


def ask(house: OpenAIHarness, **more: Any) -> Any:
    return house.client.responses.create(**{"model": "m", "input": "hi", **more})


def thinking() -> Answer:
    pieces = [
        piece(reasoning="Hm."),
        piece(content="I add."),
        call(0, '{"a": 1}', id="call_1", name="add"),
        piece("tool_calls"),
        usage(3, 7),
    ]
    return sse(*pieces)


def test_a_response(house: OpenAIHarness) -> None:
    answer = ask(house, instructions="be brief", max_output_tokens=9, metadata={"a": "b"})

    assert (answer.object, answer.status, answer.output_text) == (
        "response",
        "completed",
        "Hello from here",
    )
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3, 3)
    assert (answer.instructions, answer.metadata, answer.model) == ("be brief", {"a": "b"}, "m")
    assert (answer.background, answer.store, answer.service_tier) == (False, True, "default")
    sent = house.model.calls[-1]
    assert sent.path == "/v1/chat/completions"
    assert sent.body["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi"},
    ]
    assert sent.body["max_tokens"] == 9
    task = house.newest()
    assert (task.type, task.dialect, task.title, task.priority) == ("chat", "responses", "hi", 10)
    assert (task.tokens, answer.id) == (3, f"resp_{task.id.replace('-', '')}")
    again = house.client.responses.retrieve(answer.id)
    assert again == answer


def test_a_response_as_it_comes(house: OpenAIHarness) -> None:
    gate = threading.Event()
    house.model.script(Stream(gate=gate))
    stream = ask(house, stream=True)

    events = [next(stream) for _ in range(5)]
    assert events[-1].delta == "Hello"  # while the rest is not yet there
    gate.set()
    events += list(stream)

    assert [event.type for event in events] == TEXT
    assert [event.sequence_number for event in events] == list(range(len(TEXT)))
    assert events[-1].response == house.client.responses.retrieve(events[0].response.id)


def test_the_clients_own_accumulation_of_a_stream(house: OpenAIHarness) -> None:
    house.model.script(thinking())
    with house.client.responses.stream(model="m", input="hi", tools=[TOOL]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()

    assert kinds.count("response.output_item.done") == 3
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    assert final.output_text == "I add."


def test_thoughts_and_tools(house: OpenAIHarness) -> None:
    house.model.script(thinking())
    first = ask(house, tools=[TOOL], tool_choice="auto", reasoning={"effort": "low"})

    thought, message, called = first.output
    assert [part.text for part in thought.summary] == ["Hm."]
    assert message.content[0].text == "I add."
    assert isinstance(called, ResponseFunctionToolCall)
    assert (called.call_id, called.name, called.arguments) == ("call_1", "add", '{"a": 1}')
    sent = house.model.calls[-1].body
    assert sent["tools"][0]["function"]["name"] == "add"
    assert (sent["tool_choice"], sent["reasoning_effort"]) == ("auto", "low")

    given = [{"role": "user", "content": "add"}, *(item.to_dict() for item in first.output)]
    output = {"type": "function_call_output", "call_id": called.call_id, "output": "2"}
    ask(house, input=[*given, output], tools=[TOOL])

    messages = house.model.calls[-1].body["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool"]
    assert messages[1]["content"] == "I add."
    assert messages[1]["reasoning_content"] == "Hm."
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"] == "call_1"


def test_a_tool_that_takes_a_text(house: OpenAIHarness) -> None:
    house.model.script(
        sse(call(0, '{"input": "*** Begin"}', id="call_1", name="patch"), piece("tool_calls"))
    )
    events = list(ask(house, tools=[{"type": "custom", "name": "patch"}], stream=True))

    (item,) = events[-1].response.output
    assert (item.type, item.name, item.input) == ("custom_tool_call", "patch", "*** Begin")
    assert [event.type for event in events[2:-1]] == [
        "response.output_item.added",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "response.output_item.done",
    ]
    output = {"type": "custom_tool_call_output", "call_id": "call_1", "output": "done"}
    ask(house, input=[{"role": "user", "content": "go"}, item.to_dict(), output])
    assert house.model.calls[-1].body["messages"][2]["content"] == "done"


def test_an_image(house: OpenAIHarness) -> None:
    image = {"type": "input_image", "image_url": PICTURE, "detail": "auto"}
    asked = {"role": "user", "content": [{"type": "input_text", "text": "what?"}, image]}

    assert ask(house, input=[asked]).output_text

    (message,) = house.model.calls[-1].body["messages"]
    assert message["content"][1] == {
        "type": "image_url",
        "image_url": {"url": PICTURE, "detail": "auto"},
    }
    assert house.newest().title == "what?"


class Sum(pydantic.BaseModel):
    total: int


def test_a_json_schema(house: OpenAIHarness) -> None:
    house.model.script(Stream(words=['{"total"', ": 3}"]))

    answer = house.client.responses.parse(model="m", input="hi", text_format=Sum)

    assert answer.output_parsed == Sum(total=3)
    form = house.model.calls[-1].body["response_format"]
    assert form["json_schema"]["schema"]["properties"]["total"]["type"] == "integer"


def test_a_reply_that_is_cut_by_its_length_is_incomplete(house: OpenAIHarness) -> None:
    house.model.script(sse(piece(content="Hel"), piece("length")), sse(piece("length")))

    answer = ask(house)
    *_, last = ask(house, stream=True)

    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert (last.type, last.response.status) == ("response.incomplete", "incomplete")


@pytest.mark.parametrize("stream", [False, True])
def test_the_models_own_refusals(house: OpenAIHarness, stream: bool) -> None:
    house.model.script(Answer(400, {"error": {"message": "too long", "code": "too_long"}}))

    with pytest.raises(openai.BadRequestError) as caught:
        ask(house, stream=stream)

    assert (caught.value.code, caught.value.body["message"]) == ("too_long", "too long")  # type: ignore[index]
    (task,) = house.queue.list_tasks({"limit": 1})
    failed = house.client.responses.retrieve(f"resp_{task.id.replace('-', '')}")
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.message == "too long"


def test_a_failure_in_the_middle_of_a_stream_is_its_last_event(house: OpenAIHarness) -> None:
    house.model.script(sse(piece(content="He"), {"error": {"message": "died", "code": "bad"}}))

    events = list(ask(house, stream=True))

    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.failed"
    assert events[-1].response.status == "failed"
    assert "died" in events[-1].response.error.message


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"stream": "yes"}, "stream"),
        ({"model": ""}, "model"),
        ({"extra_headers": {"X-Queue-Priority": "99"}}, "X-Queue-Priority"),
    ],
)
def test_mistakes_in_the_request_are_named(house: OpenAIHarness, wrong: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(house, **wrong)

    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")


def test_a_model_that_nobody_has(house: OpenAIHarness) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask(house, model="gone", background=True)

    assert caught.value.code == "model_not_found"


def test_a_client_that_leaves_cancels_its_response(house: OpenAIHarness) -> None:
    house.model.script(Stream(then="hang"))
    cancelled = house.queue.subscribe(["task_cancelled"])
    with ask(house, stream=True) as stream:
        started = next(iter(stream))

    assert cancelled.get(10).task.title == "hi"
    assert house.client.responses.retrieve(started.response.id).status == "cancelled"


def test_the_service_tier_sets_the_priority(house: OpenAIHarness) -> None:
    assert ask(house, service_tier="flex").service_tier == "flex"
    assert house.newest().priority == 1


def test_the_asynchronous_client(house: OpenAIHarness) -> None:
    async def responses() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=house.base_url, api_key="none") as client:
            whole = await client.responses.create(model="m", input="hi")
            stream = await client.responses.create(model="m", input="hi", stream=True)
            return [whole.output_text, *[event.type async for event in stream]]

    assert asyncio.run(responses()) == ["Hello from here", *TEXT]
    assert house.newest().status is Status.COMPLETED
