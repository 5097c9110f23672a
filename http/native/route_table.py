"""The native routes as they are documented: what each takes, and what it answers."""

from typing import Any

from msgspec import Struct

from ...actors.core.intake.bulk import BulkResult
from ...actors.core.model.crons import Cron, IfExists, NewCron
from ...actors.core.model.errors import Conflict, Invalid, NotFound, QueueError, QueueFull
from ...actors.core.model.stats import BackendState, Minute
from ...actors.core.model.task_filter import TaskFilter
from ...actors.core.model.tasks import Batch, NewTask, Task
from .. import wire
from ..pagination import TOTAL
from ..wire import TooLarge
from .shapes import (
    Accepted,
    Added,
    BatchAccepted,
    CronTrial,
    Done,
    Ids,
    IdsAndLevel,
    Level,
    ManyTasks,
    Matching,
    MatchingAndLevel,
    StatusAnswer,
    Times,
)


class Parameter(Struct, frozen=True):
    """A parameter of a query."""

    name: str
    type: Any
    about: str


class HttpRoute(Struct, frozen=True, kw_only=True):
    """`errors` beyond those that any route may answer with; `media` of the answer, and the
    headers that it `sends`."""

    method: str
    path: str
    name: str
    summary: str
    query: tuple[Parameter, ...] | type[Struct] = ()
    headers: tuple[Parameter, ...] = ()
    body: Any = None
    answer: Any = None
    status: int = 200
    sends: tuple[Parameter, ...] = ()
    also: dict[int, str] = {}
    errors: tuple[type[QueueError], ...] = ()
    media: str = "application/json"


WAIT = Parameter("wait", float, "Answer once it has ended, or after so many seconds (0 to 3600).")
LIMIT = Parameter("limit", int, "How many at most: 1 to 1000.")
KEY = Parameter("Idempotency-Key", str, "The same request with the same key is done once.")
IF_EXISTS = Parameter(
    "if_exists", IfExists, "Where there is one of its name: without this, another one is added."
)
BY_ID = (NotFound,)
BY_STATE = (NotFound, Conflict)
BODY = (Invalid, TooLarge)
SSE = "text/event-stream"
ONE = f"{wire.TASKS}/{{id}}"
CRON = f"{wire.CRONS}/{{id}}"


def get(path: str, name: str, summary: str, answer: Any, **more: Any) -> HttpRoute:
    return HttpRoute(method="GET", path=path, name=name, summary=summary, answer=answer, **more)


def post(path: str, name: str, summary: str, answer: Any, **more: Any) -> HttpRoute:
    return HttpRoute(method="POST", path=path, name=name, summary=summary, answer=answer, **more)


def put(path: str, name: str, summary: str, answer: Any, **more: Any) -> HttpRoute:
    return HttpRoute(method="PUT", path=path, name=name, summary=summary, answer=answer, **more)


def delete(path: str, name: str, summary: str, answer: Any, **more: Any) -> HttpRoute:
    return HttpRoute(method="DELETE", path=path, name=name, summary=summary, answer=answer, **more)


def many(verb: str, summary: str, body: Any = Ids | Matching) -> HttpRoute:
    path, name = f"{wire.TASKS}/{verb}", f"{verb}_tasks"
    return post(path, name, summary, BulkResult, body=body, errors=BODY)


TASKS = (
    post(
        wire.TASKS,
        "submit_task",
        "Take a task on: 201 once it is on disk.",
        Accepted,
        body=NewTask,
        headers=(KEY,),
        status=201,
        also={200: "The key was used before for the same task: this is it."},
        errors=(*BODY, Conflict, QueueFull),
    ),
    post(
        wire.BATCH,
        "submit_batch",
        "Take on many tasks, all of them or none; JSON lines are read as they come.",
        BatchAccepted,
        body=ManyTasks | list[NewTask],
        headers=(KEY,),
        query=(WAIT,),
        status=201,
        also={200: "The key was used before for the same batch: this is it."},
        errors=(*BODY, Conflict, QueueFull),
    ),
    get(
        wire.TASKS,
        "list_tasks",
        "Tasks, the newest first, without payloads and results.",
        list[Task],
        query=TaskFilter,
        sends=(
            Parameter(
                "Link", str, "The address of the next page, as rel=next, relative to this one."
            ),
            Parameter(TOTAL, int, "How many match, where that is known without reading them all."),
        ),
        errors=(Invalid,),
    ),
    get(ONE, "get_task", "The whole task.", Task, query=(WAIT,), errors=(Invalid, *BY_ID)),
    get(
        f"{ONE}/stream",
        "stream_task",
        "The reply as it comes: events chunk (with ids attempt.n), restart, and one end.",
        str,
        media=SSE,
        headers=(Parameter("Last-Event-ID", str, "Go on behind this chunk."),),
        errors=(Invalid, *BY_ID),
    ),
    post(f"{ONE}/cancel", "cancel_task", "End a pending or running task.", Task, errors=BY_STATE),
    post(
        f"{ONE}/priority",
        "update_task_priority",
        "Change the priority of a pending or running task.",
        Task,
        body=Level,
        errors=(*BODY, *BY_STATE),
    ),
    post(
        f"{ONE}/retry",
        "retry_task",
        "Run a failed or cancelled task anew.",
        Task,
        errors=(*BY_STATE, QueueFull),
    ),
    delete(ONE, "delete_task", "Forget an ended task.", Task, errors=BY_STATE),
    many("cancel", "End many pending or running tasks."),
    many("retry", "Run many failed or cancelled tasks anew."),
    many("delete", "Forget many ended tasks."),
    many("priority", "Change the priority of many tasks.", IdsAndLevel | MatchingAndLevel),
    get(
        wire.BATCHES,
        "list_batches",
        "Batches, the newest first.",
        list[Batch],
        query=(LIMIT,),
        errors=(Invalid,),
    ),
    get(f"{wire.BATCHES}/{{id}}", "get_batch", "How a batch stands.", Batch, errors=BY_ID),
)

