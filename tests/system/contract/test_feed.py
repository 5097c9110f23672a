"""Hearing of things, over `QueueManager` and over `Client`: streams, events, callbacks."""

import asyncio
import logging
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from queue import Queue, SimpleQueue
from typing import Any

import pytest

from ollama_queue import Chunk, Invalid, NotFound, Status, TaskResult
from ollama_queue.actors.api.queue_api import QueueAPI
from ollama_queue.actors.base.actor import ask as call
from ollama_queue.actors.base.mailbox import Closed
from ollama_queue.actors.core.messages import Publish
from ollama_queue.actors.core.model.events import EventRecord
from ollama_queue.http import sse
from tests.support.fakes.model_server import Answer, Hang, Stream
from tests.support.harness.doors import NOBODY, PATIENCE_S, Door, EmbeddedDoor, ask, in_this_process

STARTED_AND_DONE = ["task_submitted", "task_started", "task_completed"]


@pytest.fixture(autouse=True)
def quick_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transport of these tests notices a client that has left at the next comment."""
    monkeypatch.setattr(sse, "HEARTBEAT_S", 0.05)


def words(chunks: list[Chunk]) -> list[str]:
    return [chunk.data["response"] for chunk in chunks if chunk.data is not None]


# --- streams ------------------------------------------------------------------------------------


def test_a_reply_comes_piece_by_piece(door: Door) -> None:
    gate = threading.Event()
    door.fake.script(Stream(gate=gate))
    task_id = door.queue.submit_task(ask())
    readers = [door.queue.stream_task(task_id, timeout=PATIENCE_S) for _ in range(2)]
    firsts = [next(reader) for reader in readers]
    gate.set()
    rests = [list(reader) for reader in readers]

    assert firsts[0] == firsts[1]
    assert rests[0] == rests[1]
    assert words([firsts[0], *rests[0]]) == ["Hello", " from", " here", ""]
    assert [chunk.id for chunk in [firsts[0], *rests[0]][:-1]] == ["1.0", "1.1", "1.2", "1.3"]
    assert (rests[0][-1].done, rests[0][-1].error) == (True, None)
    assert rests[0][-1].status is Status.COMPLETED
    late = list(door.queue.stream_task(task_id, timeout=PATIENCE_S))
    assert late == [firsts[0], *rests[0]]


def test_a_task_is_submitted_and_streamed_in_one(queue: QueueAPI) -> None:
    chunks = list(queue.submit_streaming_task(ask(), timeout=PATIENCE_S))

    assert "".join(words(chunks)) == "Hello from here"
    assert chunks[-1].done


def test_a_lost_attempt_is_taken_back(door: Door) -> None:
    gate = threading.Event()
    door.fake.script(Stream(words=["x", "y"], gate=gate, then="cut"), Stream(words=["a"]))
    reader = door.queue.submit_streaming_task(ask(), timeout=PATIENCE_S)
    assert words([next(reader)]) == ["x"]
    gate.set()
    rest = list(reader)

    (lost,) = [index for index, chunk in enumerate(rest) if chunk.restart]
    assert "".join(words(rest[lost:])) == "a"


def test_a_stream_of_a_task_that_fails_says_why(door: Door) -> None:
    door.fake.script(Answer(400, {"error": "no such thing"}))
    (last,) = door.queue.submit_streaming_task(ask(), timeout=PATIENCE_S)

    assert (last.done, last.status) == (True, Status.FAILED)
    assert last.error is not None and "no such thing" in last.error


def test_silence_has_its_limit(door: Door) -> None:
    with pytest.raises(TimeoutError):
        next(door.queue.stream_task(door.busy(), timeout=0.02))


def test_an_unknown_task_has_no_stream(queue: QueueAPI) -> None:
    with pytest.raises(NotFound):
        next(queue.stream_task(NOBODY))


def test_a_stream_outlives_a_reboot(door: Door) -> None:
    door.fake.script(Stream(words=["x"], then="hang"), Stream(words=["a"]))
    reader = door.queue.submit_streaming_task(ask(), timeout=PATIENCE_S)
    assert words([next(reader)]) == ["x"]
    door.reboot()
    rest = list(reader)

    assert rest[0].restart
    assert "".join(words(rest)) == "a"  # of a follower that came late, in one piece


# --- events -------------------------------------------------------------------------------------


@in_this_process  # while its leader has just begun, a follower's may begin anew
def test_a_subscription_is_in_force_at_once(door: Door) -> None:
    heard = door.queue.subscribe()
    task_id = door.run(ask()).id
    events = [heard.get(PATIENCE_S) for _ in range(3)]

    assert [event.event for event in events] == STARTED_AND_DONE
    assert {event.task.id for event in events if event.task} == {task_id}
    assert events[-1].task == door.queue.list_tasks()[0]
    assert [event.seq for event in events] == sorted({event.seq for event in events})


def test_a_subscription_hears_what_it_asked_for(door: Door) -> None:
    first = door.queue.submit_task(ask(max_retries=0))
    door.queue.wait(first, timeout=PATIENCE_S)
    ends = door.queue.subscribe(["task_completed", "queue_paused"])
    one = door.queue.subscribe(tasks=[first])
    second = door.run(ask()).id
    door.queue.delete_task(first)
    door.queue.pause()

    done, paused = ends.get(PATIENCE_S), ends.get(PATIENCE_S)
    assert done.task is not None
    assert (done.event, done.task.id) == ("task_completed", second)
    assert (paused.event, paused.task) == ("queue_paused", None)
    assert one.get(PATIENCE_S).event == "task_deleted"
    with pytest.raises(TimeoutError):
        one.get(0.01)


def test_an_unknown_event_is_invalid(queue: QueueAPI) -> None:
    with pytest.raises(Invalid) as refused:
        queue.subscribe(["task_eaten"])
    assert refused.value.field == "events"


def test_a_subscription_ends_when_it_is_no_longer_wanted(queue: QueueAPI) -> None:
    heard = queue.subscribe()
    with ThreadPoolExecutor(1) as thread:
        rest = thread.submit(list, heard)
        queue.unsubscribe(heard)
        assert rest.result(PATIENCE_S) == []
    with pytest.raises(Closed):
        heard.get(PATIENCE_S)


def test_a_subscription_ends_with_its_queue(queue: QueueAPI) -> None:
    heard = queue.subscribe()
    with ThreadPoolExecutor(1) as thread:
        rest = thread.submit(list, heard)
        queue.close()

        assert rest.result(PATIENCE_S) == []


@in_this_process
def test_a_subscription_that_is_not_read_has_lagged(door: EmbeddedDoor) -> None:
    heard = door.manager.subscribe()
    flood = (EventRecord("queue_paused", None, datetime.now(UTC), seq) for seq in range(1001))
    in_full = Publish(tuple(flood))
    call(door.manager._switchboard.current().bus, in_full)  # returns once it is published

    with pytest.raises(Closed, match="lagged"):
        list(heard)


def test_a_subscription_outlives_a_reboot(door: Door) -> None:
    heard = door.queue.subscribe(["task_completed"])
    door.reboot()
    ids: list[str] = []
    with ThreadPoolExecutor(1) as thread:
        hearing = thread.submit(heard.get, PATIENCE_S)
        while not hearing.done():  # what ends while it begins anew is not heard
            ids.append(door.run(ask()).id)

    event = hearing.result()
    assert event.task is not None and event.task.id in ids


# --- results ------------------------------------------------------------------------------------


def test_a_callback_gets_the_result(door: Door) -> None:
    results: SimpleQueue[TaskResult] = SimpleQueue()
    door.fake.script(Stream(), Answer(400, {"error": "no such thing"}))
    ids = [door.queue.submit_task_with_callback(ask(str(n)), results.put) for n in range(2)]
    good, bad = results.get(timeout=PATIENCE_S), results.get(timeout=PATIENCE_S)

    assert [good.task_id, bad.task_id] == ids
    assert (good.success, good.error, good.data["response"]) == (True, None, "Hello from here")
    assert (bad.success, bad.data) == (False, None)
    assert bad.error is not None and "no such thing" in bad.error


def test_a_channel_gets_the_results_in_the_order_of_ends(door: Door) -> None:
    channel: SimpleQueue[TaskResult] = SimpleQueue()
    ids = [door.queue.submit_task_with_channel(ask(str(n)), channel) for n in range(10)]

    assert [channel.get(timeout=PATIENCE_S).task_id for _ in ids] == ids


def test_a_full_channel_holds_up_nobody_else(kind: str, door: Door) -> None:
    full: Any = (asyncio.Queue if kind == "AsyncClient" else Queue)(maxsize=1)
    others: SimpleQueue[TaskResult] = SimpleQueue()
    ids = [door.queue.submit_task_with_channel(ask(str(n)), full) for n in range(4)]
    last = door.queue.submit_task_with_callback(ask(), others.put)

    assert others.get(timeout=PATIENCE_S).task_id == last
    assert [took(door, full).task_id for _ in ids] == ids
    again = door.queue.submit_task_with_channel(ask(), full)
    assert took(door, full).task_id == again


def test_a_full_queue_of_threads_holds_up_no_event_loop(door: Door) -> None:
    full: Queue[TaskResult] = Queue(maxsize=1)
    ids = [door.queue.submit_task_with_channel(ask(str(n)), full) for n in range(3)]

    assert door.queue.wait(ids[-1], timeout=PATIENCE_S).status is Status.COMPLETED
    assert [full.get(timeout=PATIENCE_S).task_id for _ in ids] == ids


def took(door: Door, channel: Any) -> TaskResult:
    if isinstance(channel, Queue):
        result: TaskResult = channel.get(timeout=PATIENCE_S)
    else:
        assert isinstance(door, EmbeddedDoor) and door._client is not None
        result = door._client.run(asyncio.wait_for(channel.get(), PATIENCE_S))
    return result


def test_callbacks_run_in_one_thread_and_may_call_verbs(door: Door) -> None:
    seen: SimpleQueue[tuple[threading.Thread, Status]] = SimpleQueue()

    def callback(result: TaskResult) -> None:
        task = door.queue.get_task(result.task_id)
        seen.put((threading.current_thread(), task.status))

    for _ in range(2):
        door.queue.submit_task_with_callback(ask(), callback)
    found = [seen.get(timeout=PATIENCE_S) for _ in range(2)]

    assert [status for _, status in found] == [Status.COMPLETED] * 2
    assert len({thread for thread, _ in found}) == 1


def test_a_callback_that_fails_is_logged_and_the_next_goes_on(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: TaskResult) -> None:
        raise RuntimeError("on purpose")

    caplog.set_level(logging.ERROR, "ollama_queue")
    channel: SimpleQueue[TaskResult] = SimpleQueue()
    task_id = door.queue.submit_task_with_callback(ask(), broken)
    door.queue.submit_task_with_channel(ask(), channel)

    assert channel.get(timeout=PATIENCE_S).success
    assert f"the callback of task {task_id} failed" in caplog.text
    assert "on purpose" in caplog.text


def ended(door: Door, act: Callable[[str], Any]) -> TaskResult:
    """What is reported of a running task that something is done to."""
    channel: SimpleQueue[TaskResult] = SimpleQueue()
    door.fake.script(Hang())
    task_id = door.queue.submit_task_with_channel(ask(), channel)
    door.fake.wait_for_calls(1)
    act(task_id)
    return channel.get(timeout=PATIENCE_S)


def test_a_cancel_is_reported(door: Door) -> None:
    result = ended(door, door.queue.cancel_task)
    assert (result.success, result.error) == (False, "cancelled")


def test_a_result_outlives_a_reboot(door: Door) -> None:
    assert ended(door, lambda _: door.reboot()).success


def test_a_timeout_is_quoted_as_it_was_given(door: Door) -> None:
    task_id = door.busy()
    queue = door.queue

    with pytest.raises(TimeoutError, match=rf"^task {task_id} has not ended within 0\.0301 s$"):
        queue.wait(task_id, timeout=0.0301)
    with pytest.raises(TimeoutError, match=r"^nothing came within 0\.0301 s$"):
        next(queue.stream_task(task_id, timeout=0.0301))
    with pytest.raises(TimeoutError, match=r"^nothing came within 0\.0301 s$"):
        queue.subscribe(["queue_paused"]).get(timeout=0.0301)


def test_a_stream_that_is_left_early_is_closed(door: Door) -> None:
    stream = door.queue.stream_task(door.busy(), timeout=PATIENCE_S)

    assert isinstance(stream, Generator)
    with closing(stream) as chunks:
        chunks.close()
        assert next(chunks, None) is None
    with pytest.raises(KeyError):
        stream.throw(KeyError("on purpose"))
