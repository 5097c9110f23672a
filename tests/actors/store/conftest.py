"""Runs the tests of the common store interface on both kinds of stores."""

from pathlib import Path

import pytest

from tests.support.stores import KINDS, KeptStore


@pytest.fixture(params=KINDS)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> KeptStore:
    return KeptStore(request.param, tmp_path)
