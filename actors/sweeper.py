"""Retention: deletes the oldest finished tasks, in slices that hardly delay other work, and files
whose time has passed, and the records of batches from files that have no tasks left.

A wrong clock may make all of them look old, and deletion cannot be undone. So the wall clock counts
only as far as a steady clock agrees, since the previous sweep or since the newest task of the last
run: someone who sets the clock forward has a `cleanup_interval` to correct it.
"""

import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import assert_never

from .base.actor import Actor, Ref, tell
from .base.cooperation import YieldControl, never_yield
from .core.config.config import QueueSettings
from .core.messages import (
    Commit,
    Delete,
    DeleteFile,
    EndedDeliveries,
    Expired,
    ExpiredFiles,
    FindEndedDeliveries,
    FindExpired,
    FindExpiredFiles,
    FindForgottenBatches,
    ForgottenBatches,
    Swept,
    Wake,
)
from .core.messages.sweeper import ToSweeper
from .core.model.orders import DropBatch, DropDelivery
from .core.plan.settle import utc

KEPT_DELIVERIES = 10_000  # that have ended
SLICE = 200  # deliveries deleted in one go
FIRST_S = 2.0  # after a start, which is busy enough


class Sweeper(Actor):
    """Knows when to sweep. Persistence finds what has expired, and deletes files; the Scheduler
    deletes tasks."""

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        yield_control: YieldControl = never_yield,
        settings: QueueSettings,
        scheduler: Ref,
        persistence: Ref,
        known: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`known`: a time known to have passed, in seconds since 1970."""
        super().__init__(report, yield_control, clock)
        self.settings, self.scheduler, self.persistence = settings, scheduler, persistence
        self.wall = wall
        self.known, self.known_at = known, clock()
        self.due: float | None = None  # None while it sweeps
        self.left: set[str] = set()  # ids whose deletion is not answered yet
        self.rest: FindExpired | None = None

    def on_start(self) -> None:
        self.rest_for(min(FIRST_S, self.settings.cleanup_interval))

    def handle(self, message: ToSweeper) -> None:
        match message:
            case Wake():
                self.wake()
            case Expired(deletes, rest):
                self.sweep(deletes, rest)
            case Swept(task_id):
                self.left.discard(task_id)
                self.go_on()
            case ExpiredFiles(file_ids):
                for file_id in file_ids:
                    tell(self.persistence, DeleteFile(file_id))
            case ForgottenBatches(batch_ids):
                if batch_ids:
                    drops = tuple(DropBatch(batch_id) for batch_id in batch_ids)
                    tell(self.persistence, Commit(drops, utc(self.wall()), None))
            case EndedDeliveries(delivery_ids):
                self.drop_deliveries(delivery_ids)
            case _:
                assert_never(message)

    def wake(self) -> None:
        if self.due is None:
            return
        if self.clock() < self.due:
            self.wake_at(self.due)
            return
        age, now = self.settings.retention, self.trusted()
        before = None if age is None else utc(max(now - age, 0.0))
        self.due, self.rest = None, FindExpired(self.settings.max_completed_tasks, before)
        self.go_on()
        self.send_for(self.persistence, FindExpiredFiles(utc(now)), _files_or_none)
        if before is not None:
            self.send_for(self.persistence, FindForgottenBatches(before), _batches_or_none)
        self.find_deliveries(before)

    def find_deliveries(self, before: datetime | None) -> None:
        self.deliveries_before = before or utc(0.0)
        command = FindEndedDeliveries(self.deliveries_before, KEPT_DELIVERIES, SLICE)
        self.send_for(self.persistence, command, _deliveries_or_none)

    def drop_deliveries(self, delivery_ids: tuple[str, ...]) -> None:
        if delivery_ids:
            drops = tuple(map(DropDelivery, delivery_ids))
            tell(self.persistence, Commit(drops, utc(self.wall()), None))
        if len(delivery_ids) == SLICE:
            self.find_deliveries(self.deliveries_before)

    def trusted(self) -> float:
        """The time, as far as both clocks agree since the previous call."""
        wall, steady = self.wall(), self.clock()
        now = min(wall, self.known + steady - self.known_at)
        self.known, self.known_at = wall, steady
        return now

    def sweep(self, deletes: tuple[Delete, ...], rest: FindExpired | None) -> None:
        self.left, self.rest = {delete.task_id for delete in deletes}, rest
        for delete in deletes:
            self.send_for(self.scheduler, delete, partial(_swept, delete.task_id))
        self.go_on()

    def go_on(self) -> None:
        """Request the next slice once this one is deleted; rest after the last."""
        if self.left or self.due is not None:
            return
        if self.rest is None:
            self.rest_for(self.settings.cleanup_interval)
            return
        look, self.rest = self.rest, None
        self.send_for(self.persistence, look, _or_nothing)

    def rest_for(self, seconds: float) -> None:
        self.due = self.clock() + seconds
        self.wake_at(self.due)


def _swept(task_id: str, _: object) -> Swept:
    """Count a deletion as done, whatever the reply."""
    return Swept(task_id)


def _files_or_none(reply: object) -> ExpiredFiles:
    """The files found; none if the queue is stopping."""
    return ExpiredFiles(reply if isinstance(reply, tuple) else ())


def _batches_or_none(reply: object) -> ForgottenBatches:
    """The batches found; none if the queue is stopping."""
    return ForgottenBatches(reply if isinstance(reply, tuple) else ())


def _deliveries_or_none(reply: object) -> EndedDeliveries:
    """The deliveries found; none if the queue is stopping."""
    return EndedDeliveries(reply if isinstance(reply, tuple) else ())


def _or_nothing(reply: object) -> Expired:
    """The tasks found; none if the queue is stopping."""
    return reply if isinstance(reply, Expired) else Expired((), None)
