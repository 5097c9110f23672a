"""How much slower is the status with 500 WebSockets listening, and with 1,000 opened at once?"""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks import load
from benchmarks.harness import Bench, Sample, percentiles_ms
from benchmarks.processes import Process, Stub, queue_server
from benchmarks.programs.audience import Audience

SUBMITS_PER_S, LOOKS_PER_S = 8, 100
STATUS = load.request("GET", "/api/status")
ALONE = "raw: status, nobody listens"


def measure(bench: Bench) -> None:
    """8 submits a second, whose tasks end at once; 100 requests of the status a second."""
    with (
        Stub(bench.folder / "stub.log") as stub,
        queue_server(bench.fresh(), model_url=stub.url) as server,
    ):
        _submit(server, threading.Event(), bench.size(200, 20))  # so that snapshots contain them
        bench.table([(partial(_round, bench, server), bench.runs)])


def _round(bench: Bench, server: Process) -> Iterator[Sample]:
    seconds, many = bench.size(10, 1), bench.size(500, 20)
    over = threading.Event()
    submitting = threading.Thread(target=_submit, args=(server, over))
    submitting.start()
    try:
        yield Sample(ALONE, _looks(server, until=_clock(seconds)))
        with Audience(server.port, many):
            figures = _looks(server, until=_clock(seconds))
        yield Sample(f"status, {many} listen", figures, (ALONE,))
        used = server.cpu_s
        with Audience(server.port, 2 * many, eager=True) as opening:
            figures = _looks(server, until=lambda: opening.has_opened)
            figures["s until all have a snapshot"] = opening.opened_s()
            figures["server CPU s meanwhile"] = server.cpu_s - used
        yield Sample(f"status, {2 * many} are opened", figures, (ALONE,))
    finally:
        over.set()
        submitting.join()


def _submit(server: Process, over: threading.Event, at_once: int = 0) -> None:
    """Submit `at_once` tasks, or at a steady rate until `over` is set."""
    connection = load.Connection(server.port)
    message = load.request("POST", "/api/tasks", load.task_body())
    for _ in range(at_once):
        connection.exchange(message)
    while not at_once and not over.wait(1 / SUBMITS_PER_S):
        connection.exchange(message)
    connection.close()


def _looks(server: Process, until: Callable[[], bool]) -> dict[str, float]:
    """Request the status at a steady rate, or as fast as answers arrive."""
    connection = load.Connection(server.port)
    latencies: list[int] = []
    used, began = server.cpu_s, time.monotonic()
    while not until():
        connection.exchange(STATUS)
        latencies.append(time.monotonic_ns() - connection.sent_ns)
        time.sleep(max(0.0, 1 / LOOKS_PER_S - latencies[-1] / 1e9))
    connection.close()
    busy = (server.cpu_s - used) / (time.monotonic() - began)
    return {**percentiles_ms(latencies), "longest ms": max(latencies) / 1e6, "cores busy": busy}


def _clock(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end
