"""Embed the queue in a program, without a server. Its tasks are stored in ./data."""

import os
from threading import Event

from ollama_queue import QueueManager, TaskResult, chat_task

OLLAMA = os.environ.get("OLLAMA_HOST", "http://localhost:11434")
reported = Event()


def report(result: TaskResult) -> None:
    if result.success:
        print("Task completed:", result.result["message"]["content"])
    else:
        print("Task failed:", result.error)
    reported.set()


with QueueManager(ollama_host=OLLAMA, max_workers=4, storage_path="./data") as queue:
    question = chat_task(
        "qwen3", [{"role": "user", "content": "Hello, how are you?"}], priority="high"
    )
    task_id = queue.submit_task(question)
    print("Task submitted:", task_id)
    queue.wait(task_id, timeout=300)

    queue.submit_task_with_callback(question, report)
    reported.wait(300)
