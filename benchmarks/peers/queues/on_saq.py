"""SAQ on Redis."""

import asyncio
import os

from saq import Queue

from benchmarks.peers.queues import job

queue = Queue.from_url(f"redis://127.0.0.1:{os.environ['REDIS_PORT']}", name="bench")
_loop = asyncio.new_event_loop()


async def call(_, *, text):
    return await job.call_async(text)


settings = {
    "queue": queue,
    "functions": [call],
    "concurrency": int(os.environ.get("WORKERS", "4")),
}


def enqueue(text):
    _loop.run_until_complete(queue.enqueue("call", text=text))
