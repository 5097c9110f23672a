"""A queue server in front of a fake Ollama, and Ollama's official client for it."""

from collections.abc import Iterator

import pytest

from ollama_queue import Client
from tests.support.fakes.model_server import Answer, FakeOllama
from tests.support.harness.site import Site, open_site
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


@pytest.fixture(scope="module", params=["ollama", "follower"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with open_site(request, Site, "m", "other", loaded=["m"]) as made:
        made.model.facts["/api/show"] = Answer(body=SHOWN)
        yield made


@pytest.fixture
def model(site: Site) -> FakeOllama:
    return site.model


@pytest.fixture
def server(site: Site) -> QueueServer:
    return site.server


@pytest.fixture
def queue(site: Site) -> Client:
    return site.queue


@pytest.fixture(params=[sync, asynchronous])
def ask(request: pytest.FixtureRequest, server: QueueServer) -> Ask:
    """Call a verb of the client; returns its answer, all pieces of a stream."""
    return lambda verb, *args, **options: request.param(server.base_url, verb, *args, **options)
