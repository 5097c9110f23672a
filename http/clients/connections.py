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
from .. import wire
from . import connection, protocol
from .frames import BROKEN, Intake
from .requests import Request


class Connections:
    """The connections to the server at `url`.

    `timeout` (seconds) limits each request, in addition to its `patience_s`.
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        transport: httpx.BaseTransport | None,
        api_key: str | None = None,
        agent: str = wire.CLIENT,
    ) -> None:
        if transport is not None:
            arguments.record(transport, httpx.BaseTransport, "transport")
        self._url, self._transport = url, transport
        self._verify = connection.verification(url)
        self._composer = connection.Composer(url, timeout, api_key, agent)
        self._http = self._dial()
        self._is_closed = False
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
            protocol.IsClosed: lambda _, step: self._is_closed,
            **{kind: taking(expand) for kind, expand in protocol.EXPANDED.items()},
        }

    @property
    def is_another_process_s(self) -> bool:
        """Whether they belong to the parent of this forked process."""
        return os.getpid() != self._pid

    def close(self) -> None:
        for reading in list(self._readings):
            reading.close()
        self._is_closed = True
        self._http.close()

    def _dial(self) -> httpx.BaseTransport:
        return self._transport or httpx.HTTPTransport(verify=self._verify, trust_env=False)

    def _send(self, request: Request[Any]) -> httpx.Response:
        return self._answered(self._composer.whole(request), is_whole=True)

    def _open(self, step: protocol.Open) -> Source:
        response = self._answered(self._composer.streamed(step.request), is_whole=False)
        mailbox = Mailbox[Any](step.ahead)
        reading = Reading(response, Intake(mailbox, step.take))
        self._readings.add(reading)
        return Source(mailbox, reading.close)

    def _answered(self, request: httpx.Request, *, is_whole: bool) -> httpx.Response:
        if self._is_closed:
            raise Unavailable("this client is closed")
        if self.is_another_process_s:  # two processes on one socket would mix up their responses
            self._http, self._pid = self._dial(), os.getpid()
        try:
            response = self._http.handle_request(request)
            if is_whole or not response.is_success:
                with contextlib.closing(response):  # also when reading fails
                    response.read()
        except httpx.TransportError as error:
            raise connection.lost(self._url, error) from None
        if not response.is_success:
            raise connection.refusal(response)
        return response


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
