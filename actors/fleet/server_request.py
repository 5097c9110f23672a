"""Requests of one server to another."""

from collections.abc import Callable

import httpx

from ..executors.transport import Target
from . import signature

Where = Callable[[], tuple[str | None, bytes]]
"""The address of the server that leads, None if there is none, and the servers' secret."""


def signed_target(url: str, secret: bytes, method: str, path: str) -> Target:
    """A request of one server to another."""
    whole = httpx.URL(url).join(path)
    signed = signature.sign(secret, "-", method, path)
    headers = {"Host": whole.netloc.decode(), signature.HEADER: signed}
    return Target(method, whole, httpx.Headers(headers))
