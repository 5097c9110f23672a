"""Builds the HTTP request of each verb; the clients only send it.

For verbs that take only an id, `build` needs only the route.
"""

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from ...actors.core.activity.audit import AuditPage
from ...actors.core.activity.failures import FailureGroup
from ...actors.core.intake import arguments, deliveries
from ...actors.core.intake.access_keys import new_key
from ...actors.core.intake.arguments import LONGEST_ANSWER_S, AnyTask, OfCron, OfTask
from ...actors.core.intake.bulk import Bulk, BulkResult
from ...actors.core.intake.crons import fields_of
from ...actors.core.intake.filters import task_filter
from ...actors.core.intake.reports import audit_query, checked_tenant, history_query, usage_query
from ...actors.core.intake.submission import parse_priority, parse_time
from ...actors.core.model.access_keys import KeyCreated, NewKey
from ...actors.core.model.crons import Cron, CronAdded, IfExists, NewCron
from ...actors.core.model.deliveries import Delivery, DeliveryPage
from ...actors.core.model.errors import Invalid, Unavailable, error_at
from ...actors.core.model.stats import BackendState, Period, StoreSnapshot, UsageReport
from ...actors.core.model.task_filter import MAX_LIMIT, TaskFilter, TaskPage
from ...actors.core.model.tasks import (
    Batch,
    BatchSubmitted,
    Priority,
    Submitted,
    Task,
)
from ...actors.core.text.strict_json import check_written, too_deep
from .. import pagination, routes, wire
from ..routes import HttpRoute

BATCH_PATIENCE_S = 300.0
BULK_PATIENCE_S = 90.0  # a filter may read many tasks before it finds a match
SNAPSHOT_PATIENCE_S = 300.0
FAILURES_PATIENCE_S = 60.0
LOADING_S = 600.0  # two attempts, of which Ollama may take 300 s each
KEY = routes.KEY.name
TARGETS: dict[str, Callable[[Any], str]] = {  # how the parameter in a path is checked
    "task_id": arguments.task_id,
    "batch_id": arguments.batch_id,
    "cron_id": arguments.cron_id,
    "name": arguments.backend,
    "delivery_id": deliveries.delivery_id,
}

T = TypeVar("T")


