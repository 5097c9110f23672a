"""When the ticker has tasks submitted, and what it does with what it is asked."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from ollama_queue import Invalid, Missed, NotFound, TaskType
from ollama_queue.actors.base.actor import start, stop, tell
from ollama_queue.actors.core.messages import (
    CronFired,
    EnableCron,
    GetCron,
    ListCrons,
    RemoveCron,
    RunNow,
    UpdateCron,
)
from ollama_queue.actors.core.model.orders import DropCron, SaveCron
from ollama_queue.actors.cron_ticker import CronTicker
from tests.support.harness.cron_ticker import CronTickerHarness, a_cron
from tests.support.recorders import PATIENCE_S, START, Recorder, asked

# START is 03:04:05.
FIRST, SECOND, THIRD = (datetime(2026, 1, 2, 3, minute, tzinfo=UTC) for minute in (5, 6, 7))


def test_a_new_cron_is_saved_with_its_next_run() -> None:
    tower = CronTickerHarness()

    cron = tower.add(name="Daily", metadata={"team": "a"})

    assert (cron.name, cron.metadata, cron.next_run) == ("Daily", {"team": "a"}, FIRST)
    assert (cron.run_count, cron.last_run, cron.created_at) == (0, None, START)
    assert tower.commits[-1].saves == (SaveCron(cron, "cron_changed"),)
    assert tower.due[-1] == FIRST.timestamp()


def test_a_disabled_one_waits_for_nothing() -> None:
    tower = CronTickerHarness()

    assert tower.add(enabled=False).next_run is None
    assert tower.due[-1] is None
    tower.at(3600)
    assert tower.submits == []


def test_a_due_cron_is_submitted_once_with_its_next_run_already_set() -> None:
    tower = CronTickerHarness()
    cron = tower.add(task_template={"type": "embed", "model": "m", "input": "x", "priority": 9})

    tower.at(54.9)
    assert tower.submits == []
    tower.at(55)
    tower.at(56)

    (submit,) = tower.submits
    assert (submit.new.type, submit.new.priority) == (TaskType.EMBED, 9)
    assert submit.new.metadata == {"cron_name": "Again", "cron_run_count": 1}
    assert msgspec.json.decode(submit.spec)["payload"] == {"input": "x"}
    (fire,) = tower.fires
    assert fire.cron == msgspec.structs.replace(cron, next_run=SECOND)
    assert not fire.by_hand


def test_it_counts_its_runs_and_goes_on() -> None:
    tower = CronTickerHarness()
    tower.add()

    for minute in range(3):
        tower.at(55 + 60 * minute)
        cron = tower.ran()
        assert tower.due[-1] == cron.next_run.timestamp()

    assert [s.new.metadata["cron_run_count"] for s in tower.submits] == [1, 2, 3]
    assert cron.run_count == 3


def test_what_is_due_while_the_scheduler_has_it_comes_right_after() -> None:
    tower = CronTickerHarness()
    tower.add()
    tower.at(55)
    tower.at(115)
    assert len(tower.submits) == 1

    tower.ran()

    assert [fire.cron.next_run for fire in tower.fires] == [SECOND, THIRD]


def test_a_clock_that_goes_back_runs_nothing_twice() -> None:
    tower = CronTickerHarness()
    cron = tower.add()
    tower.at(55)
    tower.ran()

    tower.at(-600)
    tower.handle(UpdateCron(cron.id, {"cron_expr": "*/1 * * * *"}))

    assert tower.saved.next_run == SECOND
    assert len(tower.submits) == 1


# --- missed runs ----------------------------------------------------------------------------------


def test_a_run_that_is_a_little_late_is_made() -> None:
    tower = CronTickerHarness(a_cron(next_run=START - timedelta(seconds=60)))

    assert tower.fires[0].cron.next_run == FIRST
    assert tower.commits == []


def test_missed_runs_are_skipped() -> None:
    tower = CronTickerHarness(a_cron(next_run=START - timedelta(hours=3)))

    assert tower.submits == []
    (save,) = tower.commits[0].saves
    assert (save.event, save.cron.next_run, save.cron.run_count) == ("cron_skipped", FIRST, 0)
    assert save.reason == "the queue was not running at 2026-01-02T00:04:05Z, when it was due"
    assert tower.due == [FIRST.timestamp()]


def test_or_made_up_for_by_one() -> None:
    tower = CronTickerHarness(a_cron(next_run=START - timedelta(hours=3), missed=Missed.ONCE))
    tower.ran()

    assert [fire.cron.next_run for fire in tower.fires] == [FIRST]
    assert tower.commits == []


# --- commands -------------------------------------------------------------------------------------


def test_an_update_changes_what_was_given_and_counts_anew_from_now() -> None:
    tower = CronTickerHarness()
    cron = tower.add()
    tower.now += timedelta(seconds=10)

    tower.handle(UpdateCron(cron.id, {"name": "B", "task_template": {"priority": "high"}}))
    assert (tower.saved.name, tower.saved.next_run) == ("B", FIRST)
    assert tower.saved.task_template.priority == 10
    assert tower.saved.updated_at == tower.now
    tower.handle(UpdateCron(cron.id, {"cron_expr": "0 9 * * *", "timezone": "Europe/Berlin"}))
    assert tower.saved.next_run == datetime(2026, 1, 2, 8, tzinfo=UTC)
    assert tower.due[-1] == tower.saved.next_run.timestamp()


def test_a_wrong_update_changes_nothing() -> None:
    tower = CronTickerHarness()
    cron = tower.add()

    with pytest.raises(Invalid, match="minute '99'"):
        tower.handle(UpdateCron(cron.id, {"name": "B", "cron_expr": "99 * * * *"}))

    tower.handle(GetCron(cron.id))
    assert tower.saved == cron


def test_disabled_and_enabled_again() -> None:
    tower = CronTickerHarness()
    cron = tower.add()

    tower.handle(EnableCron(cron.id, False))
    assert (tower.saved.enabled, tower.saved.next_run) == (False, None)
    tower.at(200)
    tower.handle(EnableCron(cron.id, True))

    assert tower.saved.next_run == datetime(2026, 1, 2, 3, 8, tzinfo=UTC)
    assert tower.submits == []


def test_a_removed_one_is_gone() -> None:
    tower = CronTickerHarness()
    cron = tower.add()

    tower.handle(RemoveCron(cron.id))

    assert tower.commits[-1].saves == (DropCron(cron.id),)
    assert tower.saved == cron
    tower.at(100)
    assert tower.submits == []
    with pytest.raises(NotFound, match="there is no cron"):
        tower.handle(GetCron(cron.id))


def test_reads_are_answered_behind_all_saves() -> None:
    tower = CronTickerHarness()
    first = tower.add()
    tower.now += timedelta(seconds=1)
    second = tower.add()

    tower.handle(ListCrons())

    assert (tower.commits[-1].saves, tower.commits[-1].reply) == ((), [first, second])


def test_a_run_by_hand_leaves_the_schedule_alone() -> None:
    tower = CronTickerHarness()
    cron = tower.add(enabled=False)

    tower.handle(RunNow(cron.id))

    fire = tower.fires[0]
    assert (fire.cron, fire.by_hand) == (cron, True)


def test_commands_wait_while_the_scheduler_has_the_cron() -> None:
    """Or what it saves of the run would be lost again, or come back after a removal."""
    tower = CronTickerHarness()
    cron, other = tower.add(), tower.add(cron_expr="0 0 * * *")
    tower.at(55)
    saves = len(tower.commits)

    tower.handle(EnableCron(cron.id, False))
    tower.handle(RemoveCron(cron.id))
    assert len(tower.commits) == saves
    tower.handle(EnableCron(other.id, False))
    assert len(tower.commits) == saves + 1
    tower.ran()

    waited = tower.mail
    assert waited == [EnableCron(cron.id, False), RemoveCron(cron.id)]
    tower.handle(waited[0])
    assert (tower.saved.enabled, tower.saved.run_count) == (False, 1)


def test_a_stale_fact_changes_nothing() -> None:
    tower = CronTickerHarness()
    tower.handle(CronFired(a_cron()))
    assert tower.ticker.crons == {}


@pytest.mark.parametrize(
    "message",
    [
        GetCron("x"),
        RunNow("x"),
        RemoveCron("x"),
        EnableCron("x", True),
        UpdateCron("x", {}),
    ],
)
def test_an_unknown_id_is_not_found(message: object) -> None:
    with pytest.raises(NotFound):
        CronTickerHarness().handle(message)


# --- started --------------------------------------------------------------------------------------


def test_it_wakes_by_itself_when_the_time_has_come() -> None:
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    scheduler = Recorder()
    ref = start(
        CronTicker,
        print,
        crons=[a_cron(next_run=due)],
        scheduler=scheduler,
        persistence=Recorder(),
    )
    try:
        scheduler.wait_for(object)
        late = (datetime.now(UTC) - due).total_seconds()
        assert 0 <= late < 1
    finally:
        stop(ref, PATIENCE_S)


def test_an_error_answers_whoever_waited() -> None:
    scheduler = Recorder()
    ref = start(
        CronTicker,
        print,
        crons=[a_cron()],
        scheduler=scheduler,
        persistence=Recorder(answer=lambda message: message.reply),
    )
    try:
        asked(ref, RunNow("cron 1"))
        removal, update = asked(ref, RemoveCron("cron 1")), asked(ref, UpdateCron("cron 1", {}))
        (fire,) = scheduler.wait_for(object)
        tell(ref, CronFired(fire.cron))
        assert removal.get(PATIENCE_S) == fire.cron
        with pytest.raises(NotFound):
            update.get(PATIENCE_S)
    finally:
        stop(ref, PATIENCE_S)
