"""Batches over `QueueManager` and over `Client`: all or none, in order, found again."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from typing import Any

import pytest

from ollama_queue import Conflict, Invalid, NotFound, QueueFull, Status, TaskFilter, TaskResult
from ollama_queue.actors.core.model.tasks import BatchSubmitted, NewTask, TaskType, WaitingFor
from ollama_queue.actors.routines import callbacks
from tests.support.fakes.model_server import Answer
from tests.support.harness.doors import PATIENCE_S, Door, EmbeddedDoor, ask


def test_results_come_in_the_order_given(door: Door) -> None:
    door.fake.script(Answer(400, {"error": "not this one"}))

    results = door.queue.submit_batch_tasks(
        [ask(f"task {n}") for n in range(5)], timeout=PATIENCE_S
    )

    assert [result.success for result in results] == [False, True, True, True, True]
    assert "not this one" in (results[0].error or "")
    assert results[1].data["response"] == "Hello from here"
    asked = [door.queue.get_task(result.task_id).payload for result in results]
    assert asked == [{"prompt": f"task {n}"} for n in range(5)]


def test_a_batch_is_counted(door: Door) -> None:
    running = door.busy()
    made = door.queue.submit_batch([ask(), ask(), ask()])
    door.queue.cancel_task(made.task_ids[1])
    waiting = door.queue.get_batch(made.batch_id)
    assert (waiting.total, waiting.pending, waiting.cancelled) == (3, 2, 1)

    door.queue.cancel_task(running)
    for task_id in made.task_ids:
        door.queue.wait(task_id, timeout=PATIENCE_S)

    over = door.queue.get_batch(made.batch_id)
    assert (over.total, over.completed, over.cancelled, over.is_over) == (3, 2, 1, True)
    assert [batch.id for batch in door.queue.list_batches()] == [made.batch_id]
    assert {task.batch_id for task in door.queue.list_tasks()} == {None, made.batch_id}


def test_what_has_not_ended_of_a_batch_is_cancelled(door: Door) -> None:
    door.queue.pause()
    made = door.queue.submit_batch([ask()] * 600)
    door.queue.cancel_task(made.task_ids[0])

    cancelled = door.queue.cancel_batch(made)
    assert (cancelled.cancelled, cancelled.is_over) == (600, True)
    with pytest.raises(Conflict, match="has ended"):
        door.queue.cancel_batch(made.batch_id)
    with pytest.raises(NotFound):
        door.queue.cancel_batch("nothing")


def test_one_bad_task_refuses_all(door: Door) -> None:
    with pytest.raises(Invalid) as caught:
        door.queue.submit_batch([ask(), ask(), ask(timeout_s=1), BAD])

    assert caught.value.field == "tasks[3].model"
    assert str(caught.value).startswith("tasks[3].model must name a model")
    assert door.queue.get_queue_stats().total_tasks == 0


BAD = NewTask(type=TaskType.GENERATE, model=" ", payload={"prompt": "x"})


def test_an_empty_batch_is_none(door: Door) -> None:
    with pytest.raises(Invalid) as caught:
        door.queue.submit_batch([])

    assert caught.value.field == "tasks"


def test_an_unknown_batch_is_not_found(door: Door) -> None:
    with pytest.raises(NotFound):
        door.queue.get_batch("nothing")


def test_the_same_key_finds_the_batch_again(door: Door) -> None:
    tasks = [ask("a"), ask("b")]
    first = door.queue.submit_batch(tasks, idempotency_key="k")

    again = door.queue.submit_batch(tasks, idempotency_key="k")

    assert first.created and not again.created
    assert (again.batch_id, again.task_ids) == (first.batch_id, first.task_ids)
    with pytest.raises(Conflict):
        door.queue.submit_batch([ask("c")], idempotency_key="k")


def test_a_key_finds_its_batch_while_its_tasks_are_still_taken_up(door: Door) -> None:
    """Each answer comes when the batch is on disk, before the last of its tasks waits."""
    door.queue.pause()
    for number in range(20):
        tasks = [ask(str(number))] * 500
        first = door.queue.submit_batch(tasks, idempotency_key=str(number))
        again = door.queue.submit_batch(tasks, idempotency_key=str(number))
        assert again.task_ids == first.task_ids


def test_a_batch_that_has_no_room_is_refused_whole(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    door = EmbeddedDoor("QueueManager", tmp_path_factory.mktemp("small"), max_queue_size=3)
    try:
        door.queue.pause()
        door.queue.submit_task(ask())
        with pytest.raises(QueueFull):
            door.queue.submit_batch([ask()] * 3)
        assert len(door.queue.submit_batch([ask()] * 2).task_ids) == 2
        assert door.queue.get_queue_stats().pending_tasks == 3
    finally:
        door.close()


def test_many_tasks_run_by_priority_and_in_order(door: Door) -> None:
    running = door.busy()
    made = door.queue.submit_batch([ask(str(n), priority=1 + n % 3) for n in range(450)])
    door.queue.cancel_task(running)
    for task_id in made.task_ids:
        door.queue.wait(task_id, timeout=PATIENCE_S)

    ran = [int(call.body["prompt"]) for call in door.fake.calls[1:]]
    assert ran == sorted(range(450), key=lambda n: (-(n % 3), n))


def test_a_scheduled_task_waits_for_its_time(door: Door) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    task_id = door.queue.submit_scheduled_task(ask(), later)
    now = door.queue.submit_scheduled_task(ask(), later - timedelta(hours=2))

    assert door.queue.get_task(task_id).waiting_for is WaitingFor.SCHEDULE
    assert door.queue.wait(now, timeout=PATIENCE_S).status is Status.COMPLETED
    listed = door.queue.list_tasks(TaskFilter(status=[Status.PENDING]))
    assert [task.id for task in listed] == [task_id]


# --- results by callback ------------------------------------------------------------------------


def test_a_callback_gets_all_results_in_the_order_given(door: Door) -> None:
    door.fake.script(Answer(400, {"error": "not this one"}))
    called: SimpleQueue[list[TaskResult]] = SimpleQueue()

    ids = door.queue.submit_batch_tasks_async(
        [ask("a"), ask("b", priority=1), ask("c", priority=15)], called.put
    )
    results = called.get(timeout=PATIENCE_S)

    assert [result.task_id for result in results] == ids
    assert [result.success for result in results].count(False) == 1
    assert [door.queue.get_task(each).payload for each in ids] == [
        {"prompt": prompt} for prompt in "abc"
    ]


def test_a_batch_without_a_callback_gives_its_ids_at_once(door: Door) -> None:
    door.queue.pause()
    ids = door.queue.submit_batch_tasks_async([ask(), ask()])

    assert [door.queue.get_task_status(each) for each in ids] == [Status.PENDING] * 2


def test_a_batch_may_wait_for_its_time(door: Door) -> None:
    now = datetime.now(UTC)
    later = door.queue.submit_scheduled_batch_tasks_async([ask()] * 2, now + timedelta(hours=1))
    called: SimpleQueue[list[TaskResult]] = SimpleQueue()
    past = door.queue.submit_scheduled_batch_tasks_async([ask()] * 2, now, called.put)

    assert [result.task_id for result in called.get(timeout=PATIENCE_S)] == past
    waits = [door.queue.get_task(each).waiting_for for each in later]
    assert waits == [WaitingFor.SCHEDULE] * 2


def test_a_batch_that_is_refused_calls_nobody(door: Door) -> None:
    called: SimpleQueue[list[TaskResult]] = SimpleQueue()
    with pytest.raises(Invalid):
        door.queue.submit_batch_tasks_async([ask(), BAD], called.put)
    door.queue.submit_batch_tasks_async([ask("good")], called.put)

    assert len(called.get(timeout=PATIENCE_S)) == 1
    assert called.empty()


def test_a_large_batch_is_reported_over_a_reboot_by_one_subscription(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: SimpleQueue[list[TaskResult]] = SimpleQueue()
    listen, subscribed = callbacks.Listen, []

    def counted(*args: Any, **options: Any) -> callbacks.Listen:
        subscribed.append(args)
        return listen(*args, **options)

    monkeypatch.setattr(callbacks, "Listen", counted)
    door.queue.pause()
    ids = door.queue.submit_batch_tasks_async([ask(str(n)) for n in range(200)], called.put)
    assert len(subscribed) == 1

    door.reboot()
    door.queue.cancel_task(ids[7])
    door.queue.resume()
    results = called.get(timeout=3 * PATIENCE_S)

    assert [result.task_id for result in results] == ids
    assert [result.error for result in results if not result.success] == ["cancelled"]
    assert len(subscribed) == 2


def test_a_batch_sent_twice_at_once_is_one(door: Door) -> None:
    tasks = [ask(f"task {n}", scheduled_at=LATER) for n in range(1000)]

    def submit(_: int) -> BatchSubmitted:
        return door.direct.submit_batch(tasks, idempotency_key="the same")

    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(submit, range(4)))

    assert len({tuple(each.task_ids) for each in made}) == 1
    assert [each.created for each in made].count(True) == 1
    assert door.queue.get_queue_stats().total_tasks == 1000


LATER = datetime.now(UTC) + timedelta(days=1)
