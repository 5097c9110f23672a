"""A PostgreSQL that is as durable as users' are, three servers on it, and a fake model."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakes.model_server import FakeOllama, Stream
from tests.support.harness.fleet_house import KEYS, WORDS
from tests.support.servers.fleet import ServersOfQueue
from tests.support.servers.postgres import PostgresServer


@pytest.fixture(scope="session")
def database() -> Iterator[PostgresServer]:
    with PostgresServer(fsync=True) as server:
        yield server


@pytest.fixture
def model() -> Iterator[FakeOllama]:
    with FakeOllama() as fake:
        yield fake


@pytest.fixture
def fleet(database: PostgresServer, model: FakeOllama, tmp_path: Path) -> Iterator[ServersOfQueue]:
    with database.queue() as conninfo, ServersOfQueue(tmp_path, model.url, conninfo) as servers:
        yield servers


@pytest.fixture
def linked(database: PostgresServer, model: FakeOllama, tmp_path: Path) -> Iterator[ServersOfQueue]:
    """The same, with links between the servers and to PostgreSQL, for tests to cut."""
    with (
        database.queue() as conninfo,
        ServersOfQueue(tmp_path, model.url, conninfo, linked_to=database) as servers,
    ):
        yield servers


@pytest.fixture
def locked(database: PostgresServer, model: FakeOllama, tmp_path: Path) -> Iterator[ServersOfQueue]:
    """A fleet that wants keys."""
    settings = f"auth:\n  keys:\n{KEYS}"
    with (
        database.queue() as conninfo,
        ServersOfQueue(tmp_path, model.url, conninfo, size=2, settings=settings) as servers,
    ):
        yield servers


@pytest.fixture
def gate() -> threading.Event:
    return threading.Event()


@pytest.fixture
def gated(gate: threading.Event) -> Iterator[FakeOllama]:
    """A model whose replies wait for the gate after their first word."""
    with FakeOllama(Stream(words=WORDS, gate=gate)) as fake:
        yield fake


@pytest.fixture
def three(database: PostgresServer, gated: FakeOllama, tmp_path: Path) -> Iterator[ServersOfQueue]:
    """Three servers, each of which makes one call."""
    with (
        database.queue() as conninfo,
        ServersOfQueue(tmp_path, gated.url, conninfo, workers=1, parallel=3) as servers,
    ):
        servers.until(lambda: servers.count() == 3)
        yield servers
