"""What both clients make of a request, of a refusal, and of a connection that is lost."""

import time
from typing import Any

import httpx

from ...actors.core.intake import arguments
from ...actors.core.intake.arguments import OfTask
from ...actors.core.model.errors import Invalid, OutcomeUnknown, QueueError, Unavailable
from ...actors.core.model.tasks import Task
from .. import wire
from .requests import KEY, Request

SUBMIT_PATIENCE_S = 10.0  # a submit whose answer was lost is repeated over a restart of the server
READ_PATIENCE_S = 0.5
WAIT_SLICE_S = 30.0  # one request of a longer wait
OUTAGE_PATIENCE_S = 30.0  # a wait outlives a restart of the server
LOOK_AGAIN_S = 0.5
SILENCE_S = 20.0  # of a stream without even a comment: the connection is dead


def limit(timeout: float) -> float:
    """That of any request, in seconds. Raises `Invalid`."""
    found = arguments.seconds(timeout, "timeout")
    if not found:
        raise Invalid("timeout must be seconds above 0", field="timeout")
    return found


def options(url: str, timeout: float) -> dict[str, Any]:
    """What an httpx client is made with; `timeout` in seconds."""
    try:
        httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Invalid(f"{url!r} is not an http(s) URL: {error}", field="url") from None
    return {
        "base_url": url,
        "timeout": httpx.Timeout(timeout, pool=None),
        "trust_env": False,
        # Making a TLS context costs 40 ms, and a plain URL needs none. It reads SSL_CERT_FILE.
        "verify": httpx.create_ssl_context() if url.startswith("https:") else False,
    }


def sent(request: Request[Any], timeout: float) -> dict[str, Any]:
    """A request in httpx's words; `timeout` is how long any request may take."""
    return {
        "method": request.method,
        "url": request.path,
        "content": request.content,
        "headers": request.headers,
        "params": request.params,
        "timeout": httpx.Timeout(timeout + request.patience_s, pool=None),
    }


def opened(request: Request[Any], timeout: float) -> dict[str, Any]:
    """The same for an answer that is read as it comes."""
    return {**sent(request, timeout), "timeout": httpx.Timeout(timeout, read=SILENCE_S, pool=None)}


def refusal(response: httpx.Response) -> QueueError:
    """The error that a response, read already, says."""
    retry_after = response.headers.get("Retry-After")
    return wire.decode_error(response.status_code, response.content, retry_after)


def lost(url: str, error: httpx.TransportError) -> Unavailable:
    """What it means that there is no answer: only some of these say that nothing was done."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Unavailable(
            f"cannot reach a queue server at {url} ({error}): is ollama-queue-server running?"
        )
    return OutcomeUnknown(f"the connection to {url} was lost: {error or type(error).__name__}")


class Tries:
    """How often a request is sent: again, if that is safe, when its answer was lost on the way."""

    def __init__(self, request: Request[Any]) -> None:
        is_read = request.method == "GET"
        is_safe = KEY in request.headers or request.is_safe_twice
        patience = SUBMIT_PATIENCE_S if is_safe else READ_PATIENCE_S * is_read
        self._patience, self._pause = patience, 0.05
        self._lost: OutcomeUnknown | None = None
        self._lost_at = 0.0

    def pause_after(self, error: Unavailable) -> float:
        """Seconds until the next try; raises what is to be said when there is none.

        Once an answer was lost, a server that is away says nothing of what has become of it.
        """
        now = time.monotonic()
        if self._lost is None:
            if not isinstance(error, OutcomeUnknown):
                raise error
            self._lost, self._lost_at = error, now
        if now - self._lost_at >= self._patience:
            raise self._lost
        self._pause = min(2 * self._pause, 1.0)
        return self._pause


class Wait:
    """A wait for a task's end: slice by slice, and over a restart of the server."""

    def __init__(self, task_id: OfTask, timeout: float | None) -> None:
        self._task_id = arguments.task_id(task_id)
        self._timeout = timeout = arguments.seconds(timeout, "timeout")
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._lost_at: float | None = None

    def slice_s(self) -> float:
        """How long the next request asks the server to wait."""
        left = WAIT_SLICE_S if self._deadline is None else self._deadline - time.monotonic()
        return min(max(left, 0.0), WAIT_SLICE_S)

    def is_over(self, task: Task) -> bool:
        """Raises `TimeoutError` when it has gone on for too long."""
        self._lost_at = None
        if not task.status.is_final and self._is_late():
            raise arguments.late(f"task {self._task_id} has not ended", self._timeout)
        return task.status.is_final

    def pause_after(self, error: Unavailable) -> float:
        """Seconds until the next try; raises `error` when the server has been away too long."""
        now = time.monotonic()
        self._lost_at = self._lost_at or now
        if now - self._lost_at > OUTAGE_PATIENCE_S or self._is_late():
            raise error
        return LOOK_AGAIN_S

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline
