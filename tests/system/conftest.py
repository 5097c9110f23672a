"""The interfaces that the contract tests run on, and the real model servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_queue.actors.api.queue_api import QueueAPI
from tests.support.harness.doors import EMBEDDED, Door, EmbeddedDoor, FollowerDoor
from tests.support.servers.real_models import Server


@pytest.fixture(params=[*EMBEDDED, "follower"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["llama", "ollama"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def door(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Door]:
    made: Door
    if kind == "follower":
        made = FollowerDoor(request.getfixturevalue("standing_fleet"))
    else:
        made = EmbeddedDoor(kind, tmp_path)
    yield made
    made.close()


@pytest.fixture
def queue(door: Door) -> QueueAPI:
    return door.queue
