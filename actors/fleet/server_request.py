"""Requests of one server to another."""

from collections.abc import Callable

import httpx

from ..executors.transport import Target
from .signature import HEADER, Seal

Where = Callable[[], tuple[str | None, Seal]]
"""The address of the server that leads, None if there is none, and the servers' seal."""


def signed_target(url: str, seal: Seal, method: str, path: str) -> Target:
    """A request of one server to another."""
    whole = httpx.URL(url).join(path)
    headers = {"Host": whole.netloc.decode(), HEADER: seal.sign("-", method, path)}
    return Target(method, whole, httpx.Headers(headers))
