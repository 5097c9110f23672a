"""Runs the tests of the common store interface on all kinds of stores."""

import pytest

from tests.support.stores import KINDS, KeptStore, NewStores


@pytest.fixture(params=KINDS)
def kept(request: pytest.FixtureRequest, stores: NewStores) -> KeptStore:
    return stores.new(request.param)
