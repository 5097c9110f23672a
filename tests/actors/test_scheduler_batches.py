"""The scheduler and batches: slices one after the other, and a key that always finds them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ollama_queue.actors.batch_loading import SLICE_TASKS, draft_batch
from ollama_queue.actors.core.intake.submission import generate_task
from ollama_queue.actors.core.messages import (
    BatchStored,
    EnqueueBatch,
    FindBatch,
    LoadBatch,
    StoreSlice,
    SubmitBatch,
)
from ollama_queue.actors.core.model.errors import QueueFull
from tests.support.harness.scheduler import SchedulerHarness


def a_batch(count: int, key: str | None = "k") -> SubmitBatch:
    return draft_batch([generate_task("m", str(number)) for number in range(count)], key)


def slices(office: SchedulerHarness) -> list[StoreSlice]:
    return [message for message in office.persistence.told if isinstance(message, StoreSlice)]


def begun(office: SchedulerHarness, batch: SubmitBatch) -> str:
    """The id of the batch, as the scheduler tells itself to go on with it."""
    office.handle(batch)
    (loading,) = office.scheduler.loading
    return loading


@pytest.fixture
def office() -> SchedulerHarness:
    return SchedulerHarness()


def test_slices_are_stored_one_after_the_other_and_then_taken_up(office: SchedulerHarness) -> None:
    count = 2 * SLICE_TASKS + 1
    batch_id = begun(office, a_batch(count))
    for _ in range(3):
        office.handle(LoadBatch(batch_id))

    stored = slices(office)
    assert [len(part.inserts) for part in stored] == [SLICE_TASKS, SLICE_TASKS, 1]
    assert [part.is_last for part in stored] == [False, False, True]
    assert (len(office.scheduler.plan.waiting), office.commits) == (0, [])

    office.handle(BatchStored(batch_id))
    assert len(office.scheduler.plan.entries) == SLICE_TASKS
    for _ in range(3):
        office.handle(EnqueueBatch(batch_id))

    assert len(office.scheduler.plan.entries) == count
    assert office.scheduler.loading == {}


def test_a_key_finds_its_batch_from_the_moment_it_is_stored(office: SchedulerHarness) -> None:
    batch_id = begun(office, a_batch(SLICE_TASKS + 1))
    office.handle(LoadBatch(batch_id))
    office.handle(a_batch(SLICE_TASKS + 1))  # waits for the first
    office.handle(LoadBatch(batch_id))
    assert FindBatch(batch_id) not in office.persistence.told

    office.handle(BatchStored(batch_id))  # not all of its tasks wait yet
    assert office.persistence.told.count(FindBatch(batch_id)) == 1
    office.handle(a_batch(SLICE_TASKS + 1))

    assert office.persistence.told.count(FindBatch(batch_id)) == 2


def test_room_is_kept_for_tasks_on_their_way() -> None:
    office = SchedulerHarness(max_tasks=3)
    begun(office, a_batch(3))

    with pytest.raises(QueueFull):
        office.submit()
    with pytest.raises(QueueFull):
        office.handle(a_batch(1, key=None))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9))
def test_tasks_run_by_turn_and_have_ids_in_the_order_given(turns: list[int]) -> None:
    office = SchedulerHarness()
    running = office.submit()
    before = office.submit()
    batch_id = begun(office, replace(a_batch(len(turns), None), turns=turns))
    office.handle(LoadBatch(batch_id))
    office.now += 0.001
    later = office.submit()
    office.handle(BatchStored(batch_id))

    (stored,) = slices(office)
    ids = [insert.record.id for insert in stored.inserts]
    assert ids == sorted(ids)
    by_turn = [task_id for _, task_id in sorted(zip(turns, ids, strict=True))]
    assert runs(office, running) == [running, before, *by_turn, later]


def test_the_first_slice_begins_with_the_first_turn(office: SchedulerHarness) -> None:
    count = SLICE_TASKS + 5
    batch_id = begun(office, replace(a_batch(count, None), turns=range(count - 1, -1, -1)))
    for _ in range(2):
        office.handle(LoadBatch(batch_id))
    office.handle(BatchStored(batch_id))

    ids = [insert.record.id for part in slices(office) for insert in part.inserts]
    assert [running.entry.id for running in office.scheduler.plan.slots] == ids[-1:]


def runs(office: SchedulerHarness, first: str) -> list[str]:
    """Let all tasks run, one after the other; returns their order."""
    order = [first]
    while True:
        office.finish(order[-1])
        started = [running.entry.id for running in office.scheduler.plan.slots]
        if not started:
            return order
        order += started
