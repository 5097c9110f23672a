"""A program as users write it: strict type checkers find nothing in it. It is never run."""

import asyncio
import queue as queues
from collections.abc import Iterator
from contextlib import aclosing, closing
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from ollama_queue import (
    AsyncClient,
    AuditPage,
    BackendState,
    Batch,
    BulkResult,
    Client,
    Cron,
    Delivery,
    DeliveryPage,
    Event,
    FailureGroup,
    FleetServer,
    KeyCreated,
    KeyInfo,
    NewKey,
    NewTask,
    Period,
    Priority,
    QueueAPI,
    QueueError,
    QueueManager,
    QueueStats,
    Status,
    StoreSnapshot,
    Submitted,
    Task,
    TaskFilter,
    TaskPage,
    TaskResult,
    UsageReport,
    chat_task,
    embed_task,
    generate_task,
)
from ollama_queue.testing import InMemoryQueue, ModelCall


def tasks() -> list[NewTask]:
    chat = chat_task(
        "qwen3",
        [{"role": "user", "content": "Hello!"}],
        system="You are brief.",
        priority="high",
        options={"temperature": 0.2},
        tags=["nightly"],
        metadata={"user": 5},
        scheduled_at=datetime.now(UTC),
        tools=[{"type": "function", "function": {"name": "now"}}],
        fallback_models=["qwen3:1.7b"],
        deadline=datetime.now(UTC) + timedelta(hours=1),
        start_within=600,
    )
    haiku = generate_task("qwen3", "A haiku", priority=Priority.LOW, max_retries=2, format="json")
    return [chat, haiku, embed_task("nomic-embed-text", ["a", "b"], dimensions=3, timeout_s=5)]


def told(event: Event) -> str:
    assert_type(event.task, Task | None)
    return event.event if event.task is None else f"{event.event} {event.task.id}"


def report(result: TaskResult) -> None:
    print(result.task_id, result.success, result.error)


def use(queue: QueueAPI) -> None:
    submitted = queue.submit(tasks()[0], idempotency_key="today")
    assert_type(submitted, Submitted)
    task = queue.wait(submitted, timeout=300)
    assert_type(task, Task)
    assert_type(task.status, Status)
    assert_type(queue.submit_batch_tasks(tasks(), timeout=5), list[TaskResult])
    made = queue.submit_batch(tasks())
    assert_type(queue.wait_batch(made, on_progress=print), list[TaskResult])
    assert_type(list(queue.as_completed(made.task_ids)), list[TaskResult])
    queue.on_end(made.task_ids[0], print)
    assert_type(queue.get_batch(queue.submit_batch(tasks())), Batch)
    assert_type(queue.cancel_batch(made), Batch)

    with closing(queue.stream_task(task)) as chunks:
        for chunk in chunks:
            print(chunk.id, chunk.data, chunk.done)
    with closing(queue.submit_streaming_task({"type": "generate", "model": "m"})) as chunks:
        print(next(chunks).status)

    channel: queues.Queue[TaskResult] = queues.Queue(maxsize=1)
    queue.submit_task_with_callback(tasks()[1], report)
    queue.submit_task_with_channel(tasks()[1], channel)
    subscription = queue.subscribe(["task_completed"], tasks=[submitted])
    print(told(subscription.get(timeout=5)), [told(event) for event in subscription])
    queue.unsubscribe(subscription)

    page = queue.list_page(TaskFilter(status=[Status.FAILED], limit=10))
    assert_type(page, TaskPage)
    assert_type(queue.list_tasks({"tag": "nightly"}), list[Task])
    cron_id = queue.add_cron_task({"name": "daily", "cron_expr": "0 9 * * *"}, if_exists="update")
    assert_type(queue.get_cron_task(cron_id), Cron)
    try:
        queue.cancel_tasks(filter={"model": "qwen3"})
    except QueueError as error:
        print(error.code, error.field, error.retry_after_s)


