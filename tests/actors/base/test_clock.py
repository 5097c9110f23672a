"""Actors whose wall clock is set by hand, beside a steady one."""

from datetime import datetime, timedelta

import pytest

from ollama_queue.actors.base.clock import Clock
from ollama_queue.actors.core.config.config import QueueSettings
from ollama_queue.actors.core.messages import Describe, Expired, FindExpired, GetWaitReasons
from ollama_queue.actors.core.model.orders import Insert
from ollama_queue.actors.core.model.outcomes import Failed, Verdict
from ollama_queue.actors.core.model.tasks import WaitingFor
from ollama_queue.actors.core.plan.explain import explain
from ollama_queue.actors.core.plan.settle import utc
from ollama_queue.actors.sweeper import FIRST_S
from tests.actors.test_sweeper import SweeperHarness
from tests.support.harness.cron_ticker import CronTickerHarness, a_cron
from tests.support.harness.scheduler import SchedulerHarness
from tests.support.recorders import START

HOUR, DAY = 3600.0, 86400.0


class Hands:
    """A wall clock and a steady one, in seconds."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_700_000_000.0, 50.0
        self.clock = Clock(lambda: self.wall, lambda: self.steady)

    def go_on(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


# --- the clock itself ---------------------------------------------------------------------------


@pytest.mark.parametrize("step", [-365 * DAY, -1.0, 1.0, 2 * HOUR])
def test_it_tells_once_by_how_much_it_was_set(step: float) -> None:
    hands = Hands()
    hands.go_on(9)
    assert hands.clock.step() == 0
    hands.wall += step
    hands.go_on(1)

    assert hands.clock.step() == step
    hands.go_on(1000)
    assert (hands.clock.step(), hands.clock.now()) == (0, hands.wall)


def test_it_does_not_tell_of_less_than_a_second() -> None:
    hands = Hands()
    for _ in range(3):
        hands.wall += 0.3
        assert hands.clock.step() == 0

    hands.wall += 0.3
    assert hands.clock.step() == pytest.approx(1.2)


# --- the scheduler ------------------------------------------------------------------------------


def accepted(office: SchedulerHarness) -> Insert:
    return next(save for save in office.commits[-1].saves if isinstance(save, Insert))


def waits_for(office: SchedulerHarness, task_id: str) -> WaitingFor:
    return explain(office.scheduler.plan, [task_id], office.now)[task_id].waiting_for


@pytest.mark.parametrize("ahead", [2 * HOUR, 365 * DAY])
def test_in_an_hour_is_in_an_hour_after_a_clock_that_was_ahead(ahead: float) -> None:
    office = SchedulerHarness(slots=2)
    office.set_clock(ahead)
    before = office.submit()
    office.set_clock(-ahead)

    after = office.submit(scheduled_at=utc(office.now + HOUR))

    assert after > before
    assert waits_for(office, after) is WaitingFor.SCHEDULE
    assert accepted(office).record.created_at == utc(office.now)
    assert office.due[-1] == office.now + HOUR


def test_a_queue_that_starts_behind_its_newest_task_tells_the_time_right() -> None:
    office = SchedulerHarness(last_us=int((START.timestamp() + 365 * DAY) * 1e6))

    task_id = office.submit()

    assert accepted(office).record.created_at == START
    assert office.submit() > task_id


def test_a_retry_of_a_second_is_one_whatever_the_clock_does() -> None:
    office = SchedulerHarness()
    task = office.submit()
    office.finish(task, Failed("cut", Verdict.CUT))
    assert office.due[-1] is not None and office.due[-1] <= office.now + 1

    office.set_clock(-HOUR)
    office.handle(Describe())

    assert office.due[-1] is not None and office.due[-1] <= office.now + 1
    assert waits_for(office, task) is WaitingFor.RETRY


def test_why_tasks_wait_goes_by_the_clock_as_it_is() -> None:
    office = SchedulerHarness()
    office.set_clock(HOUR)

    assert office.handle(GetWaitReasons()).at == office.now


# --- crons --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [timedelta(hours=2), timedelta(days=365)])
def test_crons_run_on_when_a_clock_that_was_ahead_is_put_right(ahead: timedelta) -> None:
    tower = CronTickerHarness(now=START + ahead)
    cron = tower.add()
    assert cron.next_run is not None and cron.next_run > START + ahead

    tower.at(0)

    assert tower.saved.next_run == next_minute(START)
    tower.at(60)
    assert len(tower.submits) == 1


def test_a_start_puts_right_what_a_wrong_clock_had_left() -> None:
    tower = CronTickerHarness(a_cron(1, START + timedelta(days=365)), a_cron(2, next_minute(START)))

    assert [commit.reply.id for commit in tower.commits] == ["cron 1"]
    assert tower.saved.next_run == next_minute(START)


def test_one_that_is_with_the_scheduler_meanwhile_is_put_right_after() -> None:
    ahead = START + timedelta(days=365)
    tower = CronTickerHarness(a_cron(1, next_minute(START)), now=START)
    tower.now = ahead
    tower.at(ahead.timestamp() - START.timestamp())
    if not tower.submits:  # it was missed, and is due again in a minute
        tower.at(ahead.timestamp() - START.timestamp() + 60)
    assert tower.submits

    tower.at(0)
    tower.ran()

    assert tower.saved.next_run == next_minute(START)


def next_minute(at: datetime) -> datetime:
    return at.replace(second=0) + timedelta(minutes=1)


# --- retention ----------------------------------------------------------------------------------


def looked_from(desk: SweeperHarness) -> datetime:
    look = desk.looks[-1]
    assert look.before is not None
    desk.handle(Expired((), None))
    return look.before


def test_a_clock_that_jumps_is_trusted_after_an_interval() -> None:
    desk = SweeperHarness(QueueSettings(cleanup_interval=60.0, retention=3600.0))
    desk.wake(FIRST_S)
    assert looked_from(desk) == START + timedelta(seconds=FIRST_S) - timedelta(hours=1)

    desk.set_clock(30 * DAY)
    desk.wake(60)
    assert looked_from(desk) == START + timedelta(seconds=FIRST_S + 60) - timedelta(hours=1)
    desk.wake(60)
    assert looked_from(desk) == START + timedelta(days=30, seconds=FIRST_S + 120, hours=-1)


def test_or_never_if_it_is_put_right_before() -> None:
    desk = SweeperHarness(QueueSettings(cleanup_interval=60.0, retention=3600.0))
    desk.wake(FIRST_S)
    looked_from(desk)

    desk.set_clock(30 * DAY)
    desk.wake(60)
    assert looked_from(desk) < START
    desk.set_clock(-30 * DAY)
    desk.wake(60)
    assert looked_from(desk) < START


def test_at_a_start_the_newest_task_says_how_late_it_is() -> None:
    desk = SweeperHarness(
        QueueSettings(cleanup_interval=60.0, retention=3600.0), known=START.timestamp() - 30 * DAY
    )
    desk.wake(FIRST_S)

    assert looked_from(desk) == START - timedelta(days=30, hours=1, seconds=-FIRST_S)


def test_an_empty_store_has_no_task_that_is_old() -> None:
    desk = SweeperHarness(known=0.0)
    desk.wake(FIRST_S)

    assert desk.looks == [FindExpired(7, utc(0))]
