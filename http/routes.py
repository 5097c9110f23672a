"""The queue's own routes, one row each. The app registers them, `/openapi.json` documents them, the
clients use them, and a test compares the README's table with them.
"""

import re
from datetime import datetime
from typing import Any, Generic, TypeVar

from msgspec import Struct

from ..actors.core.activity.audit import AuditPage
from ..actors.core.activity.failures import FailureGroup
from ..actors.core.activity.spans import Dimension, Span
from ..actors.core.fleet.servers import FleetServer
from ..actors.core.intake.bulk import BulkResult
from ..actors.core.intake.bulk import Verb as BulkVerb
from ..actors.core.model.access_keys import KeyCreated, KeyInfo, NewKey, Role
from ..actors.core.model.crons import Cron, CronAdded, IfExists, NewCron
from ..actors.core.model.deliveries import Delivery, DeliveryPage, DeliveryStatus
from ..actors.core.model.errors import Conflict, NotFound, QueueError, QueueFull
from ..actors.core.model.stats import BackendState, Period, QueueStats, StoreSnapshot, UsageReport
from ..actors.core.model.task_filter import TaskFilter
from ..actors.core.model.tasks import Batch, BatchSubmitted, NewTask, Submitted, Task
from .bodies import (
    CronTrial,
    Done,
    Ids,
    IdsAndLevel,
    Level,
    ManyTasks,
    Matching,
    MatchingAndLevel,
    ModelToLoad,
    ModelToUnload,
    Ready,
    Times,
)
from .pagination import TOTAL
from .wire import TooLarge, UnknownCoding

T = TypeVar("T")


class Parameter(Struct, frozen=True):
    """A query parameter or a header."""

    name: str
    type: Any
    about: str


class HttpRoute(Struct, Generic[T], frozen=True, eq=False):
    """One method and path of the API.

    `path` has at most one parameter, in braces, with the verb's name for it. `verb`: the method of
    `QueueAPI` that answers, "" if there is none; a verb that takes only the path's parameter needs
    no handler. `answer`: what the verb returns; `http/native/answers.py` defines how it is shown.
    `operation`: the route's id in the OpenAPI document. `errors`: in addition to those that every
    route can return. `media` is the response's type, `sends` its headers. `role` is what a
    request's API key must have, None if it needs none: a route that does not say is for admins.
    `anywhere`: it answers from what is stored, or submits a task, so each of several servers does
    so itself, unless it finds that it needs what only the one that leads has in memory.
    """

    method: str
    path: str
    verb: str
    answer: type[T]
    summary: str
    operation: str
    query: tuple[Parameter, ...] | type[Struct] = ()
    headers: tuple[Parameter, ...] = ()
    body: Any = None
    takes_lines: bool = False
    status: int = 200
    sends: tuple[Parameter, ...] = ()
    also: dict[int, str] = {}
    errors: tuple[type[QueueError], ...] = ()
    media: str = "application/json"
    role: Role | None = Role.ADMIN
    anywhere: bool = False

    @property
    def public_path(self) -> str:
        """The path as documented, with its parameter named `id`."""
        return re.sub(r"{\w+}", "{id}", self.path)


def _row(
    address: str, verb: str, answer: type[T], summary: str, *, operation: str = "", **more: Any
) -> HttpRoute[T]:
    method, path = address.split()
    operation = operation or verb
    return HttpRoute(method, path, verb, answer, summary, operation, **more)


WAIT = Parameter("wait", float, "Answer once it has ended, or after this many seconds (0 to 3600).")
LIMIT = Parameter("limit", int, "At most this many: 1 to 1000.")
KEY = Parameter("Idempotency-Key", str, "The same request with the same key is carried out once.")
IF_EXISTS = Parameter(
    "if_exists", IfExists, "What to do if a cron of this name exists; by default, another is added."
)
TENANT = Parameter("tenant", str, "Only tasks of this tenant.")
BY_ID = (NotFound,)
BY_STATE = (NotFound, Conflict)
BODY = (TooLarge, UnknownCoding)
SSE = "text/event-stream"

READER, USER = Role.READER, Role.USER

# fmt: off
# --- tasks --------------------------------------------------------------------------------------

