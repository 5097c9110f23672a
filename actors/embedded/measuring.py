"""Asks all actors what they measure, and whether the queue can take tasks."""

import shutil
from collections.abc import Callable
from typing import TypeVar

from ..base.actor import ask, waiting_mail
from ..base.inbox import Future
from ..base.thread_pool import Pool
from ..core.activity.measures import QueueMeasures
from ..core.messages import (
    CheckCapacity,
    CountTasks,
    Describe,
    MeasureBus,
    MeasureDisk,
    MeasurePlan,
    MeasureWebhooks,
)
from ..core.model.errors import QueueError, Unavailable
from ..core.model.model_names import model_name
from ..supervision.switchboard import Generation, Switchboard

T = TypeVar("T")
PATIENCE_S = 10.0


def measure(
    switchboard: Switchboard, folder: str | None, hub_gap_ms: Callable[[], float | None]
) -> QueueMeasures:
    """Ask each actor for its measures. Raises `Unavailable`."""
    now = switchboard.current()
    plan = ask(now.scheduler, MeasurePlan(), PATIENCE_S)
    backends = plan.state.backends
    listed = frozenset(model_name(m) for backend in backends for m in backend.models or ())
    return QueueMeasures(
        plan=plan,
        bus=ask(now.bus, MeasureBus(listed), PATIENCE_S),
        disk=ask(now.persistence, MeasureDisk(), PATIENCE_S),
        webhooks=ask(now.webhooks, MeasureWebhooks(), PATIENCE_S),
        mailboxes=_mailboxes(now),
        restarts=switchboard.boots - 1,
        hub_gap_ms=hub_gap_ms(),
        free_bytes=None if folder is None else _free_bytes(folder),
    )


def _mailboxes(now: Generation) -> dict[str, int]:
    return {name: waiting_mail(getattr(now, name)) for name in Generation.__struct_fields__}


def _free_bytes(folder: str) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def check_ready(switchboard: Switchboard, check_free_space: Callable[[int], None]) -> list[str]:
    """Check that the queue takes tasks and reads its disk. Returns what keeps tasks from running.

    Raises `Unavailable` with the reason.
    """
    now = switchboard.current()
    check_free_space(0)
    try:
        ask(now.scheduler, CheckCapacity(1, 1), PATIENCE_S)
        ask(now.persistence, CountTasks(), PATIENCE_S)
        state = ask(now.scheduler, Describe(), PATIENCE_S)
    except QueueError as error:
        raise Unavailable(f"not ready: {error.message}", retry_after_s=1) from None
    warnings = []
    if state.paused:
        warnings.append("the queue is paused: no task is started")
    if not any(each.healthy and not each.drained for each in state.backends):
        warnings.append("no model server is available: tasks wait")
    return warnings


def done_by(pool: Pool, work: Callable[[], T]) -> T:
    """Do it in the pool's thread, and wait for it. Raises `Unavailable` if it fails."""
    future: Future[T] = Future()

    def done(result: T | None, error: str | None) -> None:
        if error is None:
            future.set(result)  # type: ignore[arg-type]  # a result, as there is no error
        else:
            future.break_with(Unavailable(error))

    pool.submit(work, done)
    return future.get(None)
