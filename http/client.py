"""`Client`: the verbs of `QueueAPI` over HTTP."""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote
from weakref import WeakSet

import httpx
import msgspec

from ollama_queue.actors.core.errors import Invalid, OutcomeUnknown, QueueError, Unavailable
from ollama_queue.actors.core.figures import QueueStats
from ollama_queue.actors.core.listing import TaskFilter
from ollama_queue.actors.core.records import (
    Batch,
    BatchSubmitted,
    Chunk,
    NewTask,
    Priority,
    Status,
    Submitted,
    Task,
)
from ollama_queue.actors.mailbox import Mailbox
from ollama_queue.actors.subscription import Leave, Listener
from ollama_queue.http import reader, wire
from ollama_queue.http.cron_client import CronVerbs

DEFAULT_URL = "http://127.0.0.1:7125"
REPEATS = 3
BATCH_PATIENCE_S = 300.0
WAIT_SLICE_S = 30.0  # one request of a longer wait
OUTAGE_PATIENCE_S = 30.0  # a wait outlives a restart of the server

T = TypeVar("T")


class Client(Listener, CronVerbs):
    """A queue on a server: `Client("localhost:7125")`, `Client("https://host")`.

    May be used from several threads. `timeout` (seconds) limits each request beyond its own
    waiting. All verbs raise `QueueError`: `Unavailable` when the server cannot be reached.
    """

    def __init__(self, url: str = DEFAULT_URL, *, timeout: float = 30.0) -> None:
        super().__init__()
        self.url = _full(url)
        self._readings: WeakSet[reader.Reading] = WeakSet()
        # Making a TLS context costs 40 ms, and a plain URL needs none.
        self._http = httpx.Client(
            base_url=self.url,
            timeout=timeout,
            trust_env=False,
            verify=self.url.startswith("https:"),
        )
        self._timeout = timeout

    def close(self) -> None:
        self._hang_up()
        for reading in list(self._readings):
            reading.close()
        self._http.close()

    # --- verbs ----------------------------------------------------------------------------------

    def submit(self, new: NewTask, *, idempotency_key: str | None = None) -> Submitted:
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        response = self._post(wire.TASKS, new, headers)
        found = _decode(response, Submitted)
        return msgspec.structs.replace(found, created=response.status_code == 201)

    def submit_batch(
        self, tasks: Iterable[NewTask], *, idempotency_key: str | None = None
    ) -> BatchSubmitted:
        headers = {
            "Idempotency-Key": idempotency_key or uuid.uuid4().hex,
            "Content-Type": wire.NDJSON,  # read line by line, however many there are
        }
        content = b"\n".join(_encode(task) for task in tasks)
        response = self._request(
            "POST", wire.BATCH, content=content, headers=headers, timeout=BATCH_PATIENCE_S
        )
        found = _decode(response, BatchSubmitted)
        return msgspec.structs.replace(found, created=response.status_code == 201)

    def get_batch(self, batch_id: str) -> Batch:
        return _decode(self._request("GET", f"{wire.BATCHES}/{quote(batch_id, safe='')}"), Batch)

    def list_batches(self, limit: int = 100) -> list[Batch]:
        return _decode(self._request("GET", wire.BATCHES, params={"limit": limit}), list[Batch])

    def get_task(self, task_id: str, *, wait: float | None = None) -> Task:
        params = {"wait": f"{wait:.3f}"} if wait else {}
        timeout = self._timeout + (wait or 0.0)
        response = self._request("GET", _of(task_id), params=params, timeout=timeout)
        return _decode(response, Task)

    def get_task_status(self, task_id: str) -> Status:
        return self.get_task(task_id).status

    def wait(self, task_id: str, *, timeout: float | None = None) -> Task:
        deadline = None if timeout is None else time.monotonic() + timeout
        lost_since: float | None = None
        while True:
            left = WAIT_SLICE_S if deadline is None else deadline - time.monotonic()
            try:
                task = self.get_task(task_id, wait=min(max(left, 0.0), WAIT_SLICE_S))
            except Unavailable:
                now = time.monotonic()
                lost_since = lost_since or now
                if now - lost_since > OUTAGE_PATIENCE_S or (deadline and now > deadline):
                    raise
                time.sleep(0.5)
                continue
            lost_since = None
            if task.status.is_final:
                return task
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"task {task_id} has not ended within {timeout:g} s")

    def cancel_task(self, task_id: str) -> Task:
        return _decode(self._post(f"{_of(task_id)}/cancel"), Task)

    def update_task_priority(self, task_id: str, priority: int | Priority | str) -> Task:
        return _decode(self._post(f"{_of(task_id)}/priority", {"priority": priority}), Task)

    def retry_task(self, task_id: str) -> Task:
        return _decode(self._post(f"{_of(task_id)}/retry"), Task)

    def delete_task(self, task_id: str) -> Task:
        return _decode(self._request("DELETE", _of(task_id)), Task)

    def list_tasks(self, filter: TaskFilter | None = None) -> list[Task]:
        wanted = filter or TaskFilter()
        params: dict[str, Any] = {"limit": wanted.limit, "offset": wanted.offset}
        if wanted.status:
            params["status"] = [status.value for status in wanted.status]
        return _decode(self._request("GET", wire.TASKS, params=params), list[Task])

    def get_queue_stats(self) -> QueueStats:
        return _decode(self._request("GET", wire.STATUS), QueueStats)

    def pause(self) -> None:
        self._post(wire.PAUSE)

    def resume(self) -> None:
        self._post(wire.RESUME)

    def stream_task(self, task_id: str, *, timeout: float | None = None) -> Iterator[Chunk]:
        def read(headers: dict[str, str], mailbox: Mailbox[Chunk]) -> reader.Reading:
            response = self._open(f"{_of(task_id)}/stream", headers=headers)
            return self._noted(reader.Reading(response, mailbox, reader.chunk))

        return reader.read_stream(read, timeout)

    def listen(
        self,
        mailbox: Mailbox[Any],
        events: frozenset[str] | None = None,
        tasks: frozenset[str] | None = None,
        patience: float = 0.0,
    ) -> Leave:
        params = {"events": sorted(events or ()), "tasks": sorted(tasks or ())}
        response = reader.patiently(lambda: self._open(wire.EVENTS, params=params), patience)
        return self._noted(reader.Reading(response, mailbox, reader.TakesEvents())).close

    def _noted(self, reading: reader.Reading) -> reader.Reading:
        self._readings.add(reading)
        return reading

    # --- requests -------------------------------------------------------------------------------

    def _post(
        self, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        content = b"" if body is None else _encode(body)
        sent = {"Content-Type": "application/json", **(headers or {})}
        return self._request("POST", path, content=content, headers=sent)

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request. What may be repeated safely is, when the answer was lost on its way."""
        safe = method == "GET" or "Idempotency-Key" in options.get("headers", {})
        for left in reversed(range(REPEATS if safe else 1)):
            try:
                return self._once(method, path, options)
            except OutcomeUnknown:
                if not left:
                    raise
                time.sleep(0.1 * (REPEATS - left))
        raise AssertionError("unreachable")

    def _once(self, method: str, path: str, options: Mapping[str, Any]) -> httpx.Response:
        return self._answered(lambda: self._http.request(method, path, **options))

    def _open(self, path: str, **options: Any) -> httpx.Response:
        """An answer that is read as it comes."""
        timeout = httpx.Timeout(self._timeout, read=reader.SILENCE_S)
        request = self._http.build_request("GET", path, timeout=timeout, **options)
        return self._answered(lambda: self._http.send(request, stream=True))

    def _answered(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        if self._http.is_closed:
            raise Unavailable("this client is closed")
        try:
            response = send()
            if response.is_success:
                return response
            response.read()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unavailable(
                f"no queue answers at {self.url} ({error}): is ollama-queue-server running there?"
            ) from None
        except httpx.TransportError as error:
            raise OutcomeUnknown(
                f"the connection to {self.url} was lost: {error or type(error).__name__}"
            ) from None
        raise _error(response)


def _error(response: httpx.Response) -> QueueError:
    retry_after = response.headers.get("Retry-After")
    return wire.decode_error(response.status_code, response.content, retry_after)


def _decode(response: httpx.Response, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.DecodeError as error:
        raise Unavailable(f"this is no queue of this version: {error}") from None


def _encode(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"the task cannot be written as JSON: {error}", field="body") from None


def _of(task_id: str) -> str:
    return f"{wire.TASKS}/{quote(task_id, safe='')}"  # a slash would lead to another route


def _full(url: str) -> str:
    """`host`, `host:port` or a URL, as a URL without a slash at its end."""
    text = url.strip().rstrip("/")
    if "://" not in text:
        text = f"http://{text}"
        if ":" not in text.removeprefix("http://").rpartition("]")[2]:
            text = f"{text}:7125"
    if not text.startswith(("http://", "https://")):
        raise Invalid(f"{url!r} is no http(s) URL", field="url")
    return text
