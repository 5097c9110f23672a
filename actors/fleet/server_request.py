"""Requests of one server to another."""

from collections.abc import Callable
from functools import lru_cache

import httpx

from ..executors.transport import Target
from .signature import HEADER, Seal

Where = Callable[[], tuple[str | None, Seal]]
"""The address of the server that leads, None if there is none, and the servers' seal."""


@lru_cache(maxsize=16)
def address_of(url: str) -> httpx.URL:
    """The address of a server: parsing one costs as much as a short request."""
    return httpx.URL(url)


class SignedTarget(Target):
    """The head of a request to the server at `url`."""

    def __init__(self, url: str, seal: Seal, method: str, path: str) -> None:
        self.method, self.url = method, address_of(url)
        self.origin = (self.url.scheme, self.url.raw_host, self.url.port)
        lines = (
            f"{method} {path} HTTP/1.1",
            f"Host: {self.url.netloc.decode()}",
            f"{HEADER}: {seal.sign('-', method, path)}",
        )
        self._head = "".join(f"{line}\r\n" for line in lines).encode("latin1")
