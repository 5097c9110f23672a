"""Procrastinate on PostgreSQL."""

import os

import procrastinate

from benchmarks.peers.queues import job

POSTGRES = os.environ["POSTGRES"]
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=POSTGRES, max_size=40))
_opened = []


@app.task(name="call", queue="bench")
async def call(text):
    return await job.call_async(text)


@app.task(name="noop", queue="bench")
async def noop(text):
    pass


def enqueue(text):
    if not _opened:
        connector = procrastinate.SyncPsycopgConnector(conninfo=POSTGRES, min_size=1, max_size=1)
        _opened.append(app.replace_connector(connector))
        _opened[0].__enter__().open()
    call.defer(text=text)
