"""Do a submit, a task's run, a page of the list and the status cost more when many wait?"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

from benchmarks import load
from benchmarks.harness import Bench, Sample, at_most
from benchmarks.processes import Process, Stub, hello_server, server_of
from benchmarks.submits import batches

WORKERS = 16
BATCH = 10_000
HELLO = "raw: hello on pywsgi"
POST = load.request("POST", "/api/tasks", load.task_body())
READS = {
    "page of 100": (load.request("GET", "/api/tasks?limit=100"), at_most(2)),
    "status": (load.request("GET", "/api/status"), at_most(0.5)),
}
CPU = "server CPU µs each"
MEMORY_MIB = {100_000: 140, 1_000_000: 1_024}


def measure(bench: Bench) -> None:
    """One paused server for each number of tasks, measured in turn: a page shows why each waits."""
    sizes = (300, 1_000) if bench.quick else (1_000, 10_000, 100_000, 1_000_000)
    with ExitStack() as stack:
        stub = stack.enter_context(Stub(bench.folder / "stub.log"))
        bare = stack.enter_context(hello_server(bench.folder / "hello.log"))
        servers = {}
        for size in sizes:
            servers[size] = stack.enter_context(server_of(bench.fresh(), _settings(stub)))
            servers[size].post("/api/pause")
            for part in [BATCH] * (size // BATCH) or [size]:
                batches(servers[size], part, 1)
        for server in servers.values():
            _settle(server)
        bench.table([(partial(_round, bench, servers, stub, bare), bench.runs)])


def _settle(server: Process) -> None:
    """Wait until the store has merged what was written."""
    used = -1.0
    while server.cpu_s - used > 0.02:
        used = server.cpu_s
        time.sleep(1)


def _settings(stub: Stub) -> dict[str, Any]:
    queue = {"max_workers": WORKERS, "max_queue_size": 2_000_000, "max_queue_bytes": "4GiB"}
    return {"queue": queue, "ollama": {"host": stub.url}}


def _round(
    bench: Bench, servers: dict[int, Process], stub: Stub, bare: Process
) -> Iterator[Sample]:
    tasks, reads = bench.size(500, 50), bench.size(300, 20)
    fewest = min(servers)
    for kind in ("submit", "drained task"):
        for size, server in servers.items():
            cost = _submitted(server, tasks) if kind == "submit" else _drained(server, stub, tasks)
            raw = f"{kind}, {fewest:,} waiting"
            sample = Sample(f"{kind}, {size:,} waiting", {CPU: cost})
            if size != fewest:
                sample = sample._replace(against=(raw,), bars={CPU: at_most(1.2, raw)})
            yield sample
    yield Sample(HELLO, _timed(bare, load.request("GET", "/"), reads))
    for name, (message, bar) in READS.items():
        for size, server in servers.items():
            figures = _timed(server, message, reads)
            bars = {"p50 ms": bar} if size >= 100_000 else {}
            yield Sample(f"{name}, {size:,} waiting", figures, (HELLO,), bars)
    for size, server in servers.items():
        bars = {"resident MiB": at_most(MEMORY_MIB[size])} if size in MEMORY_MIB else {}
        figures = {"resident MiB": server.resident_mib}
        yield Sample(f"server, {size:,} waiting", figures, bars=bars)


def _submitted(server: Process, tasks: int) -> float:
    with load.Load(server.port, 64) as clients:
        used = server.cpu_s
        clients.send(POST, tasks)
        return (server.cpu_s - used) / tasks * 1e6


def _drained(server: Process, stub: Stub, tasks: int) -> float:
    """Run `tasks` of those that wait, and some more until the pause."""
    stub.reset()
    used = server.cpu_s
    server.post("/api/resume")
    while stub.books()["calls"] < tasks:
        time.sleep(0.01)
    server.post("/api/pause")
    while server.get("/api/status")["running_tasks"]:
        time.sleep(0.01)
    calls: int = stub.books()["calls"]
    return (server.cpu_s - used) / calls * 1e6


def _timed(server: Process, message: bytes, count: int) -> dict[str, float]:
    figures = load.closed_loop(server.port, message, 1, count)
    del figures["a second"]
    return figures
