"""Converts stored records to the tasks, events and pages that users see."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from ollama_queue import __version__

from ..base.cooperation import YieldControl, cooperatively, never_yield
from ..core.messages.replies import Page, StoredTask
from ..core.model import limits
from ..core.model.errors import cut
from ..core.model.events import EventRecord
from ..core.model.stats import Counts, PlanState, QueueStats, Waiting
from ..core.model.task_filter import TaskFilter, TaskPage
from ..core.model.tasks import (
    Event,
    Priority,
    Record,
    Spec,
    Status,
    Task,
    briefly,
)

_FACTS = tuple(name for name in Record.__struct_fields__ if name in Task.__struct_fields__)
_decode_spec = msgspec.json.Decoder(Spec).decode


def listed(record: Record, waiting: Waiting | None) -> Task:
    """A task as in lists and events: without payload and result, and limited in size."""
    return _facts_of(brief(record), waiting)


def brief(record: Record) -> Record:
    """Limit a record's size: keep the first and the newest attempts, and shorten long texts.

    A store written before there were limits may have larger tags and names.
    """
    attempts = record.attempts
    if len(attempts) > limits.LISTED_ATTEMPTS:
        attempts = [attempts[0], *attempts[1 - limits.LISTED_ATTEMPTS :]]
    if attempts:
        record = replace(record, attempts=[briefly(each) for each in attempts])
    if _is_within(record):
        return record
    return replace(
        record,
        model=cut(record.model, limits.NAME),
        tenant=record.tenant and cut(record.tenant, limits.NAME),
        backend=record.backend and cut(record.backend, limits.NAME),
        error=record.error and cut(record.error, limits.ERROR),
        tags=[cut(tag, limits.TAG) for tag in record.tags[: limits.TAGS]],
    )


def _facts_of(record: Record, waiting: Waiting | None) -> Task:
    facts: dict[str, Any] = {name: getattr(record, name) for name in _FACTS}
    facts["model_used"] = record.model_used
    if waiting is not None and record.status is Status.PENDING:
        facts |= msgspec.structs.asdict(waiting)
    return Task(**facts)


def _is_within(record: Record) -> bool:
    """Whether all fields are within today's limits."""
    tags = record.tags
    return (
        len(record.model) <= limits.NAME
        and (record.tenant is None or len(record.tenant) <= limits.NAME)
        and (record.backend is None or len(record.backend) <= limits.NAME)
        and (record.error is None or len(record.error) <= limits.ERROR)
        and (not tags or (len(tags) <= limits.TAGS and max(map(len, tags)) <= limits.TAG))
    )


def shown(event: EventRecord | Event) -> Event:
    """An event as subscribers see it: its task as in lists."""
    if isinstance(event, Event):  # from a server, which has converted it
        return event
    facts = msgspec.structs.asdict(event)
    del facts["tenant"]
    facts["task"] = None if event.task is None else listed(event.task, None)
    return Event(**facts)


def whole(
    stored: StoredTask,
    waiting: Waiting | None,
    read_result: Callable[[bytes], Any] = msgspec.json.decode,
) -> Task:
    """A complete task, with payload and result."""
    task = _facts_of(stored.record, waiting)
    return _with_parts(task, stored.spec, stored.result, read_result)


def page(
    stored: Page,
    waiting: Mapping[str, Waiting],
    task_filter: TaskFilter,
    yield_control: YieldControl = never_yield,
    read_result: Callable[[bytes], Any] = msgspec.json.decode,
) -> TaskPage:
    """A page of a list, with the parts of tasks that the filter includes.

    With a `waiting_for` filter, leaves out tasks whose reason has changed since they were read.
    """
    tasks = []
    for record in cooperatively(stored.records, yield_control):
        task = listed(record, waiting.get(record.id))
        if task_filter.waiting_for and task.waiting_for not in task_filter.waiting_for:
            continue
        parts = stored.specs.get(task.id), stored.results.get(task.id)
        tasks.append(_with_parts(task, *parts, read_result))
    return TaskPage(tasks, stored.cursor, stored.total)


def _with_parts(
    task: Task,
    spec: bytes | None,
    result: bytes | None,
    read_result: Callable[[bytes], Any] = msgspec.json.decode,
) -> Task:
    parts: dict[str, Any] = {}
    if spec is not None:
        parts |= msgspec.structs.asdict(_decode_spec(spec))
    if result is not None:
        parts["result"] = read_result(result)
    return replace(task, **parts) if parts else task


def stats(
    counts: Counts,
    state: PlanState,
    throughput: float,
    now: float,
    uptime_s: float,
    hub_gap_ms: float | None = None,
) -> QueueStats:
    """The queue's state: counts from the store, slots and reasons from the plan."""
    totals = {status: counts.total(status) for status in Status}
    levels = counts.by_status.get(Status.PENDING, {})
    named = {str(int(level)): 0 for level in Priority}
    return QueueStats(
        pending_tasks=totals[Status.PENDING],
        running_tasks=totals[Status.RUNNING],
        completed_tasks=totals[Status.COMPLETED],
        failed_tasks=totals[Status.FAILED],
        cancelled_tasks=totals[Status.CANCELLED],
        total_tasks=sum(totals.values()),
        queues_by_priority=named | {str(level): n for level, n in levels.items() if n},
        waiting_for=state.waiting_for,
        unserved=state.unserved,
        scheduled=state.scheduled,
        oldest_wait_s=None if state.oldest is None else round(max(0.0, now - state.oldest), 3),
        throughput=throughput,
        workers_active=state.active,
        workers_idle=state.idle,
        paused=state.paused,
        backends=state.backends,
        uptime_s=round(uptime_s, 3),
        version=__version__,
        hub_gap_ms=hub_gap_ms,
        read_only=state.read_only,
    )
