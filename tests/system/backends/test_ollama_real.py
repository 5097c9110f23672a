"""Ollama's official client, before the queue, before model servers that nobody here wrote.

Their model is nonsense-grade: shapes, counts and order are looked at, never what it says.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama as official
import pytest

from ollama_queue import Client
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import (
    LlamaServer,
    OllamaServer,
    Server,
    is_cancelled_by,
)

HELLO = [{"role": "user", "content": "Say hello."}]
LONG = [{"role": "user", "content": "Count from one to one thousand in words."}]
PATIENCE_S = 60.0


@pytest.fixture
def client(queue: Client) -> Iterator[official.Client]:
    with official.Client(queue.url, timeout=PATIENCE_S) as made:
        yield made


def test_a_chat_whole_and_as_it_comes(client: official.Client, server: Server) -> None:
    options = {"num_predict": 8, "seed": 1, "temperature": 0.0}
    whole = client.chat(server.model, HELLO, options=options)
    parts = list(client.chat(server.model, HELLO, options=options, stream=True))

    assert whole.message.role == "assistant"
    assert whole.message.content
    assert whole.message.content.strip()
    assert 1 <= (whole.eval_count or 0) <= 8
    assert len(parts) > 2
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_count == whole.eval_count


def test_a_completion_with_a_schema(client: official.Client, server: Server) -> None:
    schema = {
        "type": "object",
        "properties": {"answer": {"enum": ["yes", "no"]}},
        "required": ["answer"],
    }

    said = client.chat(server.model, HELLO, format=schema, options={"num_predict": 30})

    assert said.message.content is not None
    assert "".join(said.message.content.split()) in ('{"answer":"yes"}', '{"answer":"no"}')
    completed = client.generate(server.model, "Once upon a time", options={"num_predict": 4})
    assert (completed.response or "").strip()


def test_lists_and_errors(client: official.Client, server: Server) -> None:
    listed = [each.model for each in client.list().models]
    assert any(name is not None and name.startswith("smollm2") for name in listed)
    assert client.show(server.model).capabilities is not None

    for ask in (client.chat, client.generate, client.show):
        with pytest.raises(official.ResponseError) as caught:
            ask("nope")
        words = 'model "nope" not found, try pulling it first'
        assert (caught.value.status_code, caught.value.error) == (404, words)


def test_a_client_that_leaves_stops_the_model(
    client: official.Client, queue: Client, server: Server
) -> None:
    def leave() -> None:
        parts: Any = client.chat(server.model, LONG, options={"num_predict": 1000}, stream=True)
        next(parts)
        parts.close()

    assert is_cancelled_by(leave, queue)
    server.wait_until_idle(20)


def test_embeddings_and_what_is_in_memory_at_ollama(ollama: OllamaServer, tmp_path: Path) -> None:
    process = QueueServer(tmp_path, ollama.url, workers=1)
    with process, official.Client(process.base_url, timeout=PATIENCE_S) as client:
        first, second = client.embed(ollama.model, ["one", "two"]).embeddings
        assert len(first) == len(second) == len(client.embeddings(ollama.model, "one").embedding)

        client.generate(ollama.model, keep_alive="10m")
        assert [each.model for each in client.ps().models] == [ollama.model]
        assert client.generate(ollama.model, keep_alive=0).done_reason == "unload"
        with process.client() as queue:
            assert queue.get_queue_stats().total_tasks == 2


def test_the_model_server_may_be_killed_unseen(tmp_path: Path) -> None:
    with (
        LlamaServer() as server,
        QueueServer(tmp_path, server.url, kind="openai") as process,
        official.Client(process.base_url) as client,
    ):
        said: list[Any] = []
        options = {"num_predict": 200}
        asking = threading.Thread(
            target=lambda: said.append(client.chat("smollm2", LONG, options=options))
        )
        asking.start()
        server.wait_until_busy()

        server.kill()
        server.start()
        asking.join(PATIENCE_S)

        assert said[0].done
        with process.client() as queue:
            (task,) = queue.list_tasks()
            assert task.attempt > 1
