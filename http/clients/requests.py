"""Each verb as one HTTP request, and what its answer holds; the clients only carry it out."""

import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Struct

from ...actors.core.intake import arguments
from ...actors.core.intake.arguments import LONGEST_ANSWER_S, AnyTask, OfBatch, OfCron, OfTask
from ...actors.core.intake.bulk import Bulk, BulkResult
from ...actors.core.intake.crons import fields_of
from ...actors.core.intake.filters import task_filter
from ...actors.core.intake.submission import parse_priority
from ...actors.core.model.crons import Cron, IfExists, NewCron
from ...actors.core.model.errors import Invalid, Unavailable, naming
from ...actors.core.model.stats import BackendState, Minute, QueueStats
from ...actors.core.model.task_filter import TaskFilter, TaskPage
from ...actors.core.model.tasks import (
    Batch,
    BatchSubmitted,
    Priority,
    Submitted,
    Task,
)
from ...actors.core.text.strict_json import check_written, too_deep
from .. import pagination, wire

BATCH_PATIENCE_S = 300.0
BULK_PATIENCE_S = 90.0  # a filter may have to read many tasks before it has found some
KEY = "Idempotency-Key"

T = TypeVar("T")


class Request(Struct, Generic[T], frozen=True, kw_only=True):
    """What is sent, and `kind`, what the answer holds.

    `patience_s`: how long the server may take for it, beyond what any request may.
    `is_safe_twice`: an order that is sent again when its answer was lost.
    """

    method: str
    path: str
    kind: type[T]
    content: bytes = b""
    headers: Mapping[str, str | bytes] = {}
    params: Mapping[str, Any] = {}
    patience_s: float = 0.0
    is_safe_twice: bool = False

    def __post_init__(self) -> None:
        """Raises `Invalid` for what no query can say."""
        for name, values in self.params.items():
            for value in values if isinstance(values, list) else [values]:
                _check_text(str(value), name)

    def read(self, response: httpx.Response) -> T:
        """The answer. Raises `Unavailable` for what no queue of this version says."""
        found = _decode(response, self.kind)
        if isinstance(found, Submitted | BatchSubmitted):
            found = msgspec.structs.replace(found, created=response.status_code == 201)
        return found


class PageRequest(Request[TaskPage], frozen=True, kw_only=True):
    """Of a list: the tasks are the body, the rest is in the headers."""

    def read(self, response: httpx.Response) -> TaskPage:
        return pagination.page_of(_decode(response, list[Task]), response.headers)


class AddedCron(Struct, frozen=True):
    """The answer to a new cron."""

    id: str


# --- tasks --------------------------------------------------------------------------------------


def submit(new: AnyTask, key: str | None) -> Request[Submitted]:
    return _send("POST", wire.TASKS, Submitted, arguments.task(new), {KEY: _key(key)})


def submit_batch(tasks: Iterable[AnyTask], key: str | None) -> Request[BatchSubmitted]:
    return Request(
        method="POST",
        path=wire.BATCH,
        kind=BatchSubmitted,
        content=_lines(tasks),
        # Read line by line, however many there are.
        headers={KEY: _key(key), "Content-Type": wire.NDJSON},
        patience_s=BATCH_PATIENCE_S,
    )


def get_batch(batch_id: OfBatch) -> Request[Batch]:
    return _get(_of(wire.BATCHES, arguments.batch_id(batch_id)), Batch)


def list_batches(limit: int) -> Request[list[Batch]]:
    return _get(wire.BATCHES, list[Batch], {"limit": arguments.whole(limit, "limit", 1, 1000)})


def get_task(task_id: OfTask, wait: float | None) -> Request[Task]:
    wait = arguments.seconds(wait, "wait", LONGEST_ANSWER_S)
    params = {"wait": f"{wait:.3f}"} if wait else {}
    return _get(_of(wire.TASKS, arguments.task_id(task_id)), Task, params, patience_s=wait or 0.0)


def cancel_task(task_id: OfTask) -> Request[Task]:
    return _send("POST", f"{_of(wire.TASKS, arguments.task_id(task_id))}/cancel", Task)


def update_task_priority(task_id: OfTask, priority: int | Priority | str) -> Request[Task]:
    return _send(
        "POST",
        f"{_of(wire.TASKS, arguments.task_id(task_id))}/priority",
        Task,
        {"priority": parse_priority(priority)},
    )


def retry_task(task_id: OfTask) -> Request[Task]:
    return _send("POST", f"{_of(wire.TASKS, arguments.task_id(task_id))}/retry", Task)


def delete_task(task_id: OfTask) -> Request[Task]:
    return _send("DELETE", _of(wire.TASKS, arguments.task_id(task_id)), Task)


def list_page(filter: TaskFilter | Mapping[str, Any] | None) -> Request[TaskPage]:
    params = pagination.query_of(task_filter(filter))
    return PageRequest(method="GET", path=wire.TASKS, kind=TaskPage, params=params)


def do_bulk(asked: Bulk) -> Request[BulkResult]:
    request = _send("POST", f"{wire.TASKS}/{asked.verb}", BulkResult, asked.body)
    return msgspec.structs.replace(request, patience_s=BULK_PATIENCE_S)


