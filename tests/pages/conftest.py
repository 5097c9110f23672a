"""A browser for the run, and a server with a tab for each test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pages.browser import Desk, launch


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    yield from launch()


@pytest.fixture
def desk(browser: Any, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(browser, tmp_path)
    yield made
    made.close()
    assert made.complaints == []
