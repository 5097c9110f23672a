"""Wait for a task to end, without polling."""

import os
import sys

from ollama_queue import Client, Status, chat_task

SERVER = os.environ.get("OLLAMA_QUEUE_SERVER", "localhost:7125")

with Client(SERVER) as queue:
    question = chat_task("qwen3", [{"role": "user", "content": "Hello, how are you?"}])
    task = queue.wait(queue.submit_task(question), timeout=300)

if task.status is Status.COMPLETED:
    print("Task completed:", task.result["message"]["content"])
else:
    sys.exit(f"Task {task.status}: {task.error}")
