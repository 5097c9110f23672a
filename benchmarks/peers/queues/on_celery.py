"""Celery on Redis: a task is acknowledged when it has run, and its result kept."""

import os

from celery import Celery

from benchmarks.peers.queues import job

REDIS = f"redis://127.0.0.1:{os.environ['REDIS_PORT']}"
app = Celery("bench", broker=f"{REDIS}/0", backend=f"{REDIS}/1")
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=4,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="call")
def call(text):
    return job.call(text)


def enqueue(text):
    call.delay(text)
