"""Makes the requests of deliveries: to checked addresses, within a time, and without redirects."""

import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import httpcore

from ..core.config.webhook_values import Network
from ..core.messages import DeliveryAnswered
from ..core.model.deliveries import REPLY
from ..core.webhooks.message import WebhookRequest
from ..core.webhooks.targets import is_allowed

LIMIT_S = 15.0  # of a request, from the look-up of its name to the end of its answer
_USER_AGENT = "ollama-queue"


class AddressRefused(Exception):
    """The receiver's name stands for an address that requests must not go to."""


class WebhookCaller:
    """Makes requests, each over a connection of its own. May be called in any thread."""

    def __init__(self, allowed: Iterable[Network], limit_s: float = LIMIT_S) -> None:
        self._allowed, self._limit_s = tuple(allowed), limit_s

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    def __call__(self, request: WebhookRequest) -> DeliveryAnswered:
        """Make a request. Its answer, or why there is none."""
        allowed = None if request.is_trusted else self._allowed
        network = CheckedNetwork(allowed, time.monotonic() + self._limit_s)
        headers = {"content-type": "application/json", "user-agent": _USER_AGENT} | request.headers
        status = None
        try:
            pool = httpcore.ConnectionPool(ssl_context=self._tls, network_backend=network)
            with (
                pool,
                pool.stream(
                    "POST", request.url, headers=_encoded(headers),
                    content=request.body,
                ) as response,
            ):  # fmt: skip
                status = response.status
                reply = _beginning(response.iter_stream(), 4 * REPLY)
        except AddressRefused as error:
            return DeliveryAnswered(request.delivery_id, error=str(error))
        except (httpcore.TimeoutException, TimeoutError):
            why = f"no answer within {self._limit_s:g} s"
            return DeliveryAnswered(request.delivery_id, error=why)
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError, ValueError) as error:
            return DeliveryAnswered(request.delivery_id, error=_reason(error))
        text = reply.decode("utf-8", "replace")[:REPLY]
        return DeliveryAnswered(request.delivery_id, status=status, reply=text or None)


class CheckedNetwork(httpcore.SyncBackend):
    """Connects only to allowed addresses, None: to all; and everything until `deadline`."""

    def __init__(self, allowed: tuple[Network, ...] | None, deadline: float) -> None:
        super().__init__()
        self._allowed, self._deadline = allowed, deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        error: Exception = AddressRefused("the receiver's name has no address")
        for *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            address = str(place[0])
            if self._allowed is not None and not is_allowed(address, self._allowed):
                error = AddressRefused(
                    "the receiver has a private address: see callbacks.allowed_networks"
                )
                continue
            try:
                stream = super().connect_tcp(address, port, left(self._deadline))
            except httpcore.NetworkError as failed:
                error = failed
                continue
            return DeadlineStream(stream, self._deadline)
        raise error


class DeadlineStream(httpcore.NetworkStream):
    """A connection that is used until `deadline` only, however slowly bytes come."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, left(self._deadline))
        return DeadlineStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def left(deadline: float) -> float:
    """Seconds until then. Raises `httpcore.TimeoutException` afterwards."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise httpcore.ReadTimeout
    return seconds


def _beginning(pieces: Iterable[bytes], size: int) -> bytes:
    """The first bytes of a body; the rest is not read."""
    start = b""
    for piece in pieces:
        start += piece
        if len(start) >= size:
            break
    return start[:size]


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]


def _reason(error: Exception) -> str:
    """An error in one sentence, without an address."""
    if isinstance(error, httpcore.ConnectError):
        return "the receiver could not be reached"
    if isinstance(error, socket.gaierror):
        return "the receiver's name is not known"
    return f"the receiver broke the connection ({type(error).__name__})"
