"""`InMemoryQueue`, for the tests of users' programs: in all that they can see it is a queue."""

import os
import queue as queues
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ollama_queue import (
    Conflict,
    Invalid,
    NewTask,
    NotFound,
    QueueFull,
    QueueManager,
    chat_task,
    embed_task,
    generate_task,
)
from ollama_queue.actors.base.actor import tell
from ollama_queue.testing import InMemoryQueue, ModelCall

PATIENCE_S = 20.0
HELLO = [{"role": "user", "content": "Hi, model"}]
CHAT, STORY = chat_task("qwen3", HELLO), generate_task("qwen3", "Hi, model")


def run(function: Callable[[ModelCall], Any], new: NewTask = CHAT, **options: Any) -> Any:
    with InMemoryQueue(function, **options) as queue:
        return queue.wait(queue.submit_task(new), timeout=PATIENCE_S)


def echo(call: ModelCall) -> str:
    return call.prompt[::-1]


@pytest.fixture
def queue() -> Iterator[InMemoryQueue]:
    with InMemoryQueue(echo) as opened:
        yield opened


# --- what a function may return -----------------------------------------------------------------


def test_a_text_is_the_reply() -> None:
    chat, story = run(echo), run(echo, STORY)

    assert chat.result["message"] == {"role": "assistant", "content": "ledom ,iH"}
    assert story.result["response"] == "ledom ,iH"
    assert (chat.status, chat.result["model"], chat.result["done"]) == ("completed", "qwen3", True)


def test_pieces_are_streamed_as_they_come() -> None:
    more = threading.Event()

    def pieces(call: ModelCall) -> Iterator[str]:
        yield "Once"
        assert more.wait(PATIENCE_S)
        yield " upon"

    with InMemoryQueue(pieces) as queue:
        said = []
        chunks = queue.submit_streaming_task(STORY, timeout=PATIENCE_S)
        for chunk in chunks:
            more.set()  # the first piece is here before the second is made
            if chunk.data is not None:
                said.append(chunk.data["response"])
        task = queue.get_task(chunks.task_id)
    assert said == ["Once", " upon", ""]
    assert task.result["response"] == "Once upon"


@pytest.mark.parametrize(
    ("vectors", "whole"),
    [([1.0, 2.0], [[1.0, 2.0]]), ([[1, 2], [3, 4]], [[1, 2], [3, 4]]), ((0.5,), [[0.5]])],
)
def test_numbers_are_the_vectors_of_an_embedding(vectors: Any, whole: Any) -> None:
    task = run(lambda call: vectors, embed_task("nomic-embed-text", ["a", "b"]))

    assert task.result["embeddings"] == whole


def test_a_mapping_is_the_whole_reply() -> None:
    calls = [{"function": {"name": "now", "arguments": {}}}]
    reply = {"message": {"role": "assistant", "content": "", "tool_calls": calls}, "done": True}

    with InMemoryQueue(lambda call: reply) as queue:
        task = queue.wait(queue.submit_task(CHAT), timeout=PATIENCE_S)
        pieces = [chunk.data for chunk in queue.stream_task(task)]
    assert task.result == reply
    assert pieces == [reply, None]


@pytest.mark.parametrize(
    ("new", "answer", "words"),
    [
        (CHAT, 7, "int"),
        (CHAT, None, "NoneType"),
        (CHAT, [1.0], "must return text, not float"),
        (embed_task("m", "a"), "words", "must return numbers, not str"),
        (embed_task("m", "a"), [], "must return numbers"),
        (embed_task("m", "a"), ["b"], "must return numbers"),
        (CHAT, {"result": object()}, "JSON"),
        (CHAT, {"result": float}, "JSON"),
    ],
)
def test_what_is_no_answer_fails_the_task_in_words(new: NewTask, answer: Any, words: str) -> None:
    task = run(lambda call: answer, new)

    assert (task.status, task.attempt) == ("failed", 1)
    assert words in task.error


# --- what it is asked ---------------------------------------------------------------------------


def test_the_function_sees_what_is_asked() -> None:
    seen: list[ModelCall] = []

    def note(call: ModelCall) -> str:
        seen.append(call)
        return "noted"

    run(note, chat_task("qwen3", HELLO, options={"seed": 1}, metadata={"user": 5}, format="json"))

    (call,) = seen
    assert (call.type, call.model, call.prompt) == ("chat", "qwen3", "Hi, model")
    assert (call.options, call.metadata) == ({"seed": 1}, {"user": 5})
    assert call.payload == {"messages": HELLO, "format": "json"}


@pytest.mark.parametrize(
    ("new", "prompt"),
    [(STORY, "Hi, model"), (embed_task("m", ["a", "b"]), "a"), (embed_task("m", "c"), "c")],
)
def test_the_prompt_is_what_is_to_be_answered(new: NewTask, prompt: str) -> None:
    seen: list[str] = []
    run(lambda call: seen.append(call.prompt) or [1.0], new)  # type: ignore[func-returns-value]

    assert seen[0] == prompt


