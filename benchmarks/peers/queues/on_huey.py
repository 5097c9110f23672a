"""Huey on Redis, or on SQLite with an fsync for each transaction."""

import os

from huey import RedisHuey, SqliteHuey

from benchmarks.peers.queues import job

if "SQLITE" in os.environ:
    huey = SqliteHuey("bench", filename=os.environ["SQLITE"], fsync=True)
else:
    huey = RedisHuey("bench", host="127.0.0.1", port=int(os.environ["REDIS_PORT"]))


@huey.task()
def call(text):
    return job.call(text)


def enqueue(text):
    call(text)
