"""RQ on Redis."""

import os

from redis import Redis
from rq import Queue

from benchmarks.peers.queues import job

queue = Queue("bench", connection=Redis(port=int(os.environ["REDIS_PORT"])))


def enqueue(text):
    queue.enqueue(job.call, text)
