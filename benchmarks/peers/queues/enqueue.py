"""Enqueues jobs: `python -m benchmarks.peers.queues.enqueue MODULE`.

Each line of input is `COUNT PER_SECOND`, as fast as it can if that is 0; each line of output gives
the time at which the first of them began and the last was acknowledged.
"""

import importlib
import sys
import time

from benchmarks.peers.queues import job


def main() -> None:
    queue = importlib.import_module(f"benchmarks.peers.queues.{sys.argv[1]}")
    for line in sys.stdin:
        count, per_second = map(float, line.split())
        began = time.monotonic()
        for number in range(int(count)):
            if per_second:
                time.sleep(max(0.0, began + number / per_second - time.monotonic()))
            queue.enqueue(job.prompt())
        print(began, time.monotonic(), flush=True)


if __name__ == "__main__":
    main()