SUBMIT = _row(
    "POST /api/tasks", "submit", Submitted,
    "Submit a task; answers 201 once it is on disk.", operation="submit_task", body=NewTask,
    headers=(KEY,), status=201,
    also={200: "The key was used before for the same task, which is returned."},
    errors=(*BODY, Conflict, QueueFull), role=USER, anywhere=True,
)
SUBMIT_BATCH = _row(
    "POST /api/tasks/batch", "submit_batch", BatchSubmitted,
    "Submit many tasks, all or none; JSON lines are read as they arrive.",
    body=ManyTasks | list[NewTask], takes_lines=True, headers=(KEY,), query=(WAIT,), status=201,
    also={200: "The key was used before for the same batch, which is returned."},
    errors=(*BODY, Conflict, QueueFull), role=USER,
)
LIST_PAGE = _row(
    "GET /api/tasks", "list_page", list[Task],
    "List tasks, newest first, without payloads and results.", operation="list_tasks",
    query=TaskFilter,
    sends=(
        Parameter("Link", str, "The next page, as rel=next, relative to this address."),
        Parameter(TOTAL, int, "How many match, where known without reading them all."),
    ),
    errors=BY_ID, role=READER, anywhere=True,
)
GET_TASK = _row(
    "GET /api/tasks/{task_id}", "get_task", Task,
    "Get a whole task.", query=(WAIT,), errors=BY_ID, role=READER, anywhere=True,
)
STREAM_TASK = _row(
    "GET /api/tasks/{task_id}/stream", "stream_task", str,
    "Stream a task's reply: events chunk (with ids attempt.n), restart, and one end.", media=SSE,
    headers=(Parameter("Last-Event-ID", str, "Resume after this chunk."),),
    errors=BY_ID, role=READER, anywhere=True,
)
CANCEL_TASK = _row(
    "POST /api/tasks/{task_id}/cancel", "cancel_task", Task,
    "Cancel a pending or running task.", errors=BY_STATE, role=USER,
)
UPDATE_TASK_PRIORITY = _row(
    "POST /api/tasks/{task_id}/priority", "update_task_priority", Task,
    "Change the priority of a pending or running task.", body=Level, errors=(*BODY, *BY_STATE),
    role=USER,
)
RETRY_TASK = _row(
    "POST /api/tasks/{task_id}/retry", "retry_task", Task,
    "Retry a failed or cancelled task.", errors=(*BY_STATE, QueueFull), role=USER,
)
DELETE_TASK = _row(
    "DELETE /api/tasks/{task_id}", "delete_task", Task,
    "Delete a finished task.", errors=BY_STATE, role=USER,
)
CANCEL_TASKS = _row(
    "POST /api/tasks/cancel", "cancel_tasks", BulkResult,
    "Cancel many pending or running tasks.", body=Ids | Matching, errors=(*BODY, *BY_ID), role=USER,
)
RETRY_TASKS = _row(
    "POST /api/tasks/retry", "retry_tasks", BulkResult,
    "Retry many failed or cancelled tasks.", body=Ids | Matching, errors=(*BODY, *BY_ID), role=USER,
)
DELETE_TASKS = _row(
    "POST /api/tasks/delete", "delete_tasks", BulkResult,
    "Delete many finished tasks.", body=Ids | Matching, errors=(*BODY, *BY_ID), role=USER,
)
REPRIORITIZE_TASKS = _row(
    "POST /api/tasks/priority", "reprioritize_tasks", BulkResult,
    "Change the priority of many tasks.", operation="priority_tasks",
    body=IdsAndLevel | MatchingAndLevel, errors=(*BODY, *BY_ID), role=USER,
)
BULK = {
    BulkVerb.CANCEL: CANCEL_TASKS,
    BulkVerb.RETRY: RETRY_TASKS,
    BulkVerb.DELETE: DELETE_TASKS,
    BulkVerb.PRIORITY: REPRIORITIZE_TASKS,
}
LIST_BATCHES = _row(
    "GET /api/batches", "list_batches", list[Batch],
    "List batches, newest first.", query=(LIMIT,), role=READER, anywhere=True,
)
GET_BATCH = _row(
    "GET /api/batches/{batch_id}", "get_batch", Batch,
    "Get a batch: how many of its tasks are in each state.", errors=BY_ID, role=READER,
    anywhere=True,
)

CANCEL_BATCH = _row(
    "POST /api/batches/{batch_id}/cancel", "cancel_batch", Batch,
    "Cancel the tasks of a batch that have not ended.", errors=BY_STATE, role=USER,
)

# --- webhooks -----------------------------------------------------------------------------------

