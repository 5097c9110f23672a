"""The I/O of `Client`: HTTP connections, for any thread and for forked processes."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

import httpx

from ...actors.api.threads import Take
from ...actors.base.mailbox import Mailbox
from ...actors.base.thread_pool import begin
from ...actors.core.intake import arguments
from ...actors.core.model.errors import Unavailable
from ...actors.routines.steps import Source, Step
from . import connection, protocol
from .frames import BROKEN, Intake
from .requests import Request


class Connections:
    """The connections to the server at `url`.

    `timeout` (seconds) limits each request, in addition to its `patience_s`.
    """

    def __init__(self, url: str, timeout: float, transport: httpx.BaseTransport | None) -> None:
        if transport is not None:
            arguments.record(transport, httpx.BaseTransport, "transport")
        self._url, self._timeout, self._transport = url, timeout, transport
        self._http = self._dial()
        self._pid = os.getpid()
        self._readings: WeakSet[Reading] = WeakSet()

    @property
    def takes(self) -> Mapping[type[Step[Any]], Take]:
        """The functions that execute the protocol's steps."""

        def taking(expand: Callable[[Any], Any]) -> Take:
            return lambda threads, step: threads.run(expand(step))

        return {
            protocol.Send: lambda _, step: self._send(step.request),
            protocol.Open: lambda _, step: self._open(step),
            protocol.IsClosed: lambda _, step: self._http.is_closed,
            **{kind: taking(expand) for kind, expand in protocol.EXPANDED.items()},
        }

    @property
    def is_another_process_s(self) -> bool:
        """Whether they belong to the parent of this forked process."""
        return os.getpid() != self._pid

    def close(self) -> None:
        for reading in list(self._readings):
            reading.close()
        self._http.close()

    def _dial(self) -> httpx.Client:
        return httpx.Client(**connection.options(self._url, self._timeout, self._transport))

    def _send(self, request: Request[Any]) -> httpx.Response:
        options = connection.sent(request, self._timeout)
        return self._answered(lambda: self._http.request(**options))

    def _open(self, step: protocol.Open) -> Source:
        def send() -> httpx.Response:
            options = connection.opened(step.request, self._timeout)
            return self._http.send(self._http.build_request(**options), stream=True)

        mailbox = Mailbox[Any](step.ahead)
        reading = Reading(self._answered(send), Intake(mailbox, step.take))
        self._readings.add(reading)
        return Source(mailbox, reading.close)

    def _answered(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        if self._http.is_closed:
            raise Unavailable("this client is closed")
        if self.is_another_process_s:  # two processes on one socket would mix up their responses
            self._http, self._pid = self._dial(), os.getpid()
        try:
            response = send()
            if response.is_success:
                return response
            response.read()
        except httpx.TransportError as error:
            raise connection.lost(self._url, error) from None
        raise connection.refusal(response)


class Reading(threading.Thread):
    """Reads one streamed response in a separate thread.

    A caller that waits for an item has exact timeouts and can be interrupted by `close`.
    """

    def __init__(self, response: httpx.Response, intake: Intake) -> None:
        super().__init__(name="ollama-queue-reading", daemon=True)
        self._response, self._intake = response, intake
        self._is_over = False
        try:
            begin(self)
        except Unavailable:
            response.close()
            raise

    def run(self) -> None:
        try:
            for data in self._response.iter_bytes():
                if not self._intake.feed(data) or self._is_over:
                    break
        except BROKEN:
            pass
        finally:
            self._intake.end()
            with contextlib.suppress(Exception):
                self._response.close()

    def close(self) -> None:
        """Stop reading. May be called from any thread; the reading thread closes the response."""
        self._is_over = True
        self._intake.mailbox.close("unsubscribed")
        stream = self._response.extensions.get("network_stream")
        connection = stream.get_extra_info("socket") if stream is not None else None
        if connection is not None and self.is_alive():  # after a fork, the parent's
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