# --- failures -----------------------------------------------------------------------------------


def test_an_exception_is_a_failed_attempt() -> None:
    calls = []

    def flaky(call: ModelCall) -> str:
        calls.append(call)
        if len(calls) < 3:
            raise OSError("the cable is out")
        return "at last"

    task = run(flaky)

    assert (task.status, task.attempt) == ("completed", 3)
    assert [each.error for each in task.attempts] == ["the cable is out"] * 2 + [None]


def test_retries_are_counted_as_they_are_everywhere() -> None:
    def broken(call: ModelCall) -> str:
        raise ValueError

    assert run(broken, generate_task("m", "x", max_retries=1)).attempt == 2
    task = run(broken, STORY, retry_config={"max_retries": 2, "initial_delay": 0.001})
    assert (task.status, task.attempt, task.error) == ("failed", 3, "ValueError")


def test_invalid_is_not_tried_again() -> None:
    def refuse(call: ModelCall) -> str:
        raise Invalid("this model does not support chat")

    task = run(refuse)

    assert (task.status, task.attempt) == ("failed", 1)
    assert task.error == "this model does not support chat"


def test_an_assertion_that_fails_in_the_function_does_not_hang_the_test() -> None:
    task = run(lambda call: pytest.fail("not asked like this"))

    assert (task.status, task.attempt, task.error) == ("failed", 1, "not asked like this")


def test_an_error_behind_some_pieces_starts_the_reply_anew() -> None:
    attempts = []

    def cut(call: ModelCall) -> Iterator[str]:
        attempts.append(call)
        yield "Once"
        if len(attempts) == 1:
            raise OSError("cut")

    with InMemoryQueue(cut) as queue:
        chunks = list(queue.submit_streaming_task(STORY, timeout=PATIENCE_S))
        task = queue.get_task(queue.list_tasks()[0])
    assert [chunk.restart for chunk in chunks].count(True) == 1
    assert task.result["response"] == "Once"


# --- calls that do not come back ----------------------------------------------------------------


class Gate:
    """A function that answers once it is let, and says when it is called."""

    def __init__(self) -> None:
        self.called, self.opened = threading.Semaphore(0), threading.Event()
        self.prompts: list[str] = []

    def __call__(self, call: ModelCall) -> str:
        self.prompts.append(call.prompt)
        self.called.release()
        self.opened.wait(PATIENCE_S)
        return "late"


def test_a_running_task_can_be_cancelled_and_its_slot_is_free() -> None:
    gate = Gate()
    with InMemoryQueue(gate, max_workers=1) as queue:
        first = queue.submit_task(STORY)
        assert gate.called.acquire(timeout=PATIENCE_S)
        queue.cancel_task(first)
        second = queue.submit_task(STORY)
        assert gate.called.acquire(timeout=PATIENCE_S)  # while the first call still hangs
        gate.opened.set()

        assert queue.wait(second, timeout=PATIENCE_S).status == "completed"
        assert queue.get_task(first).status == "cancelled"


def test_a_task_fails_after_its_timeout() -> None:
    gate = Gate()
    task = run(gate, generate_task("m", "x", timeout_s=0.05, max_retries=0))
    gate.opened.set()

    assert (task.status, task.error) == ("failed", "no answer within timeout_s = 0.05 s")


def test_closing_waits_for_no_call() -> None:
    gate = Gate()
    with InMemoryQueue(gate) as queue:
        queue.submit_task(STORY)
        assert gate.called.acquire(timeout=PATIENCE_S)
    assert not gate.opened.is_set()
    gate.opened.set()


def test_an_endless_reply_can_be_left() -> None:
    """The generator that makes it is closed, too."""
    is_closed = threading.Event()

    def endless(call: ModelCall) -> Iterator[str]:
        try:
            while True:
                yield "x"
        finally:
            is_closed.set()

    with InMemoryQueue(endless) as queue:
        with closing(queue.submit_streaming_task(STORY, cancel_on_close=True)) as chunks:
            next(chunks)
        assert queue.wait(chunks.task_id, timeout=PATIENCE_S).status == "cancelled"
        assert is_closed.wait(PATIENCE_S)


# --- as a queue ---------------------------------------------------------------------------------


def test_it_is_a_queue_manager_with_nothing_more_to_learn() -> None:
    more = {*dir(InMemoryQueue)} - {*dir(QueueManager)}

    assert issubclass(InMemoryQueue, QueueManager)
    assert [name for name in more if not name.startswith("_")] == []


