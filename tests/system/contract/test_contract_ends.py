"""Waiting for many tasks over `QueueManager` and over both clients: batches, ids, progress."""

import contextlib
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import pytest

from ollama_queue import (
    BatchSubmitted,
    BatchTimeout,
    Invalid,
    NotFound,
    Status,
    TaskResult,
    Unavailable,
)
from tests.support.fakes.model_server import Answer, Hang, Stream
from tests.support.harness.doors import NOBODY, PATIENCE_S, Door, ask


def progress() -> tuple[list[tuple[int, int]], Callable[[int, int], None]]:
    told: list[tuple[int, int]] = []
    return told, lambda done, total: told.append((done, total))


# --- batches ------------------------------------------------------------------------------------


def test_a_batch_that_takes_too_long_tells_its_ids_and_goes_on(door: Door) -> None:
    door.fake.script(Stream(), Hang())

    with pytest.raises(BatchTimeout, match=r"of 3 tasks have not ended within 0\.3 s") as late:
        door.queue.submit_batch_tasks([ask(), ask("hang"), ask()], timeout=0.3)

    (batch,) = door.queue.list_batches()
    error = late.value
    assert isinstance(error, TimeoutError)
    assert error.batch_id == batch.id
    assert [door.queue.get_task(each).batch_id for each in error.task_ids] == [batch.id] * 3
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.task_ids) == (str(error), error.task_ids)
    door.queue.cancel_task(error.task_ids[1])
    results = door.queue.wait_batch(error.batch_id, timeout=PATIENCE_S)
    assert [result.task_id for result in results] == error.task_ids
    assert [result.error for result in results] == [None, "cancelled", None]


@pytest.mark.parametrize("given", ["the answer", "its id", "the batch"])
def test_a_batch_is_waited_for_with_its_results_in_the_order_given(door: Door, given: str) -> None:
    door.fake.script(Answer(400, {"error": "not this one"}))
    told, on_progress = progress()
    door.queue.pause()
    made = door.queue.submit_batch([ask(str(n), priority=1 + n) for n in range(5)])
    batch: Any = {
        "the answer": made,
        "its id": made.batch_id,
        "the batch": door.queue.get_batch(made),
    }[given]
    door.queue.resume()

    results = door.queue.wait_batch(batch, timeout=PATIENCE_S, on_progress=on_progress)

    assert [result.task_id for result in results] == made.task_ids
    assert [result.success for result in results] == [True] * 4 + [False]
    assert told == sorted(set(told)) and told[-1] == (5, 5)
    assert door.queue.wait_batch(batch, timeout=0) == results


def test_the_order_of_a_batch_is_kept_over_many_pages(door: Door) -> None:
    door.queue.pause()
    made = door.queue.submit_batch([ask(str(n), priority=1 + n % 15) for n in range(2500)])
    last = door.queue.submit_batch([ask("of another")])
    door.queue.cancel_tasks(made.task_ids[:1000])
    door.queue.cancel_tasks(made.task_ids[1000:2000])
    door.queue.cancel_tasks(made.task_ids[2000:])

    results = door.queue.wait_batch(made.batch_id, timeout=PATIENCE_S)

    assert [result.task_id for result in results] == made.task_ids
    assert door.queue.get_task_status(last.task_ids[0]) is Status.PENDING


def test_progress_is_told_from_the_start_to_the_end(door: Door) -> None:
    told, on_progress = progress()
    door.fake.script(Hang())
    running = door.queue.submit_task(ask("hang"))
    door.fake.wait_for_calls(1)

    def tell(done: int, total: int) -> None:
        on_progress(done, total)
        if done == 0:
            door.direct.cancel_task(running)

    door.queue.submit_batch_tasks([ask()] * 4, timeout=PATIENCE_S, on_progress=tell)

    assert told == [(n, 4) for n in range(5)]


def test_a_progress_that_fails_ends_the_wait_and_no_task(door: Door) -> None:
    def on_progress(done: int, total: int) -> None:
        raise RuntimeError("on purpose")

    made = door.queue.submit_batch([ask()] * 2)
    with pytest.raises(RuntimeError, match="on purpose"):
        door.queue.wait_batch(made, timeout=PATIENCE_S, on_progress=on_progress)

    assert all(result.success for result in door.queue.wait_batch(made, timeout=PATIENCE_S))