def change(queue: QueueAPI, task: Task) -> None:
    """What changes tasks: one, many, and those to come."""
    assert_type(queue.get_task(task, wait=5), Task)
    assert_type(queue.get_task_status(task), Status)
    assert_type(queue.update_task_priority(task, "high"), Task)
    for change_one in (queue.cancel_task, queue.retry_task, queue.delete_task):
        assert_type(change_one(task), Task)
    assert_type(queue.reprioritize_tasks(filter={"model": "qwen3"}, priority=1), BulkResult)
    assert_type(queue.cancel_tasks([task]), BulkResult)
    assert_type(queue.retry_tasks([task.id]), BulkResult)
    assert_type(queue.delete_tasks(filter={"tag": "nightly"}), BulkResult)
    at = datetime.now(UTC) + timedelta(hours=1)
    assert_type(queue.submit_scheduled_task(tasks()[0], at), str)
    assert_type(queue.submit_batch_tasks_async(tasks(), print), list[str])
    assert_type(queue.submit_scheduled_batch_tasks_async(tasks(), at), list[str])
    (cron, *_) = queue.list_cron_tasks()
    assert_type(queue.update_cron_task(cron, {"cron_expr": "@daily"}), Cron)
    for change_cron in (queue.enable_cron_task, queue.disable_cron_task, queue.remove_cron_task):
        assert_type(change_cron(cron), Cron)
    assert_type(queue.run_cron_task(cron.id), Submitted)


def look_after(queue: QueueAPI) -> None:
    """What an operator does."""
    assert_type(queue.get_queue_stats(), QueueStats)
    assert_type(queue.get_history("90d", by="model"), list[Period])
    assert_type(queue.get_usage(since="2026-01-01T00:00:00Z", by=["tenant"]), UsageReport)
    assert_type(queue.list_failures(tenant="acme"), list[FailureGroup])
    assert_type(queue.list_audit(action="add_key").cursor, str | None)
    assert_type(queue.list_audit(), AuditPage)
    assert_type(queue.list_batches(5), list[Batch])
    page = queue.list_deliveries(status="failed")
    assert_type(page, DeliveryPage)
    assert_type(queue.retry_delivery(page.deliveries[0].id), Delivery)
    assert_type(queue.list_backends(), list[BackendState])
    assert_type(queue.list_servers(), list[FleetServer])
    assert_type(queue.drain_backend("gpu1"), BackendState)
    assert_type(queue.resume_backend("gpu1"), BackendState)
    assert_type(queue.load_model("gpu1", "qwen3", keep_alive="10m"), BackendState)
    assert_type(queue.unload_model("gpu1", "qwen3"), BackendState)
    created = queue.add_key(NewKey(name="ann", models=["qwen*"]))
    assert_type(created, KeyCreated)
    assert_type(queue.rotate_key("ann"), KeyCreated)
    assert_type(queue.revoke_key("ann"), KeyInfo)
    assert_type(queue.list_keys(), list[KeyInfo])
    assert_type(queue.take_snapshot(), StoreSnapshot)
    queue.pause()
    queue.resume()
    queue.close()


def pieces(call: ModelCall) -> Iterator[str]:
    yield call.prompt
    yield from (call.model, str(call.payload["prompt"]))


def test_use() -> None:
    with InMemoryQueue(lambda call: "Hello", max_workers=1) as queue:
        assert_type(queue, InMemoryQueue)
        use(queue)
        manager: QueueManager = queue
        manager.pause()
    InMemoryQueue(pieces, retry_config={"max_retries": 0})
    InMemoryQueue(lambda call: [0.5, 1])
    InMemoryQueue(lambda call: [[0.5, 1.0] for _ in call.payload["input"]])
    InMemoryQueue(lambda call: {"response": call.model, "done": True})


async def use_it(address: str) -> None:
    async with AsyncClient(address, timeout=5) as queue:
        task_id = await queue.submit_task(tasks()[1])
        assert_type(await queue.wait(task_id), Task)
        async with aclosing(queue.stream_task(task_id)) as chunks:
            async for chunk in chunks:
                print(chunk.data)
        async with aclosing(queue.submit_streaming_task(tasks()[1])) as chunks:
            print((await anext(chunks)).done)
        channel: asyncio.Queue[TaskResult] = asyncio.Queue()
        await queue.submit_task_with_channel(tasks()[1], channel)
        await queue.load_model("gpu1", "qwen3")
        assert_type(await queue.get_usage(by="model"), UsageReport)
        assert_type((await queue.list_deliveries(limit=5)).cursor, str | None)
        assert_type((await queue.add_key({"name": "ann"})).key, str)
        async with await queue.subscribe() as events:
            async for event in events:
                print(told(event))


def main() -> None:
    options: dict[str, Any] = {"log_level": "debug"}
    with QueueManager(
        ollama_host="http://localhost:11434",
        storage_path="./data",
        max_workers=3,
        ollama_timeout="5m",
        durability="relaxed",
        retry_config={"max_retries": 3, "initial_delay": "1s"},
    ) as embedded:
        use(embedded)
    QueueManager(**options)
    with Client("localhost:7125") as client:
        use(client)
    asyncio.run(use_it("localhost:7125"))
