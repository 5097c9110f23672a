"""A Persistence on a real store, for the tests of actors and of the store."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.persistence import PersistenceHarness


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder where syncs are free, if there is one, for tests that open a thousand stores."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base) as made:
        yield Path(made)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[PersistenceHarness]:
    made = PersistenceHarness(tmp_path / "data")
    yield made
    made.close()
