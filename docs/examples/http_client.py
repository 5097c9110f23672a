"""Submit a chat to a running server, and read its status."""

import os

from ollama_queue import Client, chat_task

SERVER = os.environ.get("OLLAMA_QUEUE_SERVER", "localhost:7125")

with Client(SERVER) as queue:
    question = chat_task(
        "qwen3", [{"role": "user", "content": "Hello, how are you?"}], priority="high"
    )
    task_id = queue.submit_task(question)
    print("Task submitted:", task_id)

    task = queue.get_task(task_id)
    print("Task status:", task.status)