# --- the queue ----------------------------------------------------------------------------------


def get_queue_stats() -> Request[QueueStats]:
    return _get(wire.STATUS, QueueStats)


def get_history() -> Request[list[Minute]]:
    return _get(wire.HISTORY, list[Minute])


def list_backends() -> Request[list[BackendState]]:
    return _get(wire.BACKENDS, list[BackendState])


def drain_backend(name: str) -> Request[BackendState]:
    return _send("POST", f"{_of(wire.BACKENDS, arguments.backend(name))}/drain", BackendState)


def resume_backend(name: str) -> Request[BackendState]:
    return _send("POST", f"{_of(wire.BACKENDS, arguments.backend(name))}/resume", BackendState)


def pause() -> Request[Any]:
    return _send("POST", wire.PAUSE, object)


def resume() -> Request[Any]:
    return _send("POST", wire.RESUME, object)


# --- crons --------------------------------------------------------------------------------------


def add_cron_task(
    new: NewCron | Mapping[str, Any], if_exists: IfExists | None
) -> Request[AddedCron]:
    what = arguments.if_exists(if_exists)
    with arguments.reading("new"):
        request = _send("POST", wire.CRONS, AddedCron, fields_of(new))
    if what is None:
        return request
    # Done twice, these do the same as once.
    return msgspec.structs.replace(
        request, params={"if_exists": what}, is_safe_twice=what != "error"
    )


def list_cron_tasks() -> Request[list[Cron]]:
    return _get(wire.CRONS, list[Cron])


def get_cron_task(cron_id: OfCron) -> Request[Cron]:
    return _get(_of(wire.CRONS, arguments.cron_id(cron_id)), Cron)


def update_cron_task(cron_id: OfCron, changes: NewCron | Cron | Mapping[str, Any]) -> Request[Cron]:
    path = _of(wire.CRONS, arguments.cron_id(cron_id))
    with arguments.reading("changes"):
        return _send("PUT", path, Cron, fields_of(changes))


def remove_cron_task(cron_id: OfCron) -> Request[Cron]:
    return _send("DELETE", _of(wire.CRONS, arguments.cron_id(cron_id)), Cron)


def enable_cron_task(cron_id: OfCron) -> Request[Cron]:
    return _send("PUT", f"{_of(wire.CRONS, arguments.cron_id(cron_id))}/enable", Cron)


def disable_cron_task(cron_id: OfCron) -> Request[Cron]:
    return _send("PUT", f"{_of(wire.CRONS, arguments.cron_id(cron_id))}/disable", Cron)


def run_cron_task(cron_id: OfCron) -> Request[Submitted]:
    return _send("POST", f"{_of(wire.CRONS, arguments.cron_id(cron_id))}/run", Submitted)


# --- what is read as it comes -------------------------------------------------------------------


def stream_task(task_id: OfTask, headers: Mapping[str, str]) -> Request[Any]:
    """`headers` say behind which chunk to begin."""
    path = f"{_of(wire.TASKS, arguments.task_id(task_id))}/stream"
    return Request(method="GET", path=path, kind=object, headers=headers)


def events(names: Collection[str] | None, tasks: Collection[str] | None) -> Request[Any]:
    return _get(wire.EVENTS, object, {"events": sorted(names or ()), "tasks": sorted(tasks or ())})


# --- pieces -------------------------------------------------------------------------------------


def _get(
    path: str, kind: type[T], params: Mapping[str, Any] | None = None, *, patience_s: float = 0.0
) -> Request[T]:
    return Request(method="GET", path=path, kind=kind, params=params or {}, patience_s=patience_s)


def _send(
    method: str,
    path: str,
    kind: type[T],
    body: Any = None,
    headers: Mapping[str, str | bytes] | None = None,
) -> Request[T]:
    content = b"" if body is None else _encode(body)
    sent = {"Content-Type": "application/json", **(headers or {})}
    return Request(method=method, path=path, kind=kind, content=content, headers=sent)


def _decode(response: httpx.Response, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.DecodeError as error:
        raise Unavailable(
            f"the reply is not from a queue server of this version: {error}"
        ) from None


def _encode(value: Any) -> bytes:
    try:
        written = msgspec.json.encode(value)
        parts = value if isinstance(value, dict) else msgspec.structs.asdict(value)
        check_written(written, parts)
        return written
    except RecursionError:
        raise too_deep("the request", "body") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise Invalid(f"this cannot be written as JSON: {error}", field="body") from None


def _key(key: str | None) -> bytes:
    found = arguments.key(key)
    return (uuid.uuid4().hex if found is None else found).encode()


def _lines(tasks: Iterable[AnyTask]) -> bytes:
    lines = []
    for index, task in enumerate(arguments.tasks(tasks)):
        with naming(f"tasks[{index}]"):
            lines.append(_encode(arguments.task(task, "task")))
    return b"\n".join(lines)


def _of(root: str, name: str) -> str:
    _check_text(name, "id")
    return f"{root}/{quote(name, safe='')}"  # a slash would lead to another route


def _check_text(text: str, field: str) -> None:
    """Raises `Invalid` for half a surrogate pair, which UTF-8 does not have."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise Invalid(f"{field} is not valid Unicode: it contains {half!a}", field=field) from None
