"""Print a reply while the model generates it."""

import os

from ollama_queue import Client, chat_task

SERVER = os.environ.get("OLLAMA_QUEUE_SERVER", "localhost:7125")

with Client(SERVER) as queue:
    story = chat_task("qwen3", [{"role": "user", "content": "Tell me a story"}])
    for chunk in queue.submit_streaming_task(story):
        if chunk.restart:
            print("\n(The connection to the model was lost; starting again.)")
        elif chunk.error:
            print("\nStream error:", chunk.error)
        elif chunk.done:
            print("\nStream", chunk.status)
        else:
            print(chunk.data["message"]["content"], end="", flush=True)
