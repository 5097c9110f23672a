"""The life of a task: which status may follow which, and how a change of status is written."""

from typing import Any

from .errors import Conflict
from .orders import Change
from .tasks import Attempt, Status

# Every change of status is checked against this table; the docs draw it, the tests walk it.
NEXT: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.RUNNING, Status.FAILED, Status.CANCELLED}),
    Status.RUNNING: frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.PENDING}),
    Status.FAILED: frozenset({Status.PENDING}),
    Status.CANCELLED: frozenset({Status.PENDING}),
    Status.COMPLETED: frozenset(),
}

EVENT = {
    Status.RUNNING: "task_started",
    Status.COMPLETED: "task_completed",
    Status.FAILED: "task_failed",
    Status.CANCELLED: "task_cancelled",
    Status.PENDING: "task_retrying",
}


def become(
    task_id: str,
    now: Status,
    then: Status,
    *,
    ended: Attempt | None = None,
    result: bytes | None = None,
    **facts: Any,
) -> Change:
    """The change of a task from one status to another. Raises `Conflict` if it is not allowed."""
    if then not in NEXT[now]:
        raise Conflict(f"task {task_id} is {now}, cannot become {then}", field="id")
    return Change(task_id, {"status": then, **facts}, EVENT[then], ended, result)
