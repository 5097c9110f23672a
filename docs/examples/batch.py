"""Submit many tasks at once, all or none, and get the results in order."""

import os

from ollama_queue import Client, chat_task, embed_task, generate_task

SERVER = os.environ.get("OLLAMA_QUEUE_SERVER", "localhost:7125")

tasks = [
    chat_task("qwen3", [{"role": "user", "content": "Name a colour"}]),
    generate_task("qwen3", "Write a function"),
    embed_task("nomic-embed-text", "Sample text"),
]

with Client(SERVER) as queue:
    for number, result in enumerate(queue.submit_batch_tasks(tasks)):
        print(f"Task {number}: success={result.success}, result={result.result}")