def test_of_a_batch_what_was_deleted_before_is_told_or_left_out(door: Door) -> None:
    made = door.queue.submit_batch([ask()] * 3)
    door.queue.wait_batch(made, timeout=PATIENCE_S)
    door.queue.delete_task(made.task_ids[1])

    gone = door.queue.wait_batch(made, timeout=PATIENCE_S)[1]
    left = door.queue.wait_batch(made.batch_id, timeout=PATIENCE_S)

    assert (gone.success, gone.error) == (False, f"there is no task {made.task_ids[1]}")
    assert [result.task_id for result in left] == [made.task_ids[0], made.task_ids[2]]
    with pytest.raises(NotFound):
        door.queue.wait_batch(NOBODY)


def test_a_batch_is_waited_for_over_a_reboot(door: Door) -> None:
    running = door.busy()
    made = door.queue.submit_batch([ask()] * 150)  # more than are followed by themselves
    begun = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(
            door.queue.wait_batch,
            made,
            timeout=3 * PATIENCE_S,
            on_progress=lambda done, total: begun.set(),
        )
        assert begun.wait(PATIENCE_S)
        door.reboot()
        with contextlib.suppress(Exception):  # it may have been tried anew and have ended by now
            door.direct.cancel_task(running)
        results = waiting.result(3 * PATIENCE_S)

    assert [result.task_id for result in results] == made.task_ids
    assert all(result.success for result in results)


def test_a_wait_that_the_queue_s_end_cuts_short_tells_the_batch(door: Door) -> None:
    door.queue.pause()
    begun = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(
            door.queue.submit_batch_tasks,
            [ask()] * 2,
            on_progress=lambda done, total: begun.set(),
        )
        assert begun.wait(PATIENCE_S)
        (batch,) = door.queue.list_batches()
        door.queue.close()
        with pytest.raises(Unavailable) as cut:
            waiting.result(PATIENCE_S)

    assert cut.value.batch_id == batch.id
    assert len(cut.value.task_ids) == 2


def test_callbacks_may_wait_for_batches(door: Door) -> None:
    called: SimpleQueue[list[TaskResult]] = SimpleQueue()

    def callback(_: TaskResult) -> None:
        called.put(door.queue.submit_batch_tasks([ask()] * 2, timeout=PATIENCE_S))

    door.queue.submit_task_with_callback(ask(), callback)

    assert len(called.get(timeout=PATIENCE_S)) == 2


# --- ids ----------------------------------------------------------------------------------------


def test_tasks_come_as_they_end(door: Door) -> None:
    done = door.run(ask())
    running = door.busy()
    low, high = (door.queue.submit_task(ask(priority=each)) for each in (1, 15))

    ends = door.queue.as_completed([low, running, high, done, low], timeout=PATIENCE_S)
    assert next(ends).task_id == done.id
    door.queue.cancel_task(running)
    rest = list(ends)

    assert [result.task_id for result in rest] == [running, high, low]
    assert [result.error for result in rest] == ["cancelled", None, None]


def test_what_has_ended_comes_without_time_and_then_the_rest_is_late(door: Door) -> None:
    done = door.run(ask())
    running = door.busy()

    ends = door.queue.as_completed([running, done.id], timeout=0)

    assert next(ends).task_id == done.id
    with pytest.raises(TimeoutError, match=r"1 of 2 tasks has not ended within 0 s"):
        next(ends)
    assert door.queue.get_task_status(running) is Status.RUNNING


def test_one_that_is_gone_is_told(door: Door) -> None:
    (gone,) = door.queue.as_completed([NOBODY], timeout=PATIENCE_S)

    assert (gone.task_id, gone.success, gone.error) == (NOBODY, False, f"there is no task {NOBODY}")
    assert list(door.queue.as_completed([])) == []


def test_many_are_followed_over_a_reboot(door: Door) -> None:
    running = door.busy()
    ids = door.queue.submit_batch([ask()] * 120).task_ids
    ends = door.queue.as_completed([running, *ids], timeout=3 * PATIENCE_S)
    door.queue.cancel_task(running)
    assert next(ends).task_id == running
    door.reboot()

    rest = [result.task_id for result in ends]

    assert sorted(rest) == ids


