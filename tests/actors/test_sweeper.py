"""The Sweeper: when it looks, what it has deleted, and that it goes on until nothing is left."""

from datetime import timedelta
from typing import Any

import pytest

from ollama_queue.actors.core.config.config import QueueSettings
from ollama_queue.actors.core.messages import (
    Delete,
    DeleteFile,
    Expired,
    ExpiredFiles,
    FindEndedDeliveries,
    FindExpired,
    FindExpiredFiles,
    FindForgottenBatches,
    Swept,
    Wake,
)
from ollama_queue.actors.core.model.errors import Conflict, Unavailable
from ollama_queue.actors.core.plan.settle import utc
from ollama_queue.actors.sweeper import FIRST_S, Sweeper
from tests.support.recorders import START, Recorder, task_id

SETTINGS = QueueSettings(cleanup_interval=60.0, max_completed_tasks=7, retention=3600.0)
DELETES = tuple(Delete(task_id(number), number) for number in (1, 2))
MORE = FindExpired(7, None, after="x", passed=1)


class SweeperHarness:
    """A Sweeper that is not started: `handle` is called by hand."""

    def __init__(self, settings: QueueSettings = SETTINGS, known: float | None = None) -> None:
        self.now, self.lead = START.timestamp(), 0.0
        self.scheduler, self.persistence = Recorder(), Recorder()
        self.sweeper = Sweeper(
            lambda text: None,
            settings=settings,
            scheduler=self.scheduler,  # type: ignore[arg-type]
            persistence=self.persistence,  # type: ignore[arg-type]
            known=self.now if known is None else known,
            clock=lambda: self.now - self.lead,
            wall=lambda: self.now,
        )
        self.due: list[float | None] = []
        self.sweeper.wake_at = self.due.append  # type: ignore[method-assign]
        self.sweeper.on_start()

    def set_clock(self, step: float) -> None:
        """The wall clock jumps, no time passes."""
        self.now += step
        self.lead += step

    def wake(self, after: float) -> None:
        self.now += after
        self.sweeper.handle(Wake())

    def handle(self, *messages: Any) -> None:
        for message in messages:
            self.sweeper.handle(message)

    def mail(self) -> Any:
        """What has come back to it."""
        return self.sweeper.actor_inbox.get().message

    @property
    def looks(self) -> list[FindExpired]:
        return [told for told in self.persistence.told if isinstance(told, FindExpired)]

    @property
    def deleted(self) -> list[Delete]:
        return self.scheduler.told


def test_it_looks_soon_after_the_start_and_then_by_the_interval() -> None:
    desk = SweeperHarness()
    assert desk.due == [desk.now + FIRST_S]

    desk.wake(FIRST_S - 1)  # a nap is never longer than 10 s: it may be woken for nothing
    assert desk.looks == []
    desk.wake(1)
    assert desk.looks == [FindExpired(7, utc(desk.now) - timedelta(hours=1))]

    desk.handle(Expired((), None))
    assert desk.due[-1] == desk.now + 60
    desk.wake(60)
    assert len(desk.looks) == 2


def test_a_short_interval_is_also_the_first() -> None:
    desk = SweeperHarness(QueueSettings(cleanup_interval=0.5))
    assert desk.due == [desk.now + 0.5]


def test_without_an_age_only_the_number_counts() -> None:
    desk = SweeperHarness(QueueSettings(retention=None))
    desk.wake(FIRST_S)
    assert desk.looks == [FindExpired(100_000, None)]


def test_the_next_slice_follows_when_this_one_is_answered() -> None:
    desk = SweeperHarness()
    desk.wake(FIRST_S)
    desk.handle(Expired(DELETES, MORE))
    assert desk.deleted == list(DELETES)

    desk.handle(Swept(task_id(2)))
    assert len(desk.looks) == 1
    desk.handle(Swept(task_id(1)))
    assert desk.looks[1:] == [MORE]

    desk.handle(Expired((), MORE))  # all of a slice may be of a live batch
    assert desk.looks[2:] == [MORE]
    desk.handle(Expired((), None), Swept(task_id(1)))
    assert len(desk.looks) == 3
    assert desk.due[-1] == desk.now + 60


def test_it_does_not_look_twice_at_once() -> None:
    desk = SweeperHarness()
    desk.wake(FIRST_S)
    desk.wake(100)
    assert len(desk.looks) == 1


@pytest.mark.parametrize("reply", ["gone", Conflict("it runs again")])
def test_whatever_the_scheduler_says_is_an_answer(reply: Any) -> None:
    desk = SweeperHarness()
    desk.handle(Expired(DELETES[:1], None))
    promise = desk.scheduler.mail[0].reply_to
    assert promise is not None

    if isinstance(reply, Conflict):
        promise.break_with(reply)
    else:
        promise.set(reply)

    assert desk.mail() == Swept(task_id(1))


def test_a_queue_that_stops_has_nothing_to_sweep() -> None:
    desk = SweeperHarness()
    desk.wake(FIRST_S)
    promise = desk.persistence.mail[0].reply_to
    assert promise is not None

    promise.break_with(Unavailable("the queue is stopped"))

    assert desk.mail() == Expired((), None)


def test_it_deletes_files_whose_time_has_passed() -> None:
    house = SweeperHarness()
    house.wake(FIRST_S)
    house.handle(ExpiredFiles(("a", "b")))

    _, search, batches, deliveries, *deletes = house.persistence.told
    assert isinstance(batches, FindForgottenBatches)
    assert isinstance(deliveries, FindEndedDeliveries)
    assert search == FindExpiredFiles(utc(house.now))
    assert deletes == [DeleteFile("a"), DeleteFile("b")]
