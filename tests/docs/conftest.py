"""A model server that says "Hello!", a queue server in front of it, and a shell that finds both."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakes.behaviours import Stream
from tests.support.fakes.model_changes import Lines
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import ROOT


@pytest.fixture(scope="module")
def model() -> Iterator[FakeOllama]:
    with FakeOllama(Stream(words=["Hello", "!"])) as fake:
        fake.answers["/api/pull"] = Lines([{"status": "success"}])
        yield fake


@pytest.fixture(scope="module")
def server(model: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    settings = "proxy: {admin: true}\n"
    with QueueServer(tmp_path_factory.mktemp("docs"), model.url, settings=settings) as running:
        yield running


@pytest.fixture
def environment(server: QueueServer, model: FakeOllama) -> dict[str, str]:
    scripts = Path(sys.executable).parent
    return {
        **os.environ,
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OLLAMA_QUEUE_SERVER": server.base_url,
        "OLLAMA_HOST": model.url,
    }