def test_ids_are_checked_where_they_are_given(door: Door) -> None:
    with pytest.raises(Invalid) as refused:
        door.queue.as_completed("one alone")
    assert refused.value.field == "ids"


# --- callbacks on what is there -----------------------------------------------------------------


def test_a_callback_is_put_on_a_task_that_there_is(door: Door) -> None:
    called: SimpleQueue[tuple[str, TaskResult]] = SimpleQueue()

    def named(name: str) -> Callable[[TaskResult], None]:
        return lambda result: called.put((name, result))

    done = door.run(ask())
    running = door.busy()
    made = door.queue.submit_task_with_callback(ask(), named("first"))
    door.queue.on_end(made, named("second"))
    door.queue.on_end(done, named("ended"))
    assert called.get(timeout=PATIENCE_S)[0] == "ended"
    door.queue.cancel_task(running)

    heard = [called.get(timeout=PATIENCE_S) for _ in range(2)]
    assert [(name, result.task_id) for name, result in heard] == [
        ("first", made),
        ("second", made),
    ]


def test_one_of_a_batch_has_a_callback_of_its_own(door: Door) -> None:
    batch: SimpleQueue[list[TaskResult]] = SimpleQueue()
    one: SimpleQueue[TaskResult] = SimpleQueue()
    running = door.busy()
    ids = door.queue.submit_batch_tasks_async([ask()] * 3, batch.put)
    door.queue.on_end(ids[1], one.put)
    door.queue.on_end(ids[2], one.put)
    door.queue.cancel_task(running)

    assert [one.get(timeout=PATIENCE_S).task_id for _ in range(2)] == ids[1:]
    assert [result.task_id for result in batch.get(timeout=PATIENCE_S)] == ids


def test_a_callback_on_nothing_is_refused(door: Door) -> None:
    with pytest.raises(NotFound):
        door.queue.on_end(NOBODY, print)


# --- streams of new tasks -----------------------------------------------------------------------


@pytest.mark.parametrize("cancels", [False, True])
def test_leaving_a_stream_cancels_its_task_only_where_that_is_asked(
    door: Door, cancels: bool
) -> None:
    door.fake.script(Stream(words=["a"], then="hang"))
    stream = door.queue.submit_streaming_task(ask(), timeout=PATIENCE_S, cancel_on_close=cancels)
    next(stream)
    task_id = stream.task_id
    assert door.queue.get_task_status(task_id) is Status.RUNNING

    stream.close()
    stream.close()

    left = Status.CANCELLED if cancels else Status.RUNNING
    assert door.queue.get_task_status(task_id) is left
    assert list(stream) == []


def test_one_that_was_read_to_its_end_or_timed_out(door: Door) -> None:
    stream = door.queue.submit_streaming_task(ask(), timeout=PATIENCE_S, cancel_on_close=True)
    assert [chunk.done for chunk in stream][-1]
    stream.close()
    assert door.queue.wait(stream.task_id, timeout=PATIENCE_S).status is Status.COMPLETED

    door.fake.script(Hang())
    late = door.queue.submit_streaming_task(ask(), timeout=0.2, cancel_on_close=True)
    with pytest.raises(TimeoutError):
        next(late)
    assert door.queue.get_task_status(late.task_id) is Status.CANCELLED


@pytest.mark.parametrize("kind", ["QueueManager", "Client"])
def test_breaking_off_and_never_beginning_cancel_as_well(door: Door) -> None:
    door.fake.script(Stream(words=["a"], then="hang"))
    for _ in door.queue.submit_streaming_task(ask("x"), cancel_on_close=True):
        break
    door.queue.pause()
    door.queue.submit_streaming_task(ask("y"), cancel_on_close=True).close()

    assert [task.status for task in door.queue.list_tasks()] == [Status.CANCELLED] * 2


def test_a_batch_s_answer_may_be_written_by_hand(door: Door) -> None:
    task = door.run(ask())

    (result,) = door.queue.wait_batch(BatchSubmitted("mine", [task.id]), timeout=PATIENCE_S)

    assert result.task_id == task.id
