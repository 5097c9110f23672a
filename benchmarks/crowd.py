"""How much slower is one client beside 1,000 open feeds, and beside a tenfold overload?"""

import time
from collections.abc import Iterator
from functools import partial

from benchmarks import load
from benchmarks.harness import Bench, Sample, at_most, percentiles_ms
from benchmarks.processes import Process, Stub, paused_server, queue_server
from benchmarks.programs.audience import Audience
from ollama_queue import Client

SUBMITS_PER_S = 20
ENOUGH = 5_000_000  # submits: more than a round has time for
ALONE = "raw: submits, nobody else"
ALONE_TOO = "raw: submits with a key, nobody else"
FULL = "raw: submits with a key, 64 connections of another"


def measure(bench: Bench) -> None:
    """20 submits a second of one client. With the feeds, its tasks end at once. 64 connections
    that submit without a pause are as much as the server takes, so 640 are ten times that."""
    with (
        Stub(bench.folder / "stub.log") as stub,
        queue_server(bench.fresh(), model_url=stub.url) as server,
    ):
        _submits(server, 1)  # warm
        bench.table([(partial(_feeds, bench, server), bench.runs)])
    bench.table([(partial(_overload, bench), bench.runs)])


def _feeds(bench: Bench, server: Process) -> Iterator[Sample]:
    seconds, many = bench.size(10, 1), bench.size(1_000, 20)
    yield Sample(ALONE, _submits(server, seconds))
    with Audience(server.port, many):
        figures = _submits(server, seconds)
    bars = {"p99 ms": at_most(2, ALONE)}
    yield Sample(f"submits, {many:,} feeds open", figures, (ALONE,), bars)


def _overload(bench: Bench) -> Iterator[Sample]:
    seconds = bench.size(10, 1)
    with paused_server(bench.fresh()) as server:
        with Client(server.url) as client:
            admin = client.add_key({"name": "ops", "role": "admin"}).key
        with Client(server.url, api_key=admin) as ops:
            key, other = (ops.add_key({"name": name}).key for name in ("one", "other"))
        _submits(server, 1, key)  # warm
        yield Sample(ALONE_TOO, _submits(server, seconds, key))
        yield Sample(FULL, _beside(server, 64, seconds, key, other), (ALONE_TOO,))
        figures = _beside(server, 640, seconds, key, other)
        bars = {"p99 ms": at_most(2, FULL)}
        name = "submits with a key, 640 connections of another"
        yield Sample(name, figures, (ALONE_TOO, FULL), bars)


def _beside(
    server: Process, connections: int, seconds: float, key: str, other: str
) -> dict[str, float]:
    """The figures of submits with a key while others submit over so many connections."""
    message = load.request("POST", "/api/tasks", load.task_body(), other)
    with load.Load(server.port, connections) as others:
        others.tell(b"%d %d\n%s" % (ENOUGH, len(message), message))
        return _submits(server, seconds, key)


def _submits(server: Process, seconds: float, key: str = "") -> dict[str, float]:
    """Submit at a steady rate; returns how long the answers took, and the server's CPU time."""
    connection, latencies = load.Connection(server.port), list[int]()
    message = load.request("POST", "/api/tasks", load.task_body(), key)
    used, began = server.cpu_s, time.monotonic()
    while time.monotonic() < began + seconds:
        connection.exchange(message)
        latencies.append(time.monotonic_ns() - connection.sent_ns)
        time.sleep(max(0.0, 1 / SUBMITS_PER_S - latencies[-1] / 1e9))
    connection.close()
    busy = (server.cpu_s - used) / (time.monotonic() - began)
    return {**percentiles_ms(latencies), "longest ms": max(latencies) / 1e6, "cores busy": busy}
