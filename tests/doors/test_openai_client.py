"""OpenAI's official client before the queue, on both kinds of model server."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest

from ollama_queue import Client, Status
from tests.fakes import Answer, Behaviour, FakeOllama, Hang, Stream
from tests.queue_server import QueueServer

HI: Any = [{"role": "user", "content": "hi"}]
PATIENCE_S = 10.0
CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
TOOL: Any = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


class House:
    """A queue server before a model server of one kind, and clients of both doors."""

    def __init__(self, folder: Any, kind: str) -> None:
        self.model = FakeOllama().lists("m", "org/model:8b")
        url = self.model.openai_url if kind == "openai" else self.model.url
        self.server = QueueServer(folder, url, workers=1, kind=kind)
        self.server.start()
        self.base_url = f"{self.server.base_url}/v1"
        self.client = openai.OpenAI(base_url=self.base_url, api_key="none", max_retries=0)
        self.queue: Client = self.server.client()

    def newest(self) -> Any:
        (task,) = self.queue.list_tasks({"limit": 1})
        return self.queue.get_task(task.id)

    @contextmanager
    def paused(self) -> Iterator[None]:
        self.queue.pause()
        try:
            yield
        finally:
            self.queue.resume()

    def close(self) -> None:
        self.client.close()
        self.queue.close()
        self.server.stop()
        self.model.refuse()


@pytest.fixture(scope="module", params=["ollama", "openai"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("server"), request.param)
    yield made
    made.close()


def chat(house: House, client: openai.OpenAI | None = None, **more: Any) -> Any:
    asked = client or house.client
    return asked.chat.completions.create(model="m", messages=HI, **more)


# --- replies ------------------------------------------------------------------------------------


def test_a_chat(house: House) -> None:
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


def test_a_chat_as_it_comes(house: House) -> None:
    pieces = list(chat(house, stream=True))

    assert [piece.choices[0].delta.content for piece in pieces] == ["Hello", " from", " here", ""]
    assert [piece.choices[0].finish_reason for piece in pieces] == [None, None, None, "stop"]
    assert all(piece.usage is None for piece in pieces)
    assert house.newest().status is Status.COMPLETED


def test_the_tokens_are_told_to_whom_it_may_concern(house: House) -> None:
    *_, last = chat(house, stream=True, stream_options={"include_usage": True})

    assert (last.choices, last.usage.completion_tokens) == ([], 3)


def test_a_stream_comes_piece_by_piece(house: House) -> None:
    gate = threading.Event()
    house.model.script(Stream(gate=gate))
    pieces = chat(house, stream=True)

    assert next(pieces).choices[0].delta.content == "Hello"  # while the rest is not yet there
    gate.set()
    assert [piece.choices[0].delta.content for piece in pieces] == [" from", " here", ""]


@pytest.mark.parametrize("stream", [False, True])
def test_calls_to_tools(house: House, stream: bool) -> None:
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


def test_json(house: House) -> None:
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}
    house.model.script(Stream(words=['{"a"', ": 1}"]))

    answer = chat(house, response_format=wanted)

    assert answer.choices[0].message.content == '{"a": 1}'
    assert house.model.calls[-1].body["response_format"] == wanted


def test_a_completion(house: House) -> None:
    def complete(**more: Any) -> Any:
        return house.client.completions.create(model="m", prompt="once", **more)

    whole = complete(max_tokens=5)
    pieces = complete(stream=True)

    assert (whole.object, whole.choices[0].text) == ("text_completion", "Hello from here")
    assert whole.usage.completion_tokens == 3
    assert [piece.choices[0].text for piece in pieces] == ["Hello", " from", " here", ""]
    assert house.client.completions.create(model="m", prompt=[1, 2]).choices[0].text
    assert house.model.calls[-1].body["prompt"] == [1, 2]


def test_embeddings(house: House) -> None:
    answer = house.client.embeddings.create(model="m", input=["a", "bcd"], dimensions=2)

    assert [each.embedding for each in answer.data] == [[1.0, 0.5], [3.0, 0.5]]
    sent = house.model.calls[-1]
    assert (sent.path, sent.body["dimensions"]) == ("/v1/embeddings", 2)
    assert house.newest().type == "embed"


def test_models(house: House) -> None:
    listed = {each.id.removesuffix(":latest") for each in house.client.models.list()}

    assert listed == {"m", "org/model:8b"}
    assert house.client.models.retrieve("m").object == "model"
    assert house.client.models.retrieve("org/model:8b").id == "org/model:8b"
    with pytest.raises(openai.NotFoundError):
        house.client.models.retrieve("gone")


def test_the_asynchronous_client(house: House) -> None:
    async def ask() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=house.base_url, api_key="none") as client:
            whole = await client.chat.completions.create(model="m", messages=HI)
            stream = await client.chat.completions.create(model="m", messages=HI, stream=True)
            said = [piece.choices[0].delta.content async for piece in stream]
            return [whole.choices[0].message.content, *said]

    assert asyncio.run(ask()) == ["Hello from here", "Hello", " from", " here", ""]


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_nobody_has(house: House, stream: bool) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        house.client.chat.completions.create(model="gone", messages=HI, stream=stream)

    error = caught.value
    assert (error.code, error.type, error.param) == (
        "model_not_found",
        "invalid_request_error",
        "model",
    )
    assert error.body["message"] == "model 'gone' not found"  # type: ignore[index]


@pytest.mark.parametrize("stream", [False, True])
def test_the_models_own_refusals(house: House, stream: bool) -> None:
    refusal = {"error": {"message": "m does not support tools", "type": "invalid_request_error"}}
    house.model.script(Answer(400, refusal))

    with pytest.raises(openai.BadRequestError, match="answered 400: m does not support tools"):
        chat(house, stream=stream)


def test_mistakes_in_the_request(house: House) -> None:
    create = house.client.chat.completions.create
    for wrong, param in (
        ({"messages": []}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"extra_body": {"service_tier": 1}}, "service_tier"),
        ({"extra_headers": {"X-Queue-Priority": "99"}}, "X-Queue-Priority"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            create(**{"model": "m", "messages": HI, **wrong})  # type: ignore[call-overload]
        assert (caught.value.type, caught.value.param) == ("invalid_request_error", param)
    with pytest.raises(openai.NotFoundError):
        house.client.images.generate(model="m", prompt="a cat")


def test_what_failed_here_is_not_sent_again_by_the_client(house: House) -> None:
    house.model.default = Answer(501, {"error": "not for me"})
    calls = len(house.model.calls)
    try:
        with pytest.raises(openai.InternalServerError) as caught:
            chat(house, client=house.client.with_options(max_retries=2))
    finally:
        house.model.default = Stream()

    assert caught.value.response.headers["x-should-retry"] == "false"
    assert (caught.value.type, len(house.model.calls)) == ("api_error", calls + 1)


FAILURES = [Stream(then="cut"), Answer(500, {"error": "out of memory"}), Stream(then="stop")]


@pytest.mark.parametrize("failed", FAILURES)
def test_a_whole_reply_is_tried_again_unseen(house: House, failed: Behaviour) -> None:
    house.model.script(failed)

    assert chat(house).choices[0].message.content == "Hello from here"
    assert house.newest().attempt == 2


def test_a_stream_is_tried_again_while_nothing_was_sent(house: House) -> None:
    house.model.script(Answer(500, {"error": "out of memory"}), Stream(words=[], then="cut"))

    said = [piece.choices[0].delta.content for piece in chat(house, stream=True)]

    assert "".join(said) == "Hello from here"


def test_a_stream_cannot_begin_anew(house: House) -> None:
    house.model.script(Stream(then="cut"), Stream(then="hang"))

    with pytest.raises(openai.APIError, match="is not the whole reply"):
        list(chat(house, stream=True))

    task = house.newest()
    assert house.queue.wait(task.id, timeout=PATIENCE_S).status is Status.CANCELLED


# --- the queue ----------------------------------------------------------------------------------


def test_who_says_how_urgent_it_is(house: House) -> None:
    levels = {"priority": 15, "fast": 15, "flex": 1, "auto": 10, "default": 10, "scale": 10}
    for tier, level in levels.items():
        answer = chat(house, extra_body={"service_tier": tier})
        assert house.newest().priority == level
        assert answer.service_tier == ("default" if tier == "auto" else tier)
    (piece, *_) = chat(house, stream=True, service_tier="flex")
    assert piece.service_tier == "flex"
    headers = {"X-Queue-Priority": "normal", "X-Queue-Tenant": "t"}
    chat(house, service_tier="priority", extra_headers=headers)
    assert (house.newest().priority, house.newest().tenant) == (5, "t")


def test_the_headers_of_an_answer(house: House) -> None:
    raw = house.client.chat.completions.with_raw_response.create(model="m", messages=HI)

    assert raw.headers["X-Queue-Task-Id"] == house.newest().id
    assert raw.headers["X-Queue-Backend"] == "ollama"
    assert int(raw.headers["X-Queue-Wait-Ms"]) >= 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_key_finds_the_task_again(house: House, stream: bool) -> None:
    key = {"Idempotency-Key": f"once {len(house.model.calls)}"}
    chat(house, extra_headers=key)
    calls = len(house.model.calls)

    again = chat(house, extra_headers=key, stream=stream)

    if stream:
        said = "".join(piece.choices[0].delta.content for piece in again)
    else:
        said = again.choices[0].message.content
    assert (said, len(house.model.calls)) == ("Hello from here", calls)
    with pytest.raises(openai.ConflictError):
        chat(house, extra_headers=key, seed=1)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_takes_its_task_along(house: House, stream: bool) -> None:
    house.model.script(Hang())
    gone = house.model.disconnects
    hasty = house.client.with_options(timeout=0.3)
    with pytest.raises(openai.APITimeoutError):
        chat(house, client=hasty, stream=stream)
    house.model.wait_for_disconnect(count=gone + 1)
    assert house.queue.wait(house.newest().id, timeout=PATIENCE_S).status is Status.CANCELLED


def test_a_client_that_has_read_a_little_may_go(house: House) -> None:
    house.model.script(Stream(then="hang"))
    gone = house.model.disconnects
    pieces = chat(house, stream=True)
    next(pieces)

    pieces.close()

    house.model.wait_for_disconnect(count=gone + 1)
    assert house.queue.wait(house.newest().id, timeout=PATIENCE_S).status is Status.CANCELLED
