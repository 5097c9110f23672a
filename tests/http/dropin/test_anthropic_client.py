"""Anthropic's official client before the queue, on both kinds of model server."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import pytest

from ollama_queue import Status
from tests.support.anthropic_messages import PNG, image
from tests.support.fakes.model_server import Answer, Behaviour, Hang, Stream
from tests.support.harness.anthropic import HI, AnthropicHarness, Say, asynchronous, filled, sync
from tests.support.harness.executor import delta, ndjson, sse
from tests.support.harness.site import SITES, open_site

PATIENCE_S = 10.0
WEATHER: Any = {"name": "weather", "input_schema": {"type": "object"}}
SCHEMA: Any = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.fixture(scope="module", params=SITES)
def house(request: pytest.FixtureRequest) -> Iterator[AnthropicHarness]:
    with open_site(request, AnthropicHarness, "m", "org/model:8b") as made:
        yield made


@pytest.fixture(params=[sync, asynchronous])
def say(request: pytest.FixtureRequest, house: AnthropicHarness) -> Say:
    """Ask for a message; returns it, and the events with which it came."""
    client: Callable[..., Any] = request.param
    return lambda **fields: client(house.base_url, **fields)


def replies(house: AnthropicHarness, *pieces: dict[str, Any], finish: str = "stop") -> Behaviour:
    """A reply in pieces, in the form of the house's model server."""
    if house.kind == "ollama":
        lines = [{"message": {"role": "assistant", "content": "", **piece}} for piece in pieces]
        end = {"done": True, "done_reason": "stop" if finish == "tool_calls" else finish}
        counts = {"prompt_eval_count": 3, "eval_count": 5}
        return ndjson(*lines, {"message": {"role": "assistant", "content": ""}, **end, **counts})
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 5}}
    return sse(*(_as_openai(piece) for piece in pieces), delta(finish), usage)


def _as_openai(piece: dict[str, Any]) -> dict[str, Any]:
    names = {"thinking": "reasoning_content"}
    said = {names.get(name, name): value for name, value in piece.items()}
    for index, call in enumerate(said.get("tool_calls", ())):
        arguments = str(call["function"]["arguments"]).replace("'", '"')
        call |= {"index": index, "function": {**call["function"], "arguments": arguments}}
    return delta(**said)


def call(call_id: str | None, **arguments: Any) -> dict[str, Any]:
    named = {"id": call_id} if call_id else {}
    return {**named, "function": {"name": "weather", "arguments": arguments}}


# --- messages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_message(house: AnthropicHarness, say: Say, stream: bool) -> None:
    message, events = say(
        stream=stream,
        system="be brief",
        stop_sequences=["END"],
        extra_body={"temperature": 0.5, "top_k": 3},
    )

    task = house.newest()
    (block,) = message.content
    assert (block.type, block.text) == ("text", "Hello from here")
    assert (message.type, message.role, message.model) == ("message", "assistant", "m")
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert (message.usage.input_tokens, message.usage.output_tokens) == (3, 3)
    assert message.id == f"msg_{task.id.replace('-', '')[-24:]}"
    assert (task.type, task.priority, task.title) == ("chat", 10, "hi")
    assert task.payload == {"system": "be brief", "messages": HI, "think": False}
    sent = house.model.calls[-1]
    assert sent.path == house.path
    assert sent.body["messages"] == [{"role": "system", "content": "be brief"}, *HI]
    options = sent.body["options"] if house.kind == "ollama" else sent.body
    limit = options["num_predict" if house.kind == "ollama" else "max_tokens"]
    assert (limit, options["temperature"], options["top_k"], options["stop"]) == (
        9,
        0.5,
        3,
        ["END"],
    )
    if stream:
        assert [event.type for event in events] == [
            "message_start",
            "content_block_start",
            *["content_block_delta", "text"] * 3,
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_text_and_tools(house: AnthropicHarness, say: Say, stream: bool) -> None:
    house.model.script(
        replies(
            house,
            {"thinking": "Two "},
            {"thinking": "cities."},
            {"content": "I "},
            {"content": "look."},
            {"tool_calls": [call("call_1", city="Rome"), call("call_2", city="Oslo")]},
            finish="tool_calls",
        )
    )

    message, _ = say(
        stream=stream, tools=[WEATHER], thinking={"type": "enabled", "budget_tokens": 1024}
    )

    thinking, text, *calls = message.content
    assert (thinking.type, thinking.thinking) == ("thinking", "Two cities.")
    assert (text.type, text.text) == ("text", "I look.")
    assert [(each.type, each.id, each.name, each.input) for each in calls] == [
        ("tool_use", "call_1", "weather", {"city": "Rome"}),
        ("tool_use", "call_2", "weather", {"city": "Oslo"}),
    ]
    assert message.stop_reason == "tool_use"
    assert message.usage.output_tokens == 5
    sent = house.model.calls[-1].body
    function = {"name": "weather", "parameters": {"type": "object"}}
    assert sent["tools"] == [{"type": "function", "function": function}]
    assert sent["think" if house.kind == "ollama" else "reasoning_effort"] in (True, "medium")


def test_a_conversation_goes_on_with_results_and_images(house: AnthropicHarness, say: Say) -> None:
    house.model.script(replies(house, {"tool_calls": [call(None)]}, finish="tool_calls"))
    first, _ = say(tools=[WEATHER])
    (used,) = first.content
    result: Any = {"type": "tool_result", "tool_use_id": used.id}

    second, _ = say(
        tools=[WEATHER],
        messages=[
            *HI,
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": [{**result, "content": "sunny"}, image()]},
        ],
    )

    assert second.content[0].text == "Hello from here"
    asked, called, answered, shown = house.model.calls[-1].body["messages"]
    assert (asked["content"], called["role"]) == ("hi", "assistant")
    assert called["tool_calls"][0]["id"] == used.id == answered["tool_call_id"]
    assert (answered["role"], answered["content"]) == ("tool", "sunny")
    if house.kind == "ollama":
        assert shown["images"] == [PNG]
    else:
        assert shown["content"][0]["image_url"]["url"] == f"data:image/png;base64,{PNG}"


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_cannot_think_answers_all_the_same(
    house: AnthropicHarness, say: Say, stream: bool
) -> None:
    field = "think" if house.kind == "ollama" else "reasoning_effort"

    def cannot(body: dict[str, Any]) -> Behaviour:
        if field in body:
            return Answer(400, {"error": {"message": f'"m" does not support thinking ({field})'}})
        return Stream()

    house.model.default = cannot
    try:
        message, _ = say(stream=stream, model="org/model:8b", thinking={"type": "adaptive"})
    finally:
        house.model.default = Stream()

    assert message.content[0].text == "Hello from here"
    assert house.newest().attempt == 1


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_is_only_shown_to_those_who_ask(
    house: AnthropicHarness, say: Say, stream: bool
) -> None:
    house.model.script(replies(house, {"thinking": "Hm."}, {"content": "Yes"}))

    message, _ = say(stream=stream)

    assert [block.type for block in message.content] == ["text"]
    assert house.newest().result["message"]["thinking"] == "Hm."


@pytest.mark.parametrize("stream", [False, True])
def test_why_it_ended(house: AnthropicHarness, say: Say, stream: bool) -> None:
    house.model.script(replies(house, {"content": "Yes"}, finish="length"))

    assert say(stream=stream)[0].stop_reason == "max_tokens"
    if house.kind == "openai":  # vLLM names the sequence
        end = {
            "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}]
        }
        house.model.script(sse(delta(content="Yes"), end))
        message, _ = say(stream=stream, stop_sequences=["END"])
        assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "END")


