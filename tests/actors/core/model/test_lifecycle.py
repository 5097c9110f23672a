"""The table of a task's life, walked."""

from itertools import product

import pytest

from ollama_queue.actors.core.model.errors import Conflict
from ollama_queue.actors.core.model.lifecycle import EVENT, NEXT, become
from ollama_queue.actors.core.model.orders import Change
from ollama_queue.actors.core.model.tasks import Status
from tests.support.plans import ended

PENDING, RUNNING = Status.PENDING, Status.RUNNING
COMPLETED, FAILED, CANCELLED = Status.COMPLETED, Status.FAILED, Status.CANCELLED
LEGAL = {
    (PENDING, RUNNING): "task_started",
    (PENDING, FAILED): "task_failed",
    (PENDING, CANCELLED): "task_cancelled",
    (RUNNING, COMPLETED): "task_completed",
    (RUNNING, FAILED): "task_failed",
    (RUNNING, CANCELLED): "task_cancelled",
    (RUNNING, PENDING): "task_retrying",
    (FAILED, PENDING): "task_retrying",
    (CANCELLED, PENDING): "task_retrying",
}


@pytest.mark.parametrize(("now", "then"), [*product(Status, Status)])
def test_only_the_table_leads_from_one_status_to_another(now: Status, then: Status) -> None:
    event = LEGAL.get((now, then))
    if event is None:
        with pytest.raises(Conflict) as caught:
            become("a", now, then)
        assert str(caught.value) == f"task a is {now}, cannot become {then}"
    else:
        assert become("a", now, then) == Change("a", {"status": then}, event)


def test_a_change_carries_what_came_of_it() -> None:
    call = ended(1, 0, 1)

    assert become("a", RUNNING, COMPLETED, ended=call, result=b"{}", error=None) == Change(
        "a", {"status": COMPLETED, "error": None}, "task_completed", call, b"{}"
    )


def test_each_status_is_in_the_tables() -> None:
    assert NEXT.keys() == EVENT.keys() == set(Status)


def test_from_every_status_but_completed_a_task_can_still_complete() -> None:
    reached = {COMPLETED}
    for _ in Status:
        reached |= {status for status in Status if NEXT[status] & reached}

    assert reached == set(Status)
    assert NEXT[COMPLETED] == frozenset()


def test_what_has_ended_is_final() -> None:
    assert [status for status in Status if status.is_final] == [COMPLETED, FAILED, CANCELLED]
