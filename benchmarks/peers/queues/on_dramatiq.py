"""Dramatiq on Redis, with results."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.peers.queues import job

REDIS = {"host": "127.0.0.1", "port": int(os.environ["REDIS_PORT"])}
broker = RedisBroker(**REDIS)
broker.add_middleware(Results(backend=RedisBackend(**REDIS)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def call(text):
    return job.call(text)


def enqueue(text):
    call.send(text)
