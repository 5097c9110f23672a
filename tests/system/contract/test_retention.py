"""Ended tasks are let go of by themselves: which ones, and what goes with them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ollama_queue import Config, Conflict, NotFound, QueueManager, Status
from ollama_queue.actors.base.actor import ask as ask_actor
from ollama_queue.actors.core.config import config
from ollama_queue.actors.core.messages import Delete
from tests.support.fakes.model_server import Answer, FakeOllama, Hang
from tests.support.harness.doors import PATIENCE_S, ask

OFTEN = 0.05  # seconds


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    with FakeOllama() as made:
        yield made


@contextmanager
def opened(folder: Path, fake: FakeOllama, **settings: Any) -> Iterator[QueueManager]:
    made = Config(
        ollama=config.OllamaSettings(host=fake.url),
        queue=config.QueueSettings(storage_path=str(folder), max_workers=1, **settings),
    )
    queue = QueueManager(made).start()
    yield queue
    queue.close(grace_s=0)


def ended(queue: QueueManager, count: int, **fields: Any) -> list[str]:
    ids = [queue.submit_task(ask(f"task {n}", **fields)) for n in range(count)]
    for task_id in ids:
        queue.wait(task_id, timeout=PATIENCE_S)
    return ids


def stored(queue: QueueManager) -> list[str]:
    return [task.id for task in queue.list_tasks()][::-1]


def cancel(queue: QueueManager, task_id: str) -> None:
    with suppress(NotFound):  # it may be gone before it is shown
        queue.cancel_task(task_id)


def swept(queue: QueueManager, gone: set[str]) -> None:
    """Returns once all of these are deleted, and nothing else has been."""
    deleted: set[str] = set()
    events = queue.subscribe(["task_deleted"])
    left = gone & set(stored(queue))
    while not left <= deleted:
        event = events.get(timeout=PATIENCE_S)
        assert event is not None
        assert event.task.id in gone
        deleted.add(event.task.id)
    queue.unsubscribe(events)


def test_the_newest_stay(tmp_path: Path, fake: FakeOllama) -> None:
    with opened(tmp_path, fake) as queue:
        ids = ended(queue, 5)
    with opened(tmp_path, fake, max_completed_tasks=3, cleanup_interval=OFTEN) as queue:
        swept(queue, set(ids[:2]))
        assert stored(queue) == ids[2:]

        more = ended(queue, 2)
        swept(queue, set(ids[2:4]))

        assert stored(queue) == [ids[4], *more]
        stats = queue.get_queue_stats()
        assert (stats.completed_tasks, stats.total_tasks) == (3, 3)


def test_what_is_too_old_goes_and_what_waits_does_not(tmp_path: Path, fake: FakeOllama) -> None:
    with opened(tmp_path, fake, retention=OFTEN, cleanup_interval=OFTEN) as queue:
        queue.pause()
        waiting = queue.submit_task(ask())
        cancelled = queue.submit_task(ask())
        cancel(queue, cancelled)

        swept(queue, {cancelled})

        assert stored(queue) == [waiting]
        with pytest.raises(NotFound):
            queue.get_task(cancelled)


def test_a_batch_stays_until_it_is_over(tmp_path: Path, fake: FakeOllama) -> None:
    with opened(tmp_path, fake, max_completed_tasks=0, cleanup_interval=OFTEN) as queue:
        batch = queue.submit_batch([ask("well"), ask("well")])
        swept(queue, set(batch.task_ids))
        with pytest.raises(NotFound):
            queue.get_batch(batch.batch_id)

        fake.script(Answer(200, {"response": "", "done": True}), Hang())
        live = queue.submit_batch([ask("well"), ask("hang")])
        queue.wait(live.task_ids[0], timeout=PATIENCE_S)
        fake.wait_for_calls(4)
        loose = queue.submit_task(ask())
        cancel(queue, loose)
        swept(queue, {loose})  # later than the batch's first, which stays
        assert stored(queue) == live.task_ids

        cancel(queue, live.task_ids[1])
        swept(queue, set(live.task_ids))
        assert queue.list_batches() == []


def test_a_key_goes_with_its_task(tmp_path: Path, fake: FakeOllama) -> None:
    with opened(tmp_path, fake, max_completed_tasks=0, cleanup_interval=OFTEN) as queue:
        first = queue.submit(ask(), idempotency_key="k")
        swept(queue, {first.task_id})
        again = queue.submit(ask(), idempotency_key="k")

        assert again.created
        assert again.task_id != first.task_id


def test_a_batch_that_is_gone_is_not_made_again_by_its_key(
    tmp_path: Path, fake: FakeOllama
) -> None:
    with opened(tmp_path, fake, max_completed_tasks=0, cleanup_interval=OFTEN) as queue:
        made = queue.submit_batch([ask()], idempotency_key="k")
        swept(queue, set(made.task_ids))
        with pytest.raises(Conflict, match=f"batch {made.batch_id}, which has been deleted"):
            queue.submit_batch([ask()], idempotency_key="k")


def test_a_task_that_is_run_anew_in_between_stays(tmp_path: Path, fake: FakeOllama) -> None:
    """What the Sweeper has seen is not what is there any more."""
    with opened(tmp_path, fake) as queue:
        fake.script(Answer(400, {"error": "no"}))
        task_id = queue.submit_task(ask())
        seen = queue.wait(task_id, timeout=PATIENCE_S)
        assert seen.status is Status.FAILED
        scheduler = queue._now().scheduler
        queue.pause()
        queue.retry_task(task_id)

        with pytest.raises(Conflict, match="has not ended"):
            ask_actor(scheduler, Delete(task_id, seen.seq))
        queue.resume()
        now = queue.wait(task_id, timeout=PATIENCE_S)
        with pytest.raises(NotFound):
            ask_actor(scheduler, Delete(task_id, seen.seq))

        assert queue.get_task(task_id) == now
        assert ask_actor(scheduler, Delete(task_id, now.seq)).id == task_id
        assert stored(queue) == []


def test_a_store_of_many_is_swept_in_slices(
    tmp_path: Path, fake: FakeOllama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ollama_queue.actors.store.expiry.SLICE_TASKS", 7)
    with opened(tmp_path, fake) as queue:
        queue.pause()
        ids = queue.submit_batch([ask() for _ in range(40)]).task_ids
        for task_id in ids:
            queue.cancel_task(task_id)
    with opened(tmp_path, fake, max_completed_tasks=5) as queue:
        swept(queue, set(ids[:35]))
        assert stored(queue) == ids[35:]
        assert queue.get_queue_stats().cancelled_tasks == 5
