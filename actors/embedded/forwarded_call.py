"""Passes a request on to an Ollama server as it is: the body in pieces, the answer line by line."""

from collections.abc import Iterator
from typing import Any

import httpx

from ..base.cooperation import YieldControl, never_yield
from ..core.config.config import Backend
from ..core.model.outcomes import Failed, Verdict
from ..executors.failures import CallFailed, failure_of_error
from ..executors.http_executor import lines
from ..executors.ollama import OllamaExecutor
from ..executors.transport import Response, Upload

MAX_PROGRESS = 16 << 10  # bytes of a line


class ForwardedCall:
    """One request on a connection of its own, which any thread may abort.

    Its errors are `CallFailed`, fit to show: without the server's address and the queue's key. It
    has no time limit but `silence_s`, the longest wait for a byte.
    """

    def __init__(
        self,
        backend: Backend,
        method: str,
        path: str,
        silence_s: float,
        yield_control: YieldControl = never_yield,
    ) -> None:
        self.backend = backend.name
        self._executor = OllamaExecutor(backend, silence_s, yield_control)
        self._method, self._path, self._silence_s = method, path, silence_s
        self._yield_control = yield_control
        self._upload: Upload | None = None
        self._response: Response | None = None

    @property
    def is_refused(self) -> bool:
        """Whether the server reads no more of the body: it has answered already."""
        return self._upload is not None and self._upload.is_refused

    def send(self, piece: bytes) -> None:
        """Send a piece of the body, the first one after connecting."""
        try:
            if self._upload is None:
                self._upload = self._executor.upload(self._method, self._path)
            if piece and not self._upload.is_refused:
                self._upload.send_piece(piece)
        except httpx.TransportError as error:
            raise self._failed(error) from error

    def finish(self) -> int:
        """End the body; returns the status of the answer, which is a success."""
        self.send(b"")
        assert self._upload is not None
        try:
            self._response = self._upload.end()
        except httpx.TransportError as error:
            raise self._failed(error) from error
        if not self._response.is_success:
            raise CallFailed(self._executor.told(self._executor.failure_of(self._response)))
        return self._response.status

    def progress(self) -> Iterator[dict[str, Any]]:
        """The lines of the answer as they arrive. Raises for one that is an error."""
        assert self._response is not None
        try:
            for line in lines(self._response, self._yield_control, MAX_PROGRESS):
                yield self._executor.decode(line)
        except CallFailed as failure:
            raise CallFailed(self._executor.told(failure.outcome)) from failure
        except httpx.TransportError as error:
            raise self._failed(error) from error

    def cut_short(self) -> CallFailed:
        """The failure of an answer that ended before it said that all is done."""
        failure = self._executor.failed("ended its answer before it was done", Verdict.CUT)
        return CallFailed(self._executor.told(failure.outcome))

    def abort(self) -> None:
        """End the call, from any thread at any time."""
        self._executor.abort()

    def close(self) -> None:
        """Close the connection."""
        self._executor.close()

    def _failed(self, error: httpx.TransportError) -> CallFailed:
        executor = self._executor
        failed = failure_of_error(executor.name, executor.address, error, self._silence_s)
        return CallFailed(executor.told(failed))


def words_of(failed: Failed) -> str:
    """A failure in words that do not name the server's address."""
    return failed.upstream.message if failed.upstream else failed.error
