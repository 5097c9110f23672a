"""A Persistence on real stores, for the tests of actors and of the store."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.persistence import PersistenceHarness
from tests.support.stores import DURABLE, KeptStore, NewStores


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder where syncs are free, if there is one, for tests that open a thousand stores."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base) as made:
        yield Path(made)


@pytest.fixture(scope="session")
def stores(request: pytest.FixtureRequest) -> Iterator[NewStores]:
    with NewStores(lambda: request.getfixturevalue("postgres")) as made:
        yield made


@pytest.fixture(params=DURABLE)
def durable(request: pytest.FixtureRequest, stores: NewStores) -> KeptStore:
    """An empty store of each kind that outlives a process."""
    return stores.new(request.param)


@pytest.fixture
def desk(durable: KeptStore) -> Iterator[PersistenceHarness]:
    made = PersistenceHarness(durable)
    yield made
    made.close()
