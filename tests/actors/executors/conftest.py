"""A fake model server, a port that does not answer, and executors that call them."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from ollama_queue.actors.core.config.config import Backend
from ollama_queue.actors.executors.ollama import OllamaExecutor
from ollama_queue.actors.executors.openai import OpenAIExecutor
from ollama_queue.actors.executors.transport import ConnectionTransport
from tests.support.fakes.model_server import FakeOllama
from tests.support.harness.executor import KEY


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    with FakeOllama() as server:
        yield server


@pytest.fixture
def transport() -> Iterator[ConnectionTransport]:
    made = ConnectionTransport(silence_s=10)
    yield made
    made.close()


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose connection backlog is full: connecting to it blocks."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.fixture
def executor(fake: FakeOllama) -> Iterator[OllamaExecutor]:
    made = OllamaExecutor(Backend(name="ollama", url=fake.url, api_key=KEY), 5.0)
    yield made
    made.close()


@pytest.fixture
def openai(fake: FakeOllama) -> Iterator[OpenAIExecutor]:
    made = OpenAIExecutor(
        Backend(name="llama", type="openai", url=fake.openai_url, api_key=KEY), 5.0
    )
    yield made
    made.close()
