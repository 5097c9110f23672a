"""Waits for tasks to end, with a status line on a terminal; Ctrl-C ends only the waiting."""

import math
import shutil
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from ...actors.core.model.errors import Conflict, QueueError, Unavailable
from ...actors.routines.outage import OUTAGE_PATIENCE_S
from .output import starts_in
from .session import Session, one_line

if TYPE_CHECKING:
    from ...actors.api.queue_api import QueueAPI
    from ...actors.core.model.tasks import Task

LOOK_S = 1.0  # between two looks, when there is a line to draw or another task to look at
LONG_S = 30.0


class Interrupted(click.ClickException):
    """Ctrl-C while waiting: only the waiting ends."""

    exit_code = 130

    def __init__(self, task_ids: Sequence[str]) -> None:
        ids = " ".join(task_ids)
        still = f"task {ids} continues" if len(task_ids) == 1 else f"{len(task_ids)} tasks continue"
        super().__init__(
            f"Interrupted; {still}. Status: ollama-queue status {task_ids[0]}. "
            f"Cancel: ollama-queue cancel {ids}"
        )


def endings(
    session: Session, queue: "QueueAPI", task_ids: Sequence[str], timeout: float | None = None
) -> "Iterator[Task | QueueError]":
    """Yield each task as it ends, or the error that prevents waiting for it."""
    waiting = list(dict.fromkeys(task_ids))
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    line, look = StatusLine(session.shows_progress), _TaskPoller(queue)
    patience = 0.0  # look at all of them first
    try:
        while waiting:
            for task_id in tuple(waiting):
                seen = look(task_id, patience)
                patience = 0.0
                if seen is None or not (isinstance(seen, QueueError) or seen.status.is_final):
                    line.show(
                        "waiting: the server is unreachable" if seen is None else progress(seen)
                    )
                    continue
                waiting.remove(task_id)
                line.clear()
                yield seen
            patience = LOOK_S if line.is_on or len(waiting) > 1 else LONG_S
            patience = min(patience, deadline - time.monotonic())
            if patience <= 0:
                break
    except KeyboardInterrupt:
        raise Interrupted(waiting) from None
    finally:
        line.clear()
    for task_id in waiting:
        yield Conflict(f"task {task_id} has not ended within {timeout:.15g} s; it continues")


def progress(task: "Task") -> str:
    """The status line of a task that has not ended."""
    now = datetime.now(UTC)
    if task.started_at is not None and task.status == "running":
        seconds = max(0, int((now - task.started_at).total_seconds()))
        return f"running on {task.executed_on}, {seconds} s"
    match task.waiting_for:
        case "schedule":
            return f"waiting: scheduled for {task.scheduled_at:%Y-%m-%d %H:%M:%SZ}"
        case "retry":
            return f"waiting: retry after: {task.error}"
        case "backend":
            return "waiting: no model server is available"
        case "paused":
            return "waiting: the queue is paused"
        case _:
            place = f"position {task.position}" if task.position else "next"
            return ", ".join(filter(None, (f"waiting: {place}", starts_in(task))))


class StatusLine:
    """One line on stderr that is overwritten and finally cleared."""

    def __init__(self, is_on: bool) -> None:
        self.is_on = is_on
        self._is_drawn = False

    def show(self, text: str) -> None:
        if self.is_on:
            width = shutil.get_terminal_size().columns - 1
            click.echo(f"\r\x1b[K{one_line(text)[:width]}", err=True, nl=False)
            self._is_drawn = True

    def clear(self) -> None:
        if self._is_drawn:
            click.echo("\r\x1b[K", err=True, nl=False)
            self._is_drawn = False


class _TaskPoller:
    """Polls tasks; after the first success it tolerates a restart of the server."""

    def __init__(self, queue: "QueueAPI") -> None:
        self.queue = queue
        self.seen_at: float | None = None

    def __call__(self, task_id: str, wait: float) -> "Task | QueueError | None":
        """The task or an error; None while the server is unreachable."""
        try:
            task = self.queue.get_task(task_id, wait=wait or None)
        except Unavailable as error:
            if self.seen_at is None or time.monotonic() - self.seen_at > OUTAGE_PATIENCE_S:
                return error
            time.sleep(0.5)
            return None
        except QueueError as error:
            return error
        self.seen_at = time.monotonic()
        return task
