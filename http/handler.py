"""pywsgi's request handler, without what costs time for nothing here."""

import socket
from collections.abc import Callable
from typing import Any

import gevent
from gevent.pywsgi import WSGIHandler
from gevent.socket import wait_read

SEND_PATIENCE_S = 30.0  # with a reader of a stream that takes nothing


class Handler(WSGIHandler):  # type: ignore[misc]
    """Sends head and body of an answer in one piece, and formats no access log."""

    _head: bytearray | None = None
    _holds_head = False

    def log_request(self) -> None:
        """pywsgi formats the line even when there is nowhere to write it to."""

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ["ollama_queue.watch_departure"] = self.watch_departure
        return environ

    def watch_departure(self, leave: Callable[[], None]) -> Callable[[], None]:
        """Have `leave` called when the client closes the connection; returns how to stop that.

        Otherwise a stream in which nothing happens would notice it at the next write only.
        """
        connection = self.socket
        connection.settimeout(SEND_PATIENCE_S)

        def watch() -> None:
            try:
                wait_read(connection.fileno())
                if connection.recv(1, socket.MSG_PEEK):
                    return  # its next request: it is still there
            except OSError:
                pass
            leave()

        watcher = gevent.spawn(watch)

        def forget() -> None:
            watcher.kill(block=False)
            connection.settimeout(None)

        return forget

    def _write_with_headers(self, data: Any) -> None:
        self._holds_head = True
        super()._write_with_headers(data)
        if self._head is not None:  # there was no body
            self._sendall(b"")

    def _sendall(self, data: Any) -> None:
        if self._holds_head:
            self._holds_head, self._head = False, data
            return
        if self._head is not None:
            self._head += data
            data, self._head = self._head, None
        super()._sendall(data)