LIST_DELIVERIES = _row(
    "GET /api/deliveries", "list_deliveries", DeliveryPage,
    "List deliveries of webhooks, newest first.",
    query=(
        Parameter("task_id", str, "Only those about this task."),
        Parameter("status", DeliveryStatus, "Only those in this state."),
        LIMIT,
        Parameter("cursor", str, "Where the previous page ended: its `cursor`."),
    ),
    errors=BY_ID, role=READER, anywhere=True,
)
RETRY_DELIVERY = _row(
    "POST /api/deliveries/{delivery_id}/retry", "retry_delivery", Delivery,
    "Make a delivery again now, also if it has ended.", errors=BY_ID, role=USER,
)

# --- crons --------------------------------------------------------------------------------------

LIST_CRONS = _row(
    "GET /api/cron", "list_cron_tasks", list[Cron],
    "List crons, oldest first.", operation="list_crons",
    query=(
        Parameter("enabled", bool, "Only enabled (true) or disabled (false) crons."),
        Parameter("name", list[str], "Only crons of these names."),
        Parameter("limit", int, "At most this many."),
        Parameter("offset", int, "Skip this many."),
    ),
    role=READER, anywhere=True,
)
ADD_CRON = _row(
    "POST /api/cron", "add_cron_task", CronAdded,
    "Add a cron.", operation="add_cron", body=NewCron, query=(IF_EXISTS,), status=201,
    also={200: "A cron of this name exists; its id is returned."}, errors=(*BODY, Conflict),
    role=USER,
)
TEST_CRON = _row(
    "POST /api/cron/test", "", Times,
    "Preview the next times of a cron expression.", operation="test_cron", body=CronTrial,
    errors=BODY, role=READER,
)
GET_CRON = _row(
    "GET /api/cron/{cron_id}", "get_cron_task", Cron,
    "Get a cron.", operation="get_cron", errors=BY_ID, role=READER, anywhere=True,
)
UPDATE_CRON = _row(
    "PUT /api/cron/{cron_id}", "update_cron_task", Cron,
    "Change the given fields of a cron; read-only fields are ignored.", operation="update_cron",
    body=dict[str, Any], errors=(*BODY, *BY_ID), role=USER,
)
REMOVE_CRON = _row(
    "DELETE /api/cron/{cron_id}", "remove_cron_task", Cron,
    "Delete a cron; its tasks stay.", operation="remove_cron", errors=BY_ID, role=USER,
)
ENABLE_CRON = _row(
    "PUT /api/cron/{cron_id}/enable", "enable_cron_task", Cron,
    "Enable a cron: it runs on schedule.", operation="enable_cron", errors=BY_ID, role=USER,
)
DISABLE_CRON = _row(
    "PUT /api/cron/{cron_id}/disable", "disable_cron_task", Cron,
    "Disable a cron.", operation="disable_cron", errors=BY_ID, role=USER,
)
RUN_CRON = _row(
    "POST /api/cron/{cron_id}/run", "run_cron_task", Submitted,
    "Run a cron once now.", operation="run_cron", status=201, errors=(*BY_STATE, QueueFull),
    role=USER,
)

# --- the queue ----------------------------------------------------------------------------------

