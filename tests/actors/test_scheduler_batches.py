"""The scheduler and batches: slices one after the other, and a key that always finds them."""

import pytest

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