CRONS = (
    get(
        wire.CRONS,
        "list_crons",
        "All crons, or those that match, the oldest first.",
        list[Cron],
        query=(
            Parameter("enabled", bool, "Only those that run, or that do not."),
            Parameter("name", list[str], "Only those of these names."),
            Parameter("limit", int, "How many at most."),
            Parameter("offset", int, "How many to pass over."),
        ),
        errors=(Invalid,),
    ),
    post(
        wire.CRONS,
        "add_cron",
        "Add a cron.",
        Added,
        body=NewCron,
        query=(IF_EXISTS,),
        status=201,
        also={200: "There is one of this name: this is it."},
        errors=(*BODY, Conflict),
    ),
    post(f"{wire.CRONS}/test", "test_cron", "The next times.", Times, body=CronTrial, errors=BODY),
    get(CRON, "get_cron", "One cron.", Cron, errors=BY_ID),
    put(
        CRON,
        "update_cron",
        "Change the fields given; what only the queue sets is passed over.",
        Cron,
        body=dict[str, Any],
        errors=(*BODY, *BY_ID),
    ),
    delete(CRON, "remove_cron", "Forget a cron; its tasks stay.", Cron, errors=BY_ID),
    put(f"{CRON}/enable", "enable_cron", "Let it run by the clock.", Cron, errors=BY_ID),
    put(f"{CRON}/disable", "disable_cron", "Let it rest.", Cron, errors=BY_ID),
    post(
        f"{CRON}/run",
        "run_cron",
        "Run it once now.",
        Accepted,
        status=201,
        errors=(*BY_STATE, QueueFull),
    ),
)

QUEUE = (
    get(wire.STATUS, "get_status", "How the queue is doing.", StatusAnswer),
    get("/api/stats", "get_stats", f"The same as {wire.STATUS}.", StatusAnswer),
    get(
        wire.HISTORY,
        "get_history",
        "What happened in each minute of the last hour, since the start; the oldest first.",
        list[Minute],
    ),
    get(
        wire.BACKENDS,
        "list_backends",
        "The model servers, in the order of the configuration.",
        list[BackendState],
    ),
    post(
        f"{wire.BACKENDS}/{{id}}/drain",
        "drain_backend",
        "Give a model server, named by `id`, no more calls; those that run go on.",
        BackendState,
        errors=BY_ID,
    ),
    post(
        f"{wire.BACKENDS}/{{id}}/resume",
        "resume_backend",
        "Give it calls again.",
        BackendState,
        errors=BY_ID,
    ),
    post(wire.PAUSE, "pause", "Start no more tasks; those that run go on.", Done),
    post(wire.RESUME, "resume", "Go on after a pause.", Done),
    get(
        wire.EVENTS,
        "events",
        "What happens as it happens: an event snapshot, then each event (see Event).",
        str,
        media=SSE,
        query=(
            Parameter("events", list[str], "Only events of these names."),
            Parameter("tasks", list[str], "Only those of tasks with these ids."),
        ),
        errors=(Invalid,),
    ),
    get(
        wire.SOCKET,
        "socket",
        "The same over a WebSocket.",
        None,
        status=101,
        also={426: "This was no request for a WebSocket."},
    ),
    get("/healthz", "healthz", "Whether the server lives.", Done),
    get(wire.OPENAPI, "openapi", "This document.", dict[str, Any]),
)

ROUTES: tuple[HttpRoute, ...] = TASKS + CRONS + QUEUE