def test_a_reply_in_a_schema(house: AnthropicHarness, say: Say) -> None:
    house.model.script(replies(house, {"content": '{"a": 1}'}))

    message, _ = say(output_config={"format": {"type": "json_schema", "schema": SCHEMA}})

    assert message.content[0].text == '{"a": 1}'
    sent = house.model.calls[-1].body
    if house.kind == "ollama":
        assert sent["format"] == SCHEMA
    else:
        assert sent["response_format"]["json_schema"]["schema"] == SCHEMA


def test_a_stream_comes_piece_by_piece(house: AnthropicHarness) -> None:
    gate = threading.Event()
    house.model.script(Stream(gate=gate))
    with house.client.messages.stream(**filled({})) as stream:
        texts = iter(stream.text_stream)
        assert next(texts) == "Hello"  # while the rest is not yet there
        gate.set()
        assert list(texts) == [" from", " here"]


def test_tokens_are_counted(house: AnthropicHarness) -> None:
    def count(**fields: Any) -> int:
        asked: Any = {"model": "m", "messages": HI, **fields}
        return house.client.messages.count_tokens(**asked).input_tokens

    assert count() == 1
    assert count(model="claude-nobody-has-it", system="x" * 400) == 101
    assert count(tools=[WEATHER]) > 10
    if house.kind == "openai":  # llama.cpp and vLLM count exactly
        house.model.facts["/v1/messages/count_tokens"] = Answer(body={"input_tokens": 77})
        assert count() == 77
        for strange in ([], {"input_tokens": "x"}, {"input_tokens": 1 << 70}):
            house.model.facts["/v1/messages/count_tokens"] = Answer(body=strange)
            assert count() == 1


def test_models(house: AnthropicHarness) -> None:
    listed = list(house.client.models.list())

    assert {each.id.removesuffix(":latest") for each in listed} == {"m", "org/model:8b"}
    assert all((each.type, each.display_name) == ("model", each.id) for each in listed)
    one = house.client.models.retrieve("m")
    assert (one.id, one.created_at.year) == ("m", 1970)
    with pytest.raises(anthropic.NotFoundError):
        house.client.models.retrieve("gone")


# --- errors -------------------------------------------------------------------------------------