def test_the_highest_priority_runs_first() -> None:
    gate = Gate()
    with InMemoryQueue(gate, max_workers=1) as queue:
        queue.pause()
        ids = [
            queue.submit_task(generate_task("m", str(level), priority=level))
            for level in (1, 15, 5)
        ]
        gate.opened.set()
        queue.resume()
        for task_id in ids:
            queue.wait(task_id, timeout=PATIENCE_S)
    assert gate.prompts == ["15", "5", "1"]


def test_batches_callbacks_channels_and_events(queue: InMemoryQueue) -> None:
    events = queue.subscribe(["task_completed"])
    results = queue.submit_batch_tasks([STORY] * 20, timeout=PATIENCE_S)
    assert [result.result["response"] for result in results] == ["ledom ,iH"] * 20
    assert events.get(timeout=PATIENCE_S).event == "task_completed"

    channel: queues.Queue[Any] = queues.Queue()
    queue.submit_task_with_channel(STORY, channel)
    queue.submit_batch_tasks_async([STORY] * 3, channel.put)
    got = [channel.get(timeout=PATIENCE_S) for _ in range(2)]
    assert sorted(len(each) if isinstance(each, list) else 1 for each in got) == [1, 3]
    (batch, _) = queue.list_batches()
    assert queue.get_batch(batch.id).completed == 3


def test_crons_run(queue: InMemoryQueue) -> None:
    template = {"type": "generate", "model": "qwen3", "prompt": "report"}
    cron_id = queue.add_cron_task(
        {"name": "daily", "cron_expr": "0 9 * * *", "task_template": template}
    )
    run = queue.run_cron_task(cron_id)

    assert queue.wait(run, timeout=PATIENCE_S).result["response"] == "troper"
    assert queue.get_cron_task(cron_id).next_run is not None
    with pytest.raises(Conflict):
        queue.add_cron_task(
            {"name": "daily", "cron_expr": "@daily", "task_template": template}, if_exists="error"
        )


def test_lists_keys_and_many_at_once(queue: InMemoryQueue) -> None:
    first = queue.submit(STORY, idempotency_key="k")
    again = queue.submit(STORY, idempotency_key="k")
    assert (again.task_id, again.created) == (first.task_id, False)
    with pytest.raises(Conflict):
        queue.submit(CHAT, idempotency_key="k")
    queue.wait(first, timeout=PATIENCE_S)

    queue.pause()
    ids = [queue.submit_task(generate_task("m", str(n), tags=["t"])) for n in range(30)]
    assert [task.id for task in queue.list_tasks({"tag": "t", "limit": 10})] == ids[:-11:-1]
    assert queue.list_page({"status": "pending"}).total == 30
    assert queue.cancel_tasks(filter={"tag": "t"}).done == 30
    assert queue.delete_tasks(ids).done == 30
    with pytest.raises(NotFound):
        queue.get_task(ids[0])
    assert queue.get_queue_stats().total_tasks == 1
    assert queue.get_history()[-1].submitted >= 1


def test_a_full_queue_is_full() -> None:
    with InMemoryQueue(echo, max_queue_size=1) as queue:
        queue.pause()
        queue.submit_task(STORY)
        with pytest.raises(QueueFull):
            queue.submit_task(STORY)


def test_tasks_outlive_a_restart_of_the_actors(queue: InMemoryQueue) -> None:
    """A crash inside the queue is what it is on disk: all that was acknowledged is there."""
    done = queue.wait(queue.submit_task(STORY), timeout=PATIENCE_S)
    queue.pause()
    waiting = queue.submit_task(STORY)
    switchboard = queue._switchboard
    now = switchboard.current()
    nonsense: Any = "no message at all"
    tell(now.bus, nonsense)
    switchboard.after(now, PATIENCE_S)

    assert queue.get_task(done).result == done.result
    assert [task.id for task in queue.list_tasks()] == [waiting, done.id]
    queue.resume()
    assert queue.wait(waiting, timeout=PATIENCE_S).status == "completed"


def test_two_have_nothing_in_common(queue: InMemoryQueue) -> None:
    queue.submit_task(STORY)
    with InMemoryQueue(echo) as other:
        assert other.list_tasks() == []


def test_it_leaves_nothing_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(echo)

    assert os.listdir(tmp_path) == []


# --- what is wrong with how it is made ----------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "options", "field"),
    [
        ("no function", {}, "function"),
        (echo, {"max_workers": 0}, "max_workers"),
        (echo, {"max_workers": "many"}, "max_workers"),
        (echo, {"max_queue_size": 0}, "max_queue_size"),
        (echo, {"retry_config": {"max_retries": -1}}, "retry_config.max_retries"),
        (echo, {"retry_config": 5}, "retry_config"),
    ],
)
def test_a_wrong_argument_is_named(function: Any, options: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as error:
        InMemoryQueue(function, **options)

    assert error.value.field == field
