"""A queue server in front of a fake Ollama, and Ollama's official client for it."""

from collections.abc import Iterator

import pytest

from ollama_queue import Client
from tests.support.fakes.model_server import Answer, FakeOllama
from tests.support.ollama_clients import Ask, asynchronous, sync
from tests.support.servers.queue_server import QueueServer

SHOWN = {
    "license": "",
    "modelfile": "FROM m",
    "details": {"family": "llama"},
    "model_info": {"general.architecture": "llama"},
    "capabilities": ["completion", "tools"],
    "modified_at": "2026-01-01T00:00:00Z",
}


@pytest.fixture(scope="module")
def model() -> Iterator[FakeOllama]:
    with FakeOllama().lists("m", "other", loaded=["m"]) as fake:
        fake.facts["/api/show"] = Answer(body=SHOWN)
        yield fake


@pytest.fixture(scope="module")
def server(model: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    folder = tmp_path_factory.mktemp("server")
    with QueueServer(folder, model.url, workers=1) as running:
        yield running


@pytest.fixture
def queue(server: QueueServer) -> Iterator[Client]:
    with server.client() as client:
        yield client


@pytest.fixture(params=[sync, asynchronous])
def ask(request: pytest.FixtureRequest, server: QueueServer) -> Ask:
    """Call a verb of the client; returns its answer, all pieces of a stream."""
    return lambda verb, *args, **options: request.param(server.base_url, verb, *args, **options)
