"""This queue, by its `Client`."""

import os

from ollama_queue import Client, chat_task

client = Client(os.environ["QUEUE"])


def enqueue(text):
    client.submit_task(chat_task("stub", [{"role": "user", "content": text}]))