class Request(Struct, Generic[T], frozen=True, kw_only=True):
    """A request, and `kind`, the type of its answer.

    `patience_s`: how long the server may take, in seconds, in addition to the client's timeout.
    `is_safe_twice`: the request may be retried if its response was lost.
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
        """Check the query. Raises `Invalid` for text that is not valid Unicode."""
        for name, values in self.params.items():
            for value in values if isinstance(values, list) else [values]:
                _check_text(str(value), name)

    def read(self, response: httpx.Response) -> T:
        """Decode the answer. Raises `Unavailable` if it is not from a queue of this version."""
        answer = _decode(response, self.kind)
        if isinstance(answer, Submitted | BatchSubmitted | CronAdded):
            answer = msgspec.structs.replace(answer, created=response.status_code == 201)
        return answer


class PageRequest(Request[TaskPage], frozen=True, kw_only=True):
    """A request for a page: the body has the tasks, the headers have the cursor and total."""

    def read(self, response: httpx.Response) -> TaskPage:
        return pagination.page_of(_decode(response, list[Task]), response.headers)


def build(route: HttpRoute[T], target: object = None, **more: Any) -> Request[T]:
    """Build the request for a route.

    `target` is the task, batch, cron or backend in its path, in any form that the verb accepts.
    `more` are fields of `Request`. Raises `Invalid`.
    """
    before, _, rest = route.path.partition("{")
    name, _, after = rest.partition("}")
    path = f"{before}{_in_path(TARGETS[name](target))}{after}" if name else route.path
    if route.method != "GET":
        more["headers"] = {"Content-Type": "application/json", **more.get("headers", {})}
    return Request(method=route.method, path=path, kind=route.answer, **more)


def list_failures(limit: int, tenant: str | None) -> Request[list[FailureGroup]]:
    checked = arguments.whole(limit, "limit", 1, MAX_LIMIT), checked_tenant(tenant)
    params = {"limit": checked[0], **({} if checked[1] is None else {"tenant": checked[1]})}
    return build(routes.LIST_FAILURES, params=params, patience_s=FAILURES_PATIENCE_S)


def add_key(new: NewKey | Mapping[str, Any]) -> Request[KeyCreated]:
    with arguments.reading("new"):
        content = msgspec.json.encode(new_key(new))
    return build(routes.ADD_KEY, content=content)


def take_snapshot() -> Request[StoreSnapshot]:
    return build(routes.TAKE_SNAPSHOT, patience_s=SNAPSHOT_PATIENCE_S, is_safe_twice=True)


# --- tasks --------------------------------------------------------------------------------------


def submit(new: AnyTask, key: str | None) -> Request[Submitted]:
    content, headers = _encode(arguments.task(new)), {KEY: _key(key)}
    return build(routes.SUBMIT, content=content, headers=headers)


def submit_batch(tasks: Iterable[AnyTask], key: str | None) -> Request[BatchSubmitted]:
    return build(
        routes.SUBMIT_BATCH,
        content=_lines(tasks),
        # The server reads it line by line, however many there are.
        headers={KEY: _key(key), "Content-Type": wire.NDJSON},
        patience_s=BATCH_PATIENCE_S,
    )


def list_batches(limit: int) -> Request[list[Batch]]:
    params = {"limit": arguments.whole(limit, "limit", 1, 1000)}
    return build(routes.LIST_BATCHES, params=params)


def get_history(span: str, by: str | None, tenant: str | None) -> Request[list[Period]]:
    query = history_query(span, by, tenant, 0.0)
    params = {"span": query.span, "by": query.by, "tenant": query.tenant}
    given = {name: value for name, value in params.items() if value is not None}
    return build(routes.GET_HISTORY, params=given)


def list_audit(**filters: Any) -> Request[AuditPage]:
    query = audit_query(**filters, tenant=None)
    params = {
        "who": query.who,
        "action": query.action,
        "target": query.target,
        "since": query.since and query.since.isoformat(),
        "until": query.until and query.until.isoformat(),
        "limit": query.limit,
        "cursor": query.before,
    }
    given = {name: value for name, value in params.items() if value is not None}
    return build(routes.LIST_AUDIT, params=given)


def get_usage(
    since: datetime | str | None,
    until: datetime | str | None,
    by: str | Collection[str] | None,
    tenant: str | None,
) -> Request[UsageReport]:
    query = usage_query(since, until, by, tenant, time.time())
    params = {
        "since": None if since is None else parse_time(since, "since").isoformat(),
        "until": None if until is None else parse_time(until, "until").isoformat(),
        "by": ",".join(query.by) or None,
        "tenant": query.tenant,
    }
    given = {name: value for name, value in params.items() if value is not None}
    return build(routes.GET_USAGE, params=given)


def create_batch(
    fields: Mapping[str, Any], fallback_models: Sequence[str] | None, kind: type[T]
) -> Request[T]:
    """A batch from an uploaded file: a request of OpenAI's API."""
    headers: dict[str, str | bytes] = {"Content-Type": "application/json", KEY: _key(None)}
    if fallback_models is not None:
        headers[wire.FALLBACKS] = ", ".join(fallback_models).encode()
    content = msgspec.json.encode(fields)
    return Request(method="POST", path=wire.BATCHES, kind=kind, content=content, headers=headers)


def list_deliveries(
    task_id: OfTask | None, status: str | None, limit: int, cursor: str | None
) -> Request[DeliveryPage]:
    query = deliveries.query(task_id, status, limit, cursor)
    params = {name: value for name, value in asdict(query).items() if value}
    return build(routes.LIST_DELIVERIES, params=params)


def retry_delivery(delivery_id: str) -> Request[Delivery]:
    return build(routes.RETRY_DELIVERY, delivery_id)


