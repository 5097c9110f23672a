"""A queue before a model server that nobody here wrote."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_queue import Client
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import Server, kind_of


@pytest.fixture
def queue(server: Server, tmp_path: Path) -> Iterator[Client]:
    process = QueueServer(tmp_path, server.url, workers=1, kind=kind_of(server))
    with process, process.client() as client:
        yield client
