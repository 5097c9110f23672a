"""Batches with a callback, and scheduled tasks."""

import os
from datetime import UTC, datetime, timedelta
from threading import Semaphore

from ollama_queue import Client, TaskResult, chat_task, embed_task, generate_task

SERVER = os.environ.get("OLLAMA_QUEUE_SERVER", "localhost:7125")
called_back = Semaphore(0)

tasks = [
    chat_task("qwen3", [{"role": "user", "content": "The first task"}]),
    generate_task("qwen3", "The second"),
    embed_task("nomic-embed-text", "And a text to embed"),
]


def report(results: list[TaskResult]) -> None:
    succeeded = sum(result.success for result in results)
    print(f"Batch completed: {succeeded} of {len(results)} succeeded")
    called_back.release()


with Client(SERVER) as queue:
    for number, result in enumerate(queue.submit_batch_tasks(tasks), 1):
        print(f"Task {number}:", "completed" if result.success else result.error)

    print("Batch submitted:", queue.submit_batch_tasks_async(tasks, report))
    called_back.acquire(timeout=300)

    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    later = chat_task("qwen3", [{"role": "user", "content": "This runs in an hour"}])
    print("Task scheduled:", queue.submit_scheduled_task(later, in_an_hour))

    soon = datetime.now(UTC) + timedelta(seconds=1)
    print("Batch scheduled:", queue.submit_scheduled_batch_tasks_async(tasks, soon, report))
    called_back.acquire(timeout=300)