GET_STATUS = _row(
    "GET /api/status", "get_queue_stats", QueueStats,
    "Get the state of the queue.", operation="get_status", role=READER,
)
GET_STATS = _row(
    "GET /api/stats", "get_queue_stats", QueueStats,
    "Same as /api/status.", operation="get_stats", role=READER,
)
GET_HISTORY = _row(
    "GET /api/history", "get_history", list[Period],
    "Get what happened in each minute, hour or day until now, oldest first.",
    query=(
        Parameter("span", Span, "1h (by minutes; the default), 72h (by hours) or 90d (by days)."),
        Parameter("by", Dimension, "A period for each group: the 20 largest, and other."),
        TENANT,
    ),
    role=READER,
)
GET_USAGE = _row(
    "GET /api/usage", "get_usage", UsageReport,
    "Get how many tasks there were, and the tokens they used.",
    query=(
        Parameter("since", datetime, "From this hour on; over 7 days ago, this day of UTC."),
        Parameter("until", datetime, "Up to this hour or day. Default: now."),
        Parameter("by", str, "A row for each tenant, tag, model or backend: names with commas."),
        TENANT,
    ),
    role=READER,
)
LIST_AUDIT = _row(
    "GET /api/audit", "list_audit", AuditPage,
    "List who changed what, when and from where, newest first.",
    query=(
        Parameter("who", str, "Only changes made with the API key of this name."),
        Parameter("action", str, "Only this action, named as in Python: cancel_task, pause, …"),
        Parameter("target", str, "Only changes of the task, cron, batch or backend of this id."),
        Parameter("since", datetime, "Only changes from this time on."),
        Parameter("until", datetime, "Only changes before this time."),
        LIMIT,
        Parameter("cursor", str, "Continue after the page that had this cursor."),
    ),
    anywhere=True,
)
LIST_BACKENDS = _row(
    "GET /api/backends", "list_backends", list[BackendState],
    "List the model servers, in the order of the configuration.", role=READER,
)
LIST_SERVERS = _row(
    "GET /api/servers", "list_servers", list[FleetServer],
    "List the servers that share the queue, the one that leads first.",
    anywhere=True,
)
DRAIN_BACKEND = _row(
    "POST /api/backends/{name}/drain", "drain_backend", BackendState,
    "Send no more calls to a model server, named by id; running calls finish.", errors=BY_ID,
)
RESUME_BACKEND = _row(
    "POST /api/backends/{name}/resume", "resume_backend", BackendState,
    "Send calls to a drained model server again.", errors=BY_ID,
)
LOAD_MODEL = _row(
    "POST /api/backends/{name}/load", "load_model", BackendState,
    "Load a model into the memory of an Ollama server, named by id.", body=ModelToLoad,
    errors=(*BODY, *BY_STATE),
)
UNLOAD_MODEL = _row(
    "POST /api/backends/{name}/unload", "unload_model", BackendState,
    "Remove a model from the memory of an Ollama server.", body=ModelToUnload,
    errors=(*BODY, *BY_STATE),
)
PAUSE = _row(
    "POST /api/pause", "pause", Done,
    "Start no more tasks; running tasks finish.",
)
RESUME = _row(
    "POST /api/resume", "resume", Done,
    "Start tasks again after a pause.",
)
LIST_FAILURES = _row(
    "GET /api/failures", "list_failures", list[FailureGroup],
    "List failed tasks grouped by cause, the largest groups first.",
    query=(Parameter("limit", int, "At most this many groups: 1 to 1000. Default: 100."), TENANT),
    role=READER,
)
TAKE_SNAPSHOT = _row(
    "POST /api/snapshot", "take_snapshot", StoreSnapshot,
    "Copy the whole queue within its data folder, for a backup or an export.",
)
LIST_KEYS = _row(
    "GET /api/keys", "list_keys", list[KeyInfo],
    "List the API keys by name, without the keys themselves.",
)
ADD_KEY = _row(
    "POST /api/keys", "add_key", KeyCreated,
    "Add an API key; this is the only time it is shown.", body=NewKey, status=201,
    errors=(*BODY, Conflict),
)
ROTATE_KEY = _row(
    "POST /api/keys/{name}/rotate", "rotate_key", KeyCreated,
    "Replace an API key; the old one ends at once.", errors=BY_STATE,
)
REVOKE_KEY = _row(
    "DELETE /api/keys/{name}", "revoke_key", KeyInfo,
    "Revoke an API key; its streams and WebSockets are closed.", errors=BY_STATE,
)
EVENTS = _row(
    "GET /api/events", "subscribe", str,
    "Stream events as they happen: first a snapshot, then each Event.",
    operation="events", media=SSE,
    query=(
        Parameter("events", list[str], "Only events of these names."),
        Parameter("tasks", list[str], "Only events of tasks with these ids."),
    ),
    role=READER, anywhere=True,
)
SOCKET = _row(
    "GET /ws", "subscribe", type(None),
    "The same over a WebSocket.", operation="socket", status=101,
    also={426: "Not a WebSocket request."},
    role=READER, anywhere=True,
)
HEALTHZ = _row(
    "GET /healthz", "", Done,
    "Check that the server is up.", operation="healthz", role=None,
)
READYZ = _row(
    "GET /readyz", "", Ready,
    "Check that the queue takes tasks.", operation="readyz", role=None,
)
METRICS = _row(
    "GET /metrics", "", str,
    "Get metrics in the text format of Prometheus.", operation="metrics", media="text/plain",
)
OPENAPI = _row(
    "GET /openapi.json", "", dict[str, Any],
    "Get this API as an OpenAPI 3.1 document.", operation="openapi", role=READER, anywhere=True,
)
# fmt: on

ROUTES: tuple[HttpRoute[Any], ...] = tuple(
    row for row in tuple(globals().values()) if isinstance(row, HttpRoute)
)