def failure(error: anthropic.APIStatusError) -> tuple[int, str, str]:
    body: Any = error.body
    assert body.keys() == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert body["error"].keys() == {"type", "message"}
    assert body["request_id"].startswith("req_")
    if error.status_code != 200:
        assert error.request_id == body["request_id"]
    return error.status_code, body["error"]["type"], body["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_nobody_has(say: Say, stream: bool) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        say(stream=stream, model="gone")

    message = 'model "gone" not found, try pulling it first'
    assert failure(caught.value) == (404, "not_found_error", message)


@pytest.mark.parametrize("stream", [False, True])
def test_the_models_own_refusals(house: AnthropicHarness, say: Say, stream: bool) -> None:
    house.model.script(Answer(400, {"error": "the prompt is too long"}))

    with pytest.raises(anthropic.BadRequestError) as caught:
        say(stream=stream)

    assert failure(caught.value) == (400, "invalid_request_error", "the prompt is too long")


def test_what_is_wrong_with_a_request(house: AnthropicHarness) -> None:
    for wrong, named in (
        ({"messages": []}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"extra_headers": {"X-Queue-Priority": "99"}}, "X-Queue-Priority"),
        ({"extra_body": {"stream": "yes"}}, "stream"),
    ):
        with pytest.raises(anthropic.BadRequestError) as caught:
            house.client.messages.create(**filled(wrong))
        assert named in failure(caught.value)[2]


def test_an_error_in_the_middle_of_a_stream(house: AnthropicHarness) -> None:
    house.model.script(
        Stream(then="error", error="the context size is exceeded: exceeds context size")
    )

    with pytest.raises(anthropic.APIStatusError) as caught:
        list(house.client.messages.create(**filled({"stream": True})))

    status, kind, message = failure(caught.value)
    assert (status, kind) == (200, "api_error")
    assert "exceeds context size" in message


def test_what_failed_here_is_not_sent_again_by_the_client(house: AnthropicHarness) -> None:
    house.model.default = Answer(501, {"error": "not for me"})
    calls = len(house.model.calls)
    try:
        with pytest.raises(anthropic.InternalServerError) as caught:
            house.client.with_options(max_retries=2).messages.create(**filled({}))
    finally:
        house.model.default = Stream()

    assert caught.value.response.headers["x-should-retry"] == "false"
    assert len(house.model.calls) == calls + 1


@pytest.mark.parametrize("failed", [Stream(then="cut"), Answer(500, {"error": "out of memory"})])
def test_a_whole_message_is_tried_again_unseen(
    house: AnthropicHarness, say: Say, failed: Behaviour
) -> None:
    house.model.script(failed)

    assert say()[0].content[0].text == "Hello from here"
    assert house.newest().attempt == 2


def test_a_stream_cannot_begin_anew(house: AnthropicHarness) -> None:
    seen = threading.Event()
    house.model.script(Stream(then="cut", gate=seen), Stream(then="hang"))

    with pytest.raises(anthropic.APIStatusError, match="so far is incomplete"):
        for event in house.client.messages.create(**filled({"stream": True})):
            if event.type == "content_block_delta":
                seen.set()

    task = house.newest()
    assert house.queue.wait(task.id, timeout=PATIENCE_S).status is Status.CANCELLED


# --- the queue ----------------------------------------------------------------------------------


def test_the_user_is_the_tenant_unless_a_header_names_one(
    house: AnthropicHarness, say: Say
) -> None:
    say(metadata={"user_id": "ann"})
    assert house.newest().tenant == "ann"
    say(metadata={"user_id": "ann"}, extra_headers={"X-Queue-Tenant": "bob"})
    assert house.newest().tenant == "bob"
    say()
    assert house.newest().tenant is None


def test_the_headers_of_an_answer(house: AnthropicHarness) -> None:
    raw = house.client.messages.with_raw_response.create(
        **filled({}), extra_headers={"X-Queue-Priority": "low"}, extra_query={"beta": "true"}
    )

    task = house.newest()
    assert (task.priority, raw.headers["X-Queue-Task-Id"]) == (1, task.id)
    assert raw.headers["X-Queue-Backend"] == "ollama"
    assert raw.parse().id.removeprefix("msg_") == (raw.parse()._request_id or "")[4:]


@pytest.mark.parametrize("stream", [False, True])
def test_a_key_finds_the_same_message(house: AnthropicHarness, say: Say, stream: bool) -> None:
    key = {"Idempotency-Key": f"once {len(house.model.calls)}"}
    first, _ = say(extra_headers=key)
    calls = len(house.model.calls)

    again, _ = say(extra_headers=key, stream=stream)

    assert (again.id, again.usage) == (first.id, first.usage)
    assert [block.text for block in again.content] == [block.text for block in first.content]
    assert len(house.model.calls) == calls
    with pytest.raises(anthropic.ConflictError):
        say(extra_headers=key, system="x")


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_takes_its_task_along(house: AnthropicHarness, stream: bool) -> None:
    house.model.script(Hang())
    gone = house.model.disconnects
    hasty = house.client.with_options(timeout=0.3)
    with pytest.raises(anthropic.APITimeoutError):
        hasty.messages.create(**filled({"stream": stream}))
    house.model.wait_for_disconnect(count=gone + 1)
    assert house.queue.wait(house.newest().id, timeout=PATIENCE_S).status is Status.CANCELLED
