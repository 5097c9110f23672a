"""What the plan makes of a cron that is due."""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from ollama_queue import Conflict, Cron, Overlap, QueueFull, Status, Unavailable
from ollama_queue.actors.base.cooperation import never_yield, run_steps
from ollama_queue.actors.core.intake.crons import new_cron, task_of
from ollama_queue.actors.core.intake.submission import draft
from ollama_queue.actors.core.messages import SubmitCronRun
from ollama_queue.actors.core.model.entry import entry_of
from ollama_queue.actors.core.model.orders import Insert, Order, SaveCron
from ollama_queue.actors.core.model.outcomes import Answered
from ollama_queue.actors.core.plan.cron_runs import submit_cron_run
from ollama_queue.actors.core.plan.plan import Plan
from tests.support.plans import make_plan

NOW = 1_767_323_045.0
AT = datetime.fromtimestamp(NOW, UTC)
TEMPLATE = {"type": "generate", "model": "m", "prompt": "again"}


def a_cron(**facts: Any) -> Cron:
    new = new_cron({"name": "Again", "cron_expr": "* * * * *", "task_template": TEMPLATE})
    made = {name: getattr(new, name) for name in new.__struct_fields__}
    return Cron(**{**made, "id": "cron", "created_at": AT, "updated_at": AT, **facts})


def a_plan(**limits: int) -> Plan:
    return make_plan(**limits)


def fired(plan: Plan, task_id: str, cron: Cron, by_hand: bool = False) -> list[Order]:
    cron_run = SubmitCronRun(draft(task_of(cron)), cron, None, by_hand)
    return submit_cron_run(plan, task_id, cron_run, NOW)


def test_the_task_and_the_cron_are_saved_together() -> None:
    cron = a_cron(run_count=4)

    orders = fired(a_plan(), "task", cron)

    (insert,) = [order for order in orders if isinstance(order, Insert)]
    assert (insert.record.id, insert.record.cron_id) == ("task", "cron")
    ran = replace(cron, run_count=5, last_run=AT)
    assert orders[-1] == SaveCron(ran, "cron_fired", "task")


def test_runs_may_overlap_unless_they_may_not() -> None:
    plan = a_plan()
    fired(plan, "1", a_cron())
    assert len(fired(plan, "2", a_cron())) == 2

    cron = a_cron(overlap=Overlap.SKIP)
    reason = "cron cron may not overlap, and 2 tasks of it are pending or running"
    assert fired(plan, "3", cron) == [SaveCron(cron, "cron_skipped", reason=reason)]
    assert "3" not in plan.entries


@pytest.mark.parametrize("ended", ["finished", "cancelled"])
def test_a_task_that_has_ended_is_in_nobodys_way(ended: str) -> None:
    plan, cron = a_plan(), a_cron(overlap=Overlap.SKIP)
    fired(plan, "1", cron)
    if ended == "finished":
        plan.finished(0, "1", 1, Answered(b"{}"), NOW, 0.5)
    else:
        plan.cancel("1", NOW)

    assert isinstance(fired(plan, "2", cron)[-1], SaveCron)
    assert plan.entries.of_cron("cron") == 1


def test_a_task_that_runs_anew_counts_and_so_does_one_found_on_disk() -> None:
    plan, cron = a_plan(), a_cron(overlap=Overlap.SKIP)
    insert = next(o for o in fired(plan, "1", cron) if isinstance(o, Insert))
    plan.cancel("1", NOW)
    plan.revive(replace(insert.record, status=Status.CANCELLED), NOW)
    assert plan.entries.of_cron("cron") == 1

    booted = a_plan()
    run_steps(booted.recover([entry_of(insert.record)], [], [], [], NOW), never_yield)
    assert booted.entries.of_cron("cron") == 1
    with pytest.raises(Conflict):
        fired(booted, "2", cron, by_hand=True)


def test_a_full_queue_skips_the_run() -> None:
    plan = a_plan(max_tasks=1)
    fired(plan, "1", a_cron())
    fired(plan, "2", a_cron())

    (save,) = fired(plan, "3", a_cron())

    assert isinstance(save, SaveCron)
    assert (save.event, save.cron.run_count) == ("cron_skipped", 0)
    assert save.reason is not None
    assert save.reason.startswith("the queue is full")
    with pytest.raises(QueueFull):
        fired(plan, "4", a_cron(), by_hand=True)


def test_a_queue_that_stops_leaves_the_cron_as_it_is() -> None:
    plan = a_plan()
    plan.drain(1.0, NOW)
    with pytest.raises(Unavailable):
        fired(plan, "1", a_cron())
