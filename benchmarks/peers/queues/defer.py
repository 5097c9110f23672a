"""Procrastinate in one process, as fast as it can: `python -m benchmarks.peers.queues.defer`.

Each line of input is `TASK CLIENTS SIZE COUNT`: so many coroutines defer COUNT jobs in all, SIZE in
each transaction. A line of output says how many seconds it took.
"""

import asyncio
import sys
import time

from benchmarks.peers.queues import job, on_procrastinate


async def defer(task, size, count):
    for _ in range(count // size):
        if size == 1:
            await task.defer_async(text=job.prompt())
        else:
            await task.batch_defer_async(*({"text": job.prompt()} for _ in range(size)))


async def main():
    async with on_procrastinate.app.open_async():
        while line := sys.stdin.readline():
            name, *numbers = line.split()
            task, (clients, size, count) = getattr(on_procrastinate, name), map(int, numbers)
            began = time.monotonic()
            await asyncio.gather(*(defer(task, size, count // clients) for _ in range(clients)))
            print(time.monotonic() - began, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
