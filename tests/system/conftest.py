"""The three interfaces that the contract tests run on, and the real model servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_queue.actors.api.queue_api import QueueAPI
from tests.support.harness.doors import Door
from tests.support.servers.real_models import Server


@pytest.fixture(params=["QueueManager", "Client", "AsyncClient"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["llama", "ollama"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def door(kind: str, tmp_path: Path) -> Iterator[Door]:
    made = Door(kind, tmp_path)
    yield made
    made.close()


@pytest.fixture
def queue(door: Door) -> QueueAPI:
    return door.queue
