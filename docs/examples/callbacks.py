"""Get results without waiting for each task: by a callback, or through a channel."""

import os
from queue import Queue
from threading import Event

from ollama_queue import Client, TaskResult, embed_task, generate_task

SERVER = os.environ.get("OLLAMA_QUEUE_SERVER", "localhost:7125")
called_back = Event()
channel: Queue[TaskResult] = Queue()


def report(result: TaskResult) -> None:
    """Called in a thread of the client, one result at a time."""
    print("Called back:", result.result["response"] if result.success else result.error)
    called_back.set()


with Client(SERVER) as queue:
    queue.submit_task_with_callback(generate_task("qwen3", "Write a haiku"), report)
    called_back.wait(300)

    queue.submit_task_with_channel(embed_task("nomic-embed-text", "Some words"), channel)
    vector = channel.get(timeout=300)
    print("Through the channel:", vector.result["embeddings"] if vector.success else vector.error)
