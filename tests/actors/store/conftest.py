"""What all stores have in common is tested on both kinds of them."""

from pathlib import Path

import pytest

from tests.support.stores import KINDS, KeptStore


@pytest.fixture(params=KINDS)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> KeptStore:
    return KeptStore(request.param, tmp_path)
