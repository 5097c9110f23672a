"""A look at model servers that nobody here wrote: llama.cpp's and Ollama."""

import json
import os
import urllib.request
from collections.abc import Iterator

import pytest

from ollama_queue.actors.core.config.config import Backend
from ollama_queue.actors.core.model.outcomes import Answered, ProbeResult
from ollama_queue.actors.core.model.tasks import Spec, TaskType
from ollama_queue.actors.executors import Executor, create_executor
from tests.support.servers.real_models import LlamaServer, OllamaServer, model_server

SHORT = Spec({"prompt": "Hi"}, {"num_predict": 3})


@pytest.fixture
def ollama_executor(ollama: OllamaServer) -> Iterator[Executor]:
    made = create_executor(Backend(name="ollama", url=ollama.url), 60.0)
    yield made
    made.close()


@pytest.fixture
def copy(ollama: OllamaServer) -> Iterator[str]:
    """Another name of Ollama's model."""
    name = f"copy-{os.getpid()}"
    _manage(ollama, "POST", "copy", {"source": ollama.model, "destination": name})
    yield name
    _manage(ollama, "DELETE", "delete", {"model": name})


def _manage(ollama: OllamaServer, method: str, verb: str, body: dict[str, str]) -> None:
    content = json.dumps(body).encode()
    request = urllib.request.Request(f"{ollama.url}/api/{verb}", content, method=method)
    model_server.DIRECT.open(request, timeout=30).close()


def test_at_llama(llama: LlamaServer) -> None:
    executor = create_executor(Backend(name="llama", type="openai", url=llama.url), 60.0)

    assert executor.probe() == ProbeResult(models=frozenset({"smollm2"}))
    executor.begin()
    answered = executor.run(TaskType.GENERATE, llama.model, SHORT, lambda _: None)
    executor.close()

    assert isinstance(answered, Answered)
    assert answered.prompt_tokens > 0
    assert 1 <= answered.reply_tokens <= 3
    assert answered.reply_s is None or answered.reply_s > 0


def test_at_ollama(ollama: OllamaServer, ollama_executor: Executor, copy: str) -> None:
    ollama_executor.begin()
    answered = ollama_executor.run(TaskType.GENERATE, ollama.model, SHORT, lambda _: None)
    look = ollama_executor.probe()

    assert isinstance(answered, Answered)
    assert answered.prompt_tokens > 0
    assert 1 <= answered.reply_tokens <= 3
    assert answered.reply_s
    assert look.error is None
    assert look.version
    assert look.models is not None
    assert {ollama.model, copy} <= look.models
    assert {ollama.model, copy} <= look.loaded  # one model in memory, whatever its name
