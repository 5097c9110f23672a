"""A PostgreSQL for the tests of this folder, and a place for one queue in it."""

from collections.abc import Iterator

import pytest

from tests.support.servers.postgres import PostgresServer


@pytest.fixture
def conninfo(postgres: PostgresServer) -> Iterator[str]:
    with postgres.queue() as made:
        yield made
