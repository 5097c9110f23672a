"""Lists and batches on their way: all of a batch is seen, or none, and the total agrees."""

import pytest
from msgspec.structs import replace

from ollama_queue.actors import persistence
from ollama_queue.actors.base.actor import Ping, ask
from ollama_queue.actors.base.inbox import Future
from ollama_queue.actors.core.messages import ListTasks, LoadBatch, StoreSlice
from ollama_queue.actors.core.messages.replies import Page
from ollama_queue.actors.core.model.ids import mint
from ollama_queue.actors.core.model.orders import Insert
from ollama_queue.actors.core.model.task_filter import TaskFilter
from ollama_queue.actors.core.model.tasks import Batch, BatchSubmitted
from tests.support.harness.persistence import PersistenceHarness
from tests.support.recorders import Recorder, a_record, at, insert, value

BATCH = Batch(id=mint(1, 1), created_at=at(0), total=2, pending=2)


def store_slice(
    desk: PersistenceHarness, number: int, is_last: bool = False
) -> Future[BatchSubmitted]:
    record = replace(a_record(number), batch_id=BATCH.id)
    return desk.ask(StoreSlice(BATCH, (Insert(record, b"{}"),), is_last, Recorder()))


def test_slices_wait_while_much_is_unwritten(
    desk: PersistenceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where commits stay in memory until they are written."""
    monkeypatch.setattr(persistence, "MOST_UNWRITTEN", 1)
    scheduler = Recorder()
    record = replace(a_record(1), batch_id=BATCH.id)
    desk.ask(StoreSlice(BATCH, (Insert(record, b"{}"),), False, scheduler))
    if desk.kept.kind == "PostgreSQL":
        assert scheduler.told == []
        desk.sync()

    assert scheduler.told == [LoadBatch(BATCH.id)]


def begun_list(desk: PersistenceHarness) -> Future[Page]:
    promise = desk.ask(ListTasks(TaskFilter()))
    desk.scanner.run()
    ask(desk.ref, Ping())
    return promise


def shown(promise: Future[Page]) -> tuple[int, int | None]:
    page = value(promise)
    return len(page.records), page.total


def test_a_batch_that_is_being_stored_is_not_listed(desk: PersistenceHarness) -> None:
    desk.saved(insert(1))
    store_slice(desk, 2)

    assert shown(begun_list(desk)) == (1, 1)


def test_a_batch_is_listed_with_its_seal_once_that_is_durable(desk: PersistenceHarness) -> None:
    store_slice(desk, 1)
    made = store_slice(desk, 2, is_last=True)

    listed = begun_list(desk)
    assert not (made.is_kept or listed.is_kept)
    desk.sync()

    assert made.is_kept
    assert shown(listed) == shown(begun_list(desk)) == (2, 2)


def test_a_seal_that_waits_for_another_sync_shows_nothing_yet(desk: PersistenceHarness) -> None:
    desk.commit(insert(1))
    store_slice(desk, 2)
    store_slice(desk, 3, is_last=True)

    listed = begun_list(desk)
    desk.sync()

    assert shown(listed) == (1, 1)
    desk.sync()
    assert shown(begun_list(desk)) == (3, 3)
