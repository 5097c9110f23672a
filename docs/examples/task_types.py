"""The three types of tasks. All fields of Ollama's endpoints can be given by name."""

import os

from ollama_queue import Client, Priority, chat_task, embed_task, generate_task

SERVER = os.environ.get("OLLAMA_QUEUE_SERVER", "localhost:7125")

chat = chat_task(
    "qwen3",
    [
        {"role": "system", "content": "Answer in English"},
        {"role": "user", "content": "Why does ice float?"},
    ],
    priority=Priority.HIGH,
    system="You teach physics to children",
    stream=True,
)
generate = generate_task(
    "qwen3",
    "Write a function that sums the squares up to n",
    priority=Priority.NORMAL,
    system="Answer with code alone",
    template="{{ .System }}\n{{ .Prompt }}",
)
embed = embed_task(
    "nomic-embed-text",
    "The queue remembers what you asked",
    priority=Priority.NORMAL,
    truncate=True,
)

with Client(SERVER) as queue:
    talk, code, vector = queue.submit_batch_tasks([chat, generate, embed], timeout=300)
    print("chat:", talk.result["message"]["content"])
    print("generate:", code.result["response"])
    print("embed:", len(vector.result["embeddings"][0]), "numbers")
