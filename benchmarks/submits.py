"""How many submits a second are answered, each after it is on disk, and how fast?"""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rocksdict import Options, Rdict, WriteBatch

from benchmarks import load
from benchmarks.harness import Bench, Sample, appends_per_s, at_least, at_most, percentiles_ms
from benchmarks.processes import NOWHERE, Process, hello_server, paused_server
from ollama_queue import Config, QueueManager, chat_task
from ollama_queue.actors.core.config.config import OllamaSettings, QueueSettings

POST = load.request("POST", "/api/tasks", load.task_body())
HTTP_BARS = {
    1: {"p50 ms": at_most(0.6)},
    64: {"a second": at_least(1.3, "raw: hello on pywsgi, 64 connections")},
}
APPENDS, ROCKS = "raw: synced appends", "raw: RocksDB write + flush_wal"


def embedded(folder: Path, model_url: str = NOWHERE, workers: int = 4) -> QueueManager:
    """A queue in this process, as in a user's program."""
    queue = QueueSettings(storage_path=str(folder), max_workers=workers)
    return QueueManager(Config(queue=queue, ollama=OllamaSettings(host=model_url)))


def measure(bench: Bench) -> None:
    bench.table([(partial(_round, bench), bench.runs)])


def _round(bench: Bench) -> Iterator[Sample]:
    """Our queue and the raw limits in turn, each on its own folder."""
    yield Sample(APPENDS, {"a second": appends_per_s(bench.folder, bench.size(10, 1) / 10)})
    yield Sample(ROCKS, _rocks(bench.fresh(), bench.size(2_000, 100)))
    for threads, count in ((1, bench.size(2_000, 100)), (16, bench.size(8_000, 320))):
        figures = embedded_submits(bench.fresh(), threads, count)
        name = "1 thread" if threads == 1 else f"{threads} threads"
        bars = {"a second": at_least(8_000)} if threads == 16 else {}
        yield Sample(f"embedded, {name}", figures, (APPENDS, ROCKS), bars)
    for connections, full in ((1, 2_000), (16, 8_000), (64, 12_000)):
        yield from _over_http(bench, connections, bench.size(full, 320))
    size = bench.size(10_000, 300)
    with paused_server(bench.fresh()) as server:
        figures = {"tasks a second": batches(server, size, 3)}
    yield Sample(f"batch of {size:,}", figures, bars={"tasks a second": at_least(30_000)})


def _over_http(bench: Bench, connections: int, count: int) -> Iterator[Sample]:
    name = "1 connection" if connections == 1 else f"{connections} connections"
    hello = f"raw: hello on pywsgi, {name}"
    with hello_server(bench.folder / "hello.log") as server:
        figures = _loaded(server, connections, count)
    if connections > 1:  # it serves a hot connection without polling the others
        figures = {unit: value for unit, value in figures.items() if not unit.endswith("ms")}
    yield Sample(hello, figures)
    with paused_server(bench.fresh()) as server:
        figures = _loaded(server, connections, count)
        yield Sample(f"HTTP, {name}", figures, (hello, APPENDS), HTTP_BARS.get(connections, {}))


def batches(server: Process, size: int, count: int, task: bytes | None = None) -> float:
    """Submit `count` batches of `size` tasks, one after the other. Returns the tasks per second."""
    body = b'{"tasks":[%s]}' % b",".join([task or load.task_body()] * size)
    message = load.request("POST", "/api/tasks/batch", body)
    return size * load.closed_loop(server.port, message, 1, count)["a second"]


def _loaded(server: Process, connections: int, count: int) -> dict[str, float]:
    with load.Load(server.port, connections) as clients:
        clients.send(POST, count // 10)  # warm
        before = server.cpu_s
        figures = clients.send(POST, count).figures
        return {**figures, "server CPU µs each": (server.cpu_s - before) / count * 1e6}


def _rocks(folder: Path, count: int) -> dict[str, float]:
    """One write batch of one record at a time, synced as in Persistence."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    store = Rdict(str(folder / "rocksdb"), options)
    record = load.task_body()

    def write() -> None:
        batch = WriteBatch(raw_mode=True)
        batch.put(f"{time.monotonic_ns():020}".encode(), record)
        store.write(batch)
        store.flush_wal(True)

    began = time.perf_counter()
    latencies = [_timed(write) for _ in range(count)]
    rate = count / (time.perf_counter() - began)
    store.close()
    return {"a second": rate, **percentiles_ms(latencies)}


def embedded_submits(folder: Path, threads: int, count: int) -> dict[str, float]:
    """The figures of `count` submits to a new embedded queue that is paused."""
    new = chat_task("stub", [{"role": "user", "content": load.WORDS * 3}])
    latencies: list[int] = []  # appending is atomic
    with embedded(folder) as manager:
        manager.pause()

        def submit() -> None:
            for _ in range(count // threads):
                latencies.append(_timed(lambda: manager.submit(new)))

        submitters = [threading.Thread(target=submit) for _ in range(threads)]
        began = time.perf_counter()
        for submitter in submitters:
            submitter.start()
        for submitter in submitters:
            submitter.join()
        spent_s = time.perf_counter() - began
    return {"a second": len(latencies) / spent_s, **percentiles_ms(latencies)}


def _timed(work: Callable[[], object]) -> int:
    began = time.monotonic_ns()
    work()
    return time.monotonic_ns() - began
