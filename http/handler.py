"""pywsgi's request handler, without what costs time for nothing here."""

from typing import Any

from gevent.pywsgi import WSGIHandler


class Handler(WSGIHandler):  # type: ignore[misc]
    """Sends head and body of an answer in one piece, and formats no access log."""

    _head: bytearray | None = None
    _holds_head = False

    def log_request(self) -> None:
        """pywsgi formats the line even when there is nowhere to write it to."""

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
