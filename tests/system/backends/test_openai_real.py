"""OpenAI's official client, before the queue, before model servers that nobody here wrote.

Their model is nonsense-grade: shapes, counts and order are looked at, never what it says.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai as official
import pytest

from ollama_queue import Client
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import (
    LlamaServer,
    OllamaServer,
    Server,
    is_cancelled_by,
)

HELLO: Any = [{"role": "user", "content": "Say hello."}]
LONG: Any = [{"role": "user", "content": "Count from one to one thousand in words."}]
PARIS: Any = [{"role": "user", "content": "Describe Paris as a JSON object."}]
PATIENCE_S = 60.0


@pytest.fixture
def client(queue: Client) -> Iterator[official.OpenAI]:
    base = f"{queue.url}/v1"
    with official.OpenAI(base_url=base, api_key="none", timeout=PATIENCE_S) as made:
        yield made


def test_replies_errors_and_departure(
    client: official.OpenAI, queue: Client, server: Server
) -> None:
    options: Any = {"max_tokens": 8, "seed": 1, "temperature": 0.0}
    create = client.chat.completions.create
    whole = create(model=server.model, messages=HELLO, **options)
    pieces = list(
        create(
            model=server.model,
            messages=HELLO,
            stream=True,
            stream_options={"include_usage": True},
            **options,
        )
    )
    assert whole.object == "chat.completion"
    assert whole.choices[0].message.role == "assistant"
    assert (whole.choices[0].message.content or "").strip()
    assert whole.usage is not None
    assert 1 <= whole.usage.completion_tokens <= 8
    assert len(pieces) > 2
    assert pieces[-1].usage is not None
    assert pieces[-1].usage.completion_tokens == whole.usage.completion_tokens
    (task, *_) = queue.list_tasks()
    assert task.tokens == whole.usage.completion_tokens

    completed = client.completions.create(model=server.model, prompt="Once upon", max_tokens=4)
    assert completed.choices[0].text.strip()

    schema = {
        "type": "object",
        "properties": {"answer": {"enum": ["yes", "no"]}},
        "required": ["answer"],
    }
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    sure: Any = {
        **options,
        "max_tokens": 100,
        "response_format": wanted,
    }  # it may begin with blanks
    said = create(model=server.model, messages=HELLO, **sure)
    content = said.choices[0].message.content or ""
    assert "".join(content.split()) in ('{"answer":"yes"}', '{"answer":"no"}')

    form: Any = {"type": "json_object"}
    fixed: Any = {**options, "max_tokens": 12, "response_format": form}
    cut = create(model=server.model, messages=PARIS, **fixed)
    assert cut.choices[0].finish_reason == "length"
    assert "{" in (cut.choices[0].message.content or "")  # as far as it goes, not null

    listed = [each.id for each in client.models.list()]
    assert any(name.startswith("smollm2") for name in listed)
    with pytest.raises(official.NotFoundError):
        create(model="nope", messages=HELLO)

    def leave() -> None:
        with create(model=server.model, messages=LONG, max_tokens=1000, stream=True) as parts:
            next(iter(parts))

    assert is_cancelled_by(leave, queue)
    server.wait_until_idle(20)


def test_the_asynchronous_client(queue: Client, server: Server) -> None:
    base = f"{queue.url}/v1"
    body: Any = {"model": server.model, "messages": HELLO, "max_tokens": 4, "temperature": 0.0}

    async def ask() -> tuple[Any, str, Any]:
        async with official.AsyncOpenAI(base_url=base, api_key="none") as client:
            whole = await client.chat.completions.create(**body)
            said = ""
            async for piece in await client.chat.completions.create(**body, stream=True):
                said += piece.choices[0].delta.content or "" if piece.choices else ""
            response = await client.responses.create(
                model=server.model, input="Say hello.", max_output_tokens=4
            )
            return whole, said, response

    whole, said, response = asyncio.run(ask())

    assert said == whole.choices[0].message.content
    assert said.strip()
    assert response.output_text
    assert response.usage.output_tokens <= 4


def test_a_list_of_prompts_at_llama(llama: LlamaServer, tmp_path: Path) -> None:
    """llama.cpp sends events of `null` between them."""
    process = QueueServer(tmp_path, llama.url, workers=1, kind="openai")
    asked: Any = {"model": llama.model, "prompt": ["One", "Two", "Three"], "max_tokens": 4}
    with process, official.OpenAI(base_url=f"{process.base_url}/v1", api_key="none") as client:
        whole = client.completions.create(**asked, temperature=0.0)
        pieces = list(client.completions.create(**asked, temperature=0.0, stream=True))
        (task, *_) = process.client().list_tasks()

    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    assert {choice.finish_reason for choice in whole.choices} == {"length"}
    for choice in whole.choices:
        said = [c.text for piece in pieces for c in piece.choices if c.index == choice.index]
        assert choice.text and "".join(said) == choice.text
    assert (task.attempt, task.retry_count) == (1, 0)


def test_embeddings_at_ollama(ollama: OllamaServer, tmp_path: Path) -> None:
    process = QueueServer(tmp_path, ollama.url, workers=1)
    with process, official.OpenAI(base_url=f"{process.base_url}/v1", api_key="none") as client:
        first, second = client.embeddings.create(model=ollama.model, input=["one", "two"]).data

    assert len(first.embedding) == len(second.embedding) > 100
    assert isinstance(first.embedding[0], float)
