"""The verbs of a queue, over `QueueManager` and over `Client`: submitting, finding, waiting."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ollama_queue import (
    Conflict,
    Invalid,
    NewTask,
    Priority,
    QueueFull,
    Status,
    TaskType,
    Unavailable,
    chat_task,
    embed_task,
)
from ollama_queue.actors.api.queue_api import BulkAPI, QueueAPI
from tests.support.fakes.model_server import Stream
from tests.support.harness.doors import PATIENCE_S, VERBS, Door, EmbeddedDoor, ask, in_this_process

# --- tasks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("new", "kind_of_task", "payload"),
    [
        (ask("why?", system="Be brief."), TaskType.GENERATE, {"prompt": "why?"}),
        (chat_task("smollm2", [{"role": "user", "content": "why?"}]), TaskType.CHAT, {}),
        (embed_task("smollm2", ["a", "b"]), TaskType.EMBED, {"input": ["a", "b"]}),
    ],
)
def test_a_task_is_done_and_shown_whole(
    door: Door, new: NewTask, kind_of_task: TaskType, payload: dict[str, Any]
) -> None:
    task = door.run(new)

    assert (task.status, task.type, task.model) == (Status.COMPLETED, kind_of_task, "smollm2")
    assert task.payload is not None
    assert payload.items() <= task.payload.items()
    assert isinstance(task.result, dict)
    assert (task.attempt, task.retry_count, task.error, task.executed_on) == (1, 0, None, "ollama")
    assert [ended.error for ended in task.attempts] == [None]
    assert task.created_at <= task.started_at <= task.completed_at
    assert door.queue.get_task(task.id) == task
    assert door.queue.get_task_status(task.id) is Status.COMPLETED


def test_everything_that_may_be_asked_for_is_kept(queue: QueueAPI) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    new = ask(
        options={"temperature": 0.5},
        priority=Priority.HIGH,
        scheduled_at=later,
        max_retries=7,
        timeout_s=2.5,
        tenant="alice",
        tags=["a", "b"],
        metadata={"n": [1, None]},
    )

    task = queue.get_task(queue.submit_task(new))

    assert (task.options, task.priority, task.scheduled_at) == ({"temperature": 0.5}, 10, later)
    assert (task.max_retries, task.timeout_s, task.tenant) == (7, 2.5, "alice")
    assert (task.tags, task.metadata) == (["a", "b"], {"n": [1, None]})
    assert (task.status, task.waiting_for, task.position) == (Status.PENDING, "schedule", None)


def test_a_submit_says_where_the_task_stands(door: Door) -> None:
    door.busy()
    answers = [door.queue.submit(ask()) for _ in range(2)]

    assert [(a.status, a.position, a.created) for a in answers] == [
        (Status.PENDING, 0, True),
        (Status.PENDING, 1, True),
    ]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (NewTask(type=TaskType.GENERATE, model="m"), "prompt"),
        (NewTask(type=TaskType.GENERATE, model=" ", payload={"prompt": "hi"}), "model"),
        (NewTask(type=TaskType.CHAT, model="m", payload={"messages": []}), "messages"),
        (NewTask(type=TaskType.EMBED, model="m", payload={"input": 3}), "input"),
        (NewTask(type=TaskType.EMBED, model="m", payload={"input": "a"}, priority=16), "priority"),
        (NewTask(type=TaskType.EMBED, model="m", payload={"input": "a"}, timeout_s=0), "timeout_s"),
        (
            NewTask(type=TaskType.EMBED, model="m", payload={"input": "a"}, max_retries=-1),
            "max_retries",
        ),
        (
            NewTask(
                type=TaskType.EMBED,
                model="m",
                payload={"input": "a"},
                scheduled_at=datetime(2026, 1, 1),
            ),
            "scheduled_at",
        ),
    ],
)
def test_a_wrong_task_is_refused_with_the_field(
    queue: QueueAPI, wrong: NewTask, field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        queue.submit(wrong)

    assert refused.value.field == field
    assert queue.get_queue_stats().total_tasks == 0


def test_twenty_instant_tasks_pass_through_one_worker(door: Door) -> None:
    with ThreadPoolExecutor(4) as users:
        ids = list(users.map(lambda number: door.queue.submit_task(ask(str(number))), range(20)))
        ended = list(users.map(lambda each: door.queue.wait(each, timeout=PATIENCE_S), ids))

    assert {task.status for task in ended} == {Status.COMPLETED}
    assert (len(set(ids)), door.fake.peak) == (20, 1)


# --- idempotency --------------------------------------------------------------------------------


def test_the_same_key_finds_the_same_task(door: Door) -> None:
    door.busy()
    first = door.queue.submit(ask(), idempotency_key="k")
    again = door.queue.submit(ask(), idempotency_key="k")

    assert (first.created, again.created) == (True, False)
    assert (again.task_id, again.status, again.position) == (first.task_id, Status.PENDING, 0)
    assert door.queue.submit(ask(), idempotency_key="other").task_id != first.task_id


def test_a_key_lives_on_when_its_task_has_ended(door: Door) -> None:
    first = door.queue.submit(ask(), idempotency_key="k")
    door.queue.wait(first.task_id, timeout=PATIENCE_S)
    again = door.queue.submit(ask(), idempotency_key="k")

    assert (again.task_id, again.status) == (first.task_id, Status.COMPLETED)
    assert len(door.fake.calls) == 1


def test_a_key_of_another_task_is_a_conflict(queue: QueueAPI) -> None:
    first = queue.submit(ask("one"), idempotency_key="k")

    with pytest.raises(Conflict, match=first.task_id):
        queue.submit(ask("two"), idempotency_key="k")


def test_a_key_is_its_tenants_own(queue: QueueAPI) -> None:
    first = queue.submit(ask(tenant="alice"), idempotency_key="k")
    assert queue.submit(ask(tenant="bob"), idempotency_key="k").task_id != first.task_id


def test_a_key_too_long_is_invalid(queue: QueueAPI) -> None:
    with pytest.raises(Invalid) as refused:
        queue.submit(ask(), idempotency_key="k" * 257)
    assert refused.value.field == "idempotency_key"


# --- waiting ------------------------------------------------------------------------------------


def test_waiting_has_its_limit(door: Door) -> None:
    running = door.busy()

    with pytest.raises(TimeoutError):
        door.queue.wait(running, timeout=0.05)
    assert door.queue.get_task(running, wait=0.05).status is Status.RUNNING


def test_a_read_may_wait_for_the_end(door: Door) -> None:
    gate = threading.Event()
    door.fake.script(Stream(gate=gate))
    task_id = door.queue.submit_task(ask())
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(door.queue.get_task, task_id, wait=PATIENCE_S)
        gate.set()
        assert reading.result(PATIENCE_S).status is Status.COMPLETED


# --- limits and ends ----------------------------------------------------------------------------


@in_this_process
def test_a_full_queue_says_so_and_takes_on_again_later(kind: str, tmp_path: Path) -> None:
    door = EmbeddedDoor(kind, tmp_path, max_queue_size=1)
    running = door.busy()
    waiting = door.queue.submit_task(ask())

    with pytest.raises(QueueFull, match="max_queue_size") as refused:
        door.queue.submit_task(ask())
    assert refused.value.retry_after_s == 5
    assert door.queue.get_queue_stats().total_tasks == 2

    door.queue.cancel_task(running)
    door.queue.wait(waiting, timeout=PATIENCE_S)
    assert door.run(ask()).status is Status.COMPLETED
    door.close()


class Listener:
    """Notes which verbs it is asked for."""

    def __init__(self) -> None:
        self.heard: set[str] = set()

    def __getattr__(self, verb: str) -> Callable[..., None]:
        self.heard.add(verb)
        return lambda *args, **options: None


def test_these_tests_know_every_verb() -> None:
    listener: Any = Listener()
    for verb in VERBS:
        verb(listener)

    assert listener.heard | {"close", "unsubscribe"} == {
        name for api in (QueueAPI, BulkAPI) for name in vars(api) if name[0] != "_"
    }


@in_this_process
def test_a_closed_queue_is_unavailable(door: EmbeddedDoor) -> None:
    door.manager.close(grace_s=0)

    for verb in VERBS:
        with pytest.raises(Unavailable, match="stopped"):
            verb(door.queue)
