"""Anthropic's official client, before the queue, before model servers that nobody here wrote.

Their model is nonsense-grade: shapes, counts and order are looked at, never what it says.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import anthropic as official
import pytest

from ollama_queue import Client
from tests.support.anthropic_messages import assembled
from tests.support.servers.real_models import Server, is_cancelled_by, kind_of

HELLO: Any = [{"role": "user", "content": [{"type": "text", "text": "Say hello."}]}]
LONG: Any = [{"role": "user", "content": "Count from one to one thousand in words."}]
SCHEMA: Any = {
    "type": "object",
    "properties": {"answer": {"enum": ["yes", "no"]}},
    "required": ["answer"],
}
USED: Any = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}}
RESULT: Any = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}
PATIENCE_S = 60.0


@pytest.fixture
def client(queue: Client) -> Iterator[official.Anthropic]:
    with official.Anthropic(base_url=queue.url, api_key="none", timeout=PATIENCE_S) as made:
        yield made


def test_messages_errors_and_departure(
    client: official.Anthropic, queue: Client, server: Server
) -> None:
    fixed: Any = {
        "model": server.model,
        "max_tokens": 8,
        "extra_body": {"temperature": 0.0, "top_k": 1},
    }
    whole = client.messages.create(messages=HELLO, **fixed)
    events = client.messages.create(messages=HELLO, stream=True, **fixed)
    streamed = assembled([event.to_dict(exclude_unset=True) for event in events])

    assert (whole.type, whole.role, whole.model) == ("message", "assistant", server.model)
    assert whole.content[0].type == "text"
    assert whole.content[0].text.strip()
    assert whole.stop_reason in ("end_turn", "max_tokens")
    assert 1 <= whole.usage.output_tokens <= 8
    assert whole.usage.input_tokens > 1
    assert streamed["content"][0]["text"] == whole.content[0].text
    assert streamed["stop_reason"] == whole.stop_reason
    assert streamed["usage"]["output_tokens"] == whole.usage.output_tokens
    (task, *_) = queue.list_tasks()
    assert task.tokens == whole.usage.output_tokens

    # Neither model can think: it answers all the same.
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    said = client.messages.create(messages=HELLO, thinking=thinking, **fixed)
    assert said.content[-1].type == "text"

    results: Any = [
        *HELLO,
        {"role": "assistant", "content": [USED]},
        {"role": "user", "content": [RESULT, {"type": "text", "text": "So?"}]},
    ]
    gone_on = client.messages.create(messages=results, **fixed)
    assert gone_on.usage.input_tokens > whole.usage.input_tokens

    form: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}
    long: Any = {**fixed, "max_tokens": 100}
    sure = client.messages.create(messages=HELLO, output_config=form, **long)
    assert sure.content[0].type == "text"
    assert "".join(sure.content[0].text.split()) in ('{"answer":"yes"}', '{"answer":"no"}')

    cut = client.messages.create(messages=LONG, **{**fixed, "max_tokens": 3})
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 3)

    counted = client.messages.count_tokens(model=server.model, messages=HELLO)
    if kind_of(server) == "openai":  # llama.cpp counts
        assert counted.input_tokens == whole.usage.input_tokens
    assert counted.input_tokens >= 1
    assert any(each.id.startswith("smollm2") for each in client.models.list())
    with pytest.raises(official.NotFoundError):
        client.messages.create(messages=HELLO, **{**fixed, "model": "nope"})

    def leave() -> None:
        with client.messages.stream(model=server.model, messages=LONG, max_tokens=1000) as stream:
            next(iter(stream.text_stream))

    assert is_cancelled_by(leave, queue)
    server.wait_until_idle(20)


def test_the_asynchronous_client(queue: Client, server: Server) -> None:
    asked: Any = {"model": server.model, "max_tokens": 4, "messages": HELLO}

    async def ask() -> tuple[Any, Any]:
        async with official.AsyncAnthropic(base_url=queue.url, api_key="none") as client:
            whole = await client.messages.create(**asked)
            async with client.messages.stream(**asked) as stream:
                return whole, await stream.get_final_message()

    whole, streamed = asyncio.run(ask())

    assert whole.content[0].text.strip()
    assert streamed.content[0].text.strip()
    assert streamed.usage.output_tokens <= 4
