"""What does a stream through the queue cost and delay, beside the same call made directly?"""

import statistics
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks import load
from benchmarks.harness import Bench, Sample, at_most, percentiles_ms
from benchmarks.processes import Process, Stub, server_of
from benchmarks.programs.stream_readers import Readers, Times

PER_SECOND = 50
FLAT = 4  # streams at once, flat out
OLLAMA, OPENAI = "/api/chat", "/v1/chat/completions"
MODELS = {OLLAMA: "stub", OPENAI: "other"}
CPU = "server CPU µs a chunk"


def measure(bench: Bench) -> None:
    """Each path has a model server of its own dialect."""
    with Stub(bench.folder / "stub.log") as models:
        most = bench.size(400, 8)
        backends: list[dict[str, Any]] = [
            {"name": "ollama", "url": models.url},
            {"name": "openai", "type": "openai", "url": f"{models.url}/v1"},
        ]
        settings = {"backends": [{**each, "parallel": most} for each in backends]}
        with server_of(bench.fresh(), settings) as queue:
            for path in (OLLAMA, OPENAI):  # connections open, modules are loaded
                _streams(queue, path, PER_SECOND, 5, 8)
            bench.table([(partial(_round, bench, models, queue), bench.runs)])


def _round(bench: Bench, models: Process, queue: Process) -> Iterator[Sample]:
    chunks = bench.size(4 * PER_SECOND, 20)
    for path in (OLLAMA, OPENAI):
        raw = f"raw: first byte, one stream at a time, {path} directly"
        times = bench.size(100, 5)
        directly, figures = _first_bytes(models, path, times), _first_bytes(queue, path, times)
        yield Sample(raw, directly)
        figures = {**figures, **_added(figures, directly)}
        bars = {"p50 ms, added": at_most(1.5), "p99 ms, added": at_most(5)}
        yield Sample(f"first byte, one stream at a time, {path}", figures, (raw,), bars)
    for count in (8,) if bench.quick else (48, 400):
        for path in (OLLAMA, OPENAI):
            raw = f"raw: {count} streams, {path} directly"
            directly = _streams(models, path, PER_SECOND, chunks, count)
            figures = _streams(queue, path, PER_SECOND, chunks, count, models)
            yield Sample(raw, directly)
            bars = {CPU: at_most(60), "total ms": at_most(1.02, raw)}
            figures = {**figures, **_added(figures, directly)}
            yield Sample(f"{count} streams, {path}", figures, (raw,), bars)
    count = bench.size(48, 8)
    unread = _unread(models, queue, chunks, count)
    yield Sample(f"{count} streams that nobody reads", unread, bars={CPU: at_most(15)})
    for path in (OLLAMA, OPENAI):
        raw, chunks = f"raw: flat out, {FLAT} streams, {path} directly", bench.size(5_000, 200)
        yield Sample(raw, _flat_out(models, path, chunks))
        yield Sample(f"flat out, {FLAT} streams, {path}", _flat_out(queue, path, chunks), (raw,))


def _added(figures: dict[str, float], directly: dict[str, float]) -> dict[str, float]:
    """The delays, less those of the direct call."""
    return {
        f"{unit}, added": figures[unit] - directly[unit]
        for unit in directly
        if unit.endswith(("p50 ms", "p99 ms"))
    }


def _request(path: str, rate: int, chunks: int) -> bytes:
    words = f"{load.WORDS} @pace={rate}/{chunks}@"
    body = load.chat_body(words, MODELS[path])
    return load.request("POST", path, body[:-1] + b',"stream":true}')


def _first_bytes(server: Process, path: str, times: int) -> dict[str, float]:
    """From a request to the first byte of its answer, on an idle server.

    The second chunk, which ends the stream, comes later: it is not what is measured.
    """
    latencies: list[int] = []
    connection, message = load.Connection(server.port), _request(path, PER_SECOND, 2)
    for _ in range(times):
        time.sleep(0.01)
        connection.send(message)
        over = connection.receive()
        latencies.append(time.monotonic_ns() - connection.sent_ns)
        while not over:
            over = connection.receive()
    connection.close()
    return percentiles_ms(latencies)


def _streams(
    server: Process, path: str, rate: int, chunks: int, count: int, models: Process | None = None
) -> dict[str, float]:
    """Read `count` streams; with `models`, also the server's cost of a chunk while all are running.

    They begin one after another within a fifth of the time that each takes.
    """
    over_s = chunks / rate / 5
    with Readers(server.port, _request(path, rate, chunks), count, over_s) as readers:
        readers.await_begun()
        cost = {} if models is None else _cost(server, models, chunks / rate / 2)
        times = readers.times()
    _check(times, chunks)
    total_ms = statistics.median(each.ended - each.sent for each in times) / 1e6
    first = percentiles_ms([each.began - each.sent for each in times])
    first_bytes = {f"first byte {unit}": value for unit, value in first.items()}
    return {**cost, **first_bytes, "total ms": total_ms}


def _cost(server: Process, models: Process, seconds: float) -> dict[str, float]:
    sent, used = models.get("/books")["chunks"], server.cpu_s
    time.sleep(seconds)
    used, sent = server.cpu_s - used, models.get("/books")["chunks"] - sent
    if not sent:
        return {}  # the server is so late that the model server has sent everything before
    return {CPU: used / sent * 1e6, "cores busy": used / seconds}


def _unread(models: Process, queue: Process, chunks: int, count: int) -> dict[str, float]:
    words = f"{load.WORDS} @pace={PER_SECOND}/{chunks}@"
    tasks = b",".join([load.task_body(words)] * count)
    connection = load.Connection(queue.port)
    connection.exchange(load.request("POST", "/api/tasks/batch", b'{"tasks":[%s]}' % tasks))
    connection.close()
    deadline = time.monotonic() + chunks / PER_SECOND / 4
    while (running := models.get("/books")["streams"]) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"only {running} of {count} streams have begun")
        time.sleep(0.01)
    cost = _cost(queue, models, chunks / PER_SECOND / 2)
    while queue.get("/api/status")["running_tasks"]:
        time.sleep(0.01)
    return {CPU: cost.get(CPU, 0.0)}


def _flat_out(server: Process, path: str, chunks: int) -> dict[str, float]:
    used = server.cpu_s
    with Readers(server.port, _request(path, 0, chunks), FLAT, 0.0) as readers:
        readers.await_begun()
        times = readers.times()
    used = server.cpu_s - used
    _check(times, chunks)
    spent_ns = max(each.ended for each in times) - min(each.sent for each in times)
    total = chunks * FLAT
    return {"chunks a second": total * 1e9 / spent_ns, CPU: used / total * 1e6}


def _check(times: list[Times], chunks: int) -> None:
    if any(each.chunks != chunks for each in times):
        raise RuntimeError(f"{[each.chunks for each in times]} chunks instead of {chunks} each")
