"""The app over a queue of each test's own. A module may have a `house` of another kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.app import AppHarness


@pytest.fixture
def house(tmp_path: Path) -> Iterator[AppHarness]:
    made = AppHarness(tmp_path)
    yield made
    made.close()
