"""OpenAI's official client before the queue, on both kinds of model server: replies."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from ollama_queue import Status
from tests.support.fakes.model_server import Answer, Stream
from tests.support.harness.openai import HI, OpenAIHarness, chat, open_openai
from tests.support.harness.site import SITES

CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
TOOL: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module", params=SITES)
def house(request: pytest.FixtureRequest) -> Iterator[OpenAIHarness]:
    with open_openai(request) as made:
        yield made


# --- replies ------------------------------------------------------------------------------------


def test_a_chat(house: OpenAIHarness) -> None:
    answer = chat(house, temperature=0.5, user="me")

    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "Hello from here")
    assert (choice.finish_reason, answer.object, answer.model) == ("stop", "chat.completion", "m")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 3)
    sent = house.model.calls[-1]
    assert sent.path == "/v1/chat/completions"
    assert sent.body == {
        "model": "m",
        "messages": HI,
        "temperature": 0.5,
        "user": "me",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    task = house.newest()
    assert (task.type, task.dialect, task.priority, task.title) == ("chat", "openai", 10, "hi")
    assert (task.payload, task.tokens) == ({"messages": HI, "temperature": 0.5, "user": "me"}, 3)
    assert task.result["choices"][0]["message"]["content"] == "Hello from here"


def test_a_chat_as_it_comes(house: OpenAIHarness) -> None:
    pieces = list(chat(house, stream=True))

    assert [piece.choices[0].delta.content for piece in pieces] == ["Hello", " from", " here", ""]
    assert [piece.choices[0].finish_reason for piece in pieces] == [None, None, None, "stop"]
    assert all(piece.usage is None for piece in pieces)
    assert house.newest().status is Status.COMPLETED


def test_the_tokens_are_told_to_whom_it_may_concern(house: OpenAIHarness) -> None:
    *_, last = chat(house, stream=True, stream_options={"include_usage": True})

    assert (last.choices, last.usage.completion_tokens) == ([], 3)


def test_a_stream_comes_piece_by_piece(house: OpenAIHarness) -> None:
    gate = threading.Event()
    house.model.script(Stream(gate=gate))
    pieces = chat(house, stream=True)

    assert next(pieces).choices[0].delta.content == "Hello"  # while the rest is not yet there
    gate.set()
    assert [piece.choices[0].delta.content for piece in pieces] == [" from", " here", ""]


@pytest.mark.parametrize("stream", [False, True])
def test_calls_to_tools(house: OpenAIHarness, stream: bool) -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    whole = {"id": "1", "object": "chat.completion", "model": "m", "created": 1}
    house.model.script(Answer(body={**whole, "choices": [choice]}))

    answer = chat(house, tools=[TOOL], stream=stream)

    if stream:
        (piece,) = answer
        (call,) = piece.choices[0].delta.tool_calls
        assert piece.choices[0].finish_reason == "tool_calls"
    else:
        (call,) = answer.choices[0].message.tool_calls
        assert answer.choices[0].message.content is None
    assert (call.id, call.function.name, call.function.arguments) == ("call_1", "add", '{"a": 1}')
    assert house.model.calls[-1].body["tools"] == [TOOL]


def test_json(house: OpenAIHarness) -> None:
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}
    house.model.script(Stream(words=['{"a"', ": 1}"]))

    answer = chat(house, response_format=wanted)

    assert answer.choices[0].message.content == '{"a": 1}'
    assert house.model.calls[-1].body["response_format"] == wanted


def test_a_completion(house: OpenAIHarness) -> None:
    def complete(**more: Any) -> Any:
        return house.client.completions.create(model="m", prompt="once", **more)

    whole = complete(max_tokens=5)
    pieces = complete(stream=True)

    assert (whole.object, whole.choices[0].text) == ("text_completion", "Hello from here")
    assert whole.usage.completion_tokens == 3
    assert [piece.choices[0].text for piece in pieces] == ["Hello", " from", " here", ""]
    assert house.client.completions.create(model="m", prompt=[1, 2]).choices[0].text
    assert house.model.calls[-1].body["prompt"] == [1, 2]


def test_embeddings(house: OpenAIHarness) -> None:
    answer = house.client.embeddings.create(model="m", input=["a", "bcd"], dimensions=2)

    assert [each.embedding for each in answer.data] == [[1.0, 0.5], [3.0, 0.5]]
    sent = house.model.calls[-1]
    assert (sent.path, sent.body["dimensions"]) == ("/v1/embeddings", 2)
    assert house.newest().type == "embed"


def test_models(house: OpenAIHarness) -> None:
    listed = {each.id.removesuffix(":latest") for each in house.client.models.list()}

    assert listed == {"m", "org/model:8b"}
    assert house.client.models.retrieve("m").object == "model"
    assert house.client.models.retrieve("org/model:8b").id == "org/model:8b"
    with pytest.raises(openai.NotFoundError):
        house.client.models.retrieve("gone")


def test_the_asynchronous_client(house: OpenAIHarness) -> None:
    async def ask() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=house.base_url, api_key="none") as client:
            whole = await client.chat.completions.create(model="m", messages=HI)
            stream = await client.chat.completions.create(model="m", messages=HI, stream=True)
            said = [piece.choices[0].delta.content async for piece in stream]
            return [whole.choices[0].message.content, *said]

    assert asyncio.run(ask()) == ["Hello from here", "Hello", " from", " here", ""]