def get_task(task_id: OfTask, wait: float | None) -> Request[Task]:
    wait = arguments.seconds(wait, "wait", LONGEST_ANSWER_S)
    params = {"wait": f"{wait:.3f}"} if wait else {}
    return build(routes.GET_TASK, task_id, params=params, patience_s=wait or 0.0)


def update_task_priority(task_id: OfTask, priority: int | Priority | str) -> Request[Task]:
    task_id = arguments.task_id(task_id)  # checked first, as in the embedded queue
    content = _encode({"priority": parse_priority(priority)})
    return build(routes.UPDATE_TASK_PRIORITY, task_id, content=content)


def list_page(filter: TaskFilter | Mapping[str, Any] | None) -> Request[TaskPage]:
    params, route = pagination.query_of(task_filter(filter)), routes.LIST_PAGE
    return PageRequest(method=route.method, path=route.path, kind=TaskPage, params=params)


def do_bulk(bulk: Bulk) -> Request[BulkResult]:
    content = _encode(bulk.body)
    return build(routes.BULK[bulk.verb], content=content, patience_s=BULK_PATIENCE_S)


# --- crons --------------------------------------------------------------------------------------


def add_cron(new: NewCron | Mapping[str, Any], if_exists: IfExists | None) -> Request[CronAdded]:
    what = arguments.if_exists(if_exists)
    with arguments.reading("new"):
        content = _encode(fields_of(new))
    if what is None:
        return build(routes.ADD_CRON, content=content)
    # These have the same effect if done twice.
    params, is_safe_twice = {"if_exists": what}, what != "error"
    return build(routes.ADD_CRON, content=content, params=params, is_safe_twice=is_safe_twice)


def update_cron(cron_id: OfCron, changes: NewCron | Cron | Mapping[str, Any]) -> Request[Cron]:
    cron_id = arguments.cron_id(cron_id)
    with arguments.reading("changes"):
        content = _encode(fields_of(changes))
    return build(routes.UPDATE_CRON, cron_id, content=content)


# --- backends -----------------------------------------------------------------------------------


def load_model(name: str, model: str, keep_alive: str | float | None) -> Request[BackendState]:
    name, model = arguments.backend(name), arguments.model(model)  # in the order of the queue
    keep = arguments.keep_alive(keep_alive)
    content = _encode({"model": model, **({} if keep is None else {"keep_alive": keep})})
    return build(routes.LOAD_MODEL, name, content=content, patience_s=LOADING_S)


def unload_model(name: str, model: str) -> Request[BackendState]:
    name, model = arguments.backend(name), arguments.model(model)
    content = _encode({"model": model})
    return build(routes.UNLOAD_MODEL, name, content=content, patience_s=LOADING_S)


# --- streams ------------------------------------------------------------------------------------


def stream_task(task_id: OfTask, headers: Mapping[str, str]) -> Request[str]:
    """`headers` name the chunk after which to start."""
    return build(routes.STREAM_TASK, task_id, headers=headers)


def events(names: Collection[str] | None, tasks: Collection[str] | None) -> Request[str]:
    params = {"events": sorted(names or ()), "tasks": sorted(tasks or ())}
    return build(routes.EVENTS, params=params)


# --- helpers ------------------------------------------------------------------------------------


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
    key_header = arguments.key(key)
    return (uuid.uuid4().hex if key_header is None else key_header).encode()


def _lines(tasks: Iterable[AnyTask]) -> bytes:
    lines = []
    for index, task in enumerate(arguments.tasks(tasks)):
        with error_at(f"tasks[{index}]"):
            lines.append(_encode(arguments.task(task, "task")))
    return b"\n".join(lines)


def _in_path(name: str) -> str:
    _check_text(name, "id")
    return quote(name, safe="")  # a slash would lead to another route


def _check_text(text: str, field: str) -> None:
    """Raise `Invalid` for a lone surrogate, which UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise Invalid(f"{field} is not valid Unicode: it contains {half!a}", field=field) from None
