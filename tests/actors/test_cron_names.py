"""A cron that is added again under its name, as by a program that starts for the second time."""

import pytest

from ollama_queue import Conflict, Invalid
from ollama_queue.actors.core.intake.arguments import if_exists
from ollama_queue.actors.core.messages import AddCron, CronFired, EnableCron, RemoveCron, RunNow
from ollama_queue.actors.core.model.crons import CronAdded
from ollama_queue.actors.core.model.orders import SaveCron
from tests.support.harness.cron_ticker import TEMPLATE, CronTickerHarness


def test_usually_it_is_another_one() -> None:
    tower = CronTickerHarness()
    assert tower.add().id != tower.add().id
    assert len(tower.ticker.crons) == 2


@pytest.mark.parametrize("what", ["update", "keep", "error"])
def test_a_name_that_is_new_is_added(what: str) -> None:
    tower = CronTickerHarness()
    tower.add(name="Other")

    cron = tower.add(if_exists(what), name="Again")

    assert (len(tower.ticker.crons), cron.name) == (2, "Again")
    assert tower.commits[-1].reply == CronAdded(cron.id, created=True)


def test_an_update_keeps_what_it_was_through() -> None:
    tower = CronTickerHarness()
    old = tower.add(overlap="skip", task_template={**TEMPLATE, "priority": "high"})
    tower.at(55)
    ran = tower.ran()

    cron = tower.add("update", cron_expr="0 * * * *", task_template={**TEMPLATE, "prompt": "new"})

    assert tower.commits[-1].reply == CronAdded(old.id, created=False)
    assert tower.commits[-1].saves == (SaveCron(cron, "cron_changed"),)
    assert (cron.run_count, cron.last_run, cron.created_at) == (1, ran.last_run, old.created_at)
    assert cron.next_run is not None
    assert cron.next_run.minute == 0
    assert tower.due[-1] == cron.next_run.timestamp()
    # What was not said anew has its usual value.
    assert (cron.overlap, cron.task_template.priority) == ("allow", 5)
    assert cron.task_template.payload == {"prompt": "new"}


def test_the_same_again_changes_nothing() -> None:
    tower = CronTickerHarness()
    old = tower.add()
    tower.at(10)

    assert tower.add("update") == old
    assert tower.commits[-1].saves == ()


def test_one_that_was_switched_off_stays_off_unless_the_update_says_more() -> None:
    tower = CronTickerHarness()
    cron_id = tower.add().id
    tower.handle(EnableCron(cron_id, False))

    assert not tower.add("update").enabled
    assert tower.add("update", enabled=True).next_run is not None
    assert tower.add("update", enabled=False).next_run is None


def test_what_is_kept_stays_as_it_is() -> None:
    tower = CronTickerHarness()
    old = tower.add()
    tower.at(1)
    tower.add()

    assert tower.add("keep", cron_expr="@daily") == old
    assert tower.commits[-1].saves == ()
    assert tower.commits[-1].reply == CronAdded(old.id, created=False)


def test_an_error_names_the_one_that_is_there() -> None:
    tower = CronTickerHarness()
    cron = tower.add()

    with pytest.raises(Conflict, match=f"a cron named 'Again' already: {cron.id}") as refused:
        tower.add("error")
    assert refused.value.field == "name"


def test_several_of_a_name_are_not_updated() -> None:
    tower = CronTickerHarness()
    crons = [tower.add(), tower.add()]

    with pytest.raises(Conflict, match="2 crons are named 'Again'"):
        tower.add("update", cron_expr="@daily")
    assert list(tower.ticker.crons.values()) == crons


def test_an_update_waits_while_the_scheduler_has_the_cron() -> None:
    tower = CronTickerHarness()
    old = tower.add()
    tower.handle(RunNow(old.id))
    tower.add("update", cron_expr="@daily")
    tower.handle(RemoveCron(old.id))
    saved = len(tower.commits)

    ran = tower.ran()

    assert len(tower.commits) == saved
    again, removal = tower.mail
    assert isinstance(again, AddCron)
    tower.handle(again)
    assert (tower.saved.id, tower.saved.run_count) == (ran.id, 1)
    assert tower.saved.cron_expr == "@daily"
    # Were it gone by then, it would be a new one.
    tower.handle(removal)
    tower.handle(again)
    assert tower.saved.id != old.id
    tower.handle(CronFired(ran))
    assert list(tower.ticker.crons) == [tower.saved.id]


@pytest.mark.parametrize("wrong", ["", "Update", "add", 1, True, ["keep"], b"keep", object()])
def test_what_else_to_do_is_refused(wrong: object) -> None:
    with pytest.raises(Invalid, match="if_exists must be one of update, keep, error") as refused:
        if_exists(wrong)
    assert refused.value.field == "if_exists"
