"""Watch tasks end, in a separate thread."""

import os
from threading import Thread

from ollama_queue import Client, generate_task

SERVER = os.environ.get("OLLAMA_QUEUE_SERVER", "localhost:7125")

with Client(SERVER) as queue:
    events = queue.subscribe(["task_completed", "task_failed"])

    def watch() -> None:
        for event in events:
            print(f"Event: {event.event}, task: {event.task.id}, status: {event.task.status}")
            if event.task.id == task_id:
                queue.unsubscribe(events)

    task_id = queue.submit_task(generate_task("qwen3", "Write a haiku"))
    watcher = Thread(target=watch)
    watcher.start()
    watcher.join()
