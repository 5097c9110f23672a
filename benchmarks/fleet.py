"""What do one, two and four servers do on one PostgreSQL, beside Procrastinate on the same one?"""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import httpx

from benchmarks import load
from benchmarks.fleet_servers import Database, Servers, Used, await_true, database
from benchmarks.harness import Bench, Sample, at_least, at_most, percentiles_ms
from benchmarks.peers.procrastination import Procrastinate
from benchmarks.processes import NOWHERE, Process, Stub, cpu_s
from benchmarks.programs.stream_readers import Readers
from benchmarks.submits import batches
from ollama_queue import Config, QueueManager, chat_task
from ollama_queue.actors.base.thread_pool import ThreadPool
from ollama_queue.actors.core.config.config import Backend, QueueSettings, ServerSettings
from ollama_queue.actors.embedded.manager import give_up
from ollama_queue.actors.executors.function import FunctionExecutor
from ollama_queue.actors.supervision.generation import Runtime

POST = load.request("POST", "/api/tasks", load.task_body())
NEW = chat_task("stub", [{"role": "user", "content": load.WORDS * 3}])
PEER = "raw: Procrastinate"
SERVERS, CLIENTS, SIZES = (1, 2, 4), (1, 16, 64), (100, 1_000)
SLOTS, STREAMS = 64, (100, 400)
PER_SECOND = 50  # chunks of a stream
TTL_S, LONG_CALLS = 5.0, 4
RATE, DATABASE_CPU = "a second", "PostgreSQL CPU µs each"
TIMES_BETTER, MOST_CPU_US = 5, 250
COMPARED = ("16 clients", "64 clients")  # alone, a client waits for the disk as theirs does


def measure(bench: Bench) -> None:
    with ExitStack() as stack:
        stub = stack.enter_context(Stub(bench.folder / "stub.log"))
        shared = stack.enter_context(database(bench.fresh()))
        peer = None
        if not bench.quick:
            log = bench.folder / "worker.log"
            peer = stack.enter_context(Procrastinate(shared.env, stub.port, log))
        failover = Failover(bench, shared, stub, stack)
        rounds = partial(_round, bench, shared, stub, peer)
        bench.table([(rounds, bench.runs), (failover.round, bench.runs)])


def _round(
    bench: Bench, shared: Database, stub: Stub, peer: Procrastinate | None
) -> Iterator[Sample]:
    """Procrastinate and the queue in turn."""
    for clients in CLIENTS if peer else (16,):
        if peer:
            yield _deferred(shared, peer, clients, 1)
        if peer and clients == 16:
            yield _their_drain(shared, peer, "noop", 1)
        yield from _embedded(bench, shared, clients)
    for size in SIZES:
        if peer:
            yield _deferred(shared, peer, 1, size)
        yield _batched(bench, shared, size)
    for count in SERVERS if peer else (2,):
        if peer:
            yield _their_drain(shared, peer, "call", count)
            theirs = _deferred(shared, peer, 64, 1)
            yield theirs._replace(what=f"{theirs.what}, beside {_named(count, 'server')}")
        with _servers(bench, shared, stub, count, SLOTS) as servers:
            yield from _served(bench, shared, stub, servers)
            if peer is None:
                yield from _streamed(bench, shared, stub, servers, (8,))
    if peer:
        with _servers(bench, shared, stub, max(SERVERS), max(STREAMS)) as servers:
            yield from _streamed(bench, shared, stub, servers, STREAMS)


def _named(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _submitted(clients: int, size: int) -> str:
    return _named(clients, "client") if size == 1 else f"batches of {size:,}"


# --- Procrastinate ------------------------------------------------------------------------------


def _deferred(shared: Database, peer: Procrastinate, clients: int, size: int) -> Sample:
    jobs = 500 if clients == size == 1 else max(2_000, 5 * size)
    used = Used(shared, lambda: cpu_s(peer.pid))
    figures = {RATE: peer.defer("noop", clients, size, jobs), **used.each(jobs)}
    return Sample(f"{PEER}: {_submitted(clients, size)}", figures)


def _their_drain(shared: Database, peer: Procrastinate, task: str, servers: int) -> Sample:
    """From when all workers have started to the last end: of the jobs that were left then."""
    shared.run("TRUNCATE procrastinate_jobs, procrastinate_workers CASCADE")
    peer.defer(task, 1, 500, 2_000)
    shared.run("VACUUM ANALYZE procrastinate_jobs")
    ended = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"
    with peer.workers(servers) as pids:
        workers = "SELECT count(*) FROM procrastinate_workers"
        await_true(lambda: shared.value(workers) == servers)
        used, began = Used(shared, lambda: sum(map(cpu_s, pids))), shared.value("SELECT now()")
        jobs = 2_000 - shared.value(ended)
        await_true(lambda: shared.value(ended) == 2_000, 0.1)
        costs = used.each(jobs)
    last = shared.value("SELECT max(at) FROM procrastinate_events WHERE type = 'succeeded'")
    name = "no-op tasks" if task == "noop" else "calls"
    figures = {RATE: jobs / (last - began).total_seconds(), **costs}
    return Sample(f"{PEER}: {name}, {_named(servers, 'server')}", figures)


# --- in one process -----------------------------------------------------------------------------


def _embedded(bench: Bench, shared: Database, clients: int) -> Iterator[Sample]:
    """Submits by threads of a program, and a function in place of the model."""
    tasks = bench.size(1_000 if clients == 1 else 4_096, 160)
    with shared.queue() as storage, _manager(storage, clients) as manager:
        manager.pause()
        used = Used(shared, time.process_time)
        figures = _submits(manager, clients, tasks)
        yield _ours(_submitted(clients, 1), {**figures, **used.each(tasks)})
        if clients > 1:
            raw = f"{PEER}: no-op tasks, 1 server"
            bars = {RATE: at_least(TIMES_BETTER, raw), DATABASE_CPU: at_most(MOST_CPU_US)}
            figures = _our_drain(shared, manager, tasks)
            yield Sample(f"no-op tasks, embedded, {clients} slots", figures, (raw,), bars)


def _batched(bench: Bench, shared: Database, size: int) -> Sample:
    tasks = bench.size(max(2_000, 5 * size), size)
    with shared.queue() as storage, _manager(storage, 1) as manager:
        manager.pause()
        used, began = Used(shared, time.process_time), time.monotonic()
        for _ in range(tasks // size):
            manager.submit_batch([NEW] * size)
        figures = {RATE: tasks / (time.monotonic() - began), **used.each(tasks)}
    return _ours(_submitted(1, size), figures)


def _ours(what: str, figures: dict[str, float]) -> Sample:
    raw = f"{PEER}: {what}"
    bars = {RATE: at_least(TIMES_BETTER, raw)} if what in COMPARED else {}
    return Sample(f"{what}, embedded", figures, (raw,), bars)


def _manager(storage: str, slots: int) -> QueueManager:
    config = Config(
        queue=QueueSettings(storage=storage, max_workers=slots),
        backends=[Backend(name="function", url=NOWHERE, parallel=slots)],
        server=ServerSettings(shutdown_grace=0.0),
    )
    runtime = Runtime(
        pools=lambda: (ThreadPool("bench-sync"), ThreadPool("bench-scan")),
        make_executor=lambda *_: FunctionExecutor(lambda call: "Done."),
        on_fatal=give_up,
    )
    return QueueManager(config, runtime=runtime)


def _submits(manager: QueueManager, threads: int, tasks: int) -> dict[str, float]:
    latencies: list[int] = []  # appending is atomic

    def submit() -> None:
        for _ in range(tasks // threads):
            began = time.monotonic_ns()
            manager.submit(NEW)
            latencies.append(time.monotonic_ns() - began)

    submitters = [threading.Thread(target=submit) for _ in range(threads)]
    began = time.monotonic()
    for submitter in submitters:
        submitter.start()
    for submitter in submitters:
        submitter.join()
    return {RATE: tasks / (time.monotonic() - began), **percentiles_ms(latencies)}


def _our_drain(shared: Database, manager: QueueManager, tasks: int) -> dict[str, float]:
    used, began = Used(shared, time.process_time), time.monotonic()
    manager.resume()
    await_true(lambda: manager.get_queue_stats().completed_tasks == tasks)
    return {RATE: tasks / (time.monotonic() - began), **used.each(tasks)}


# --- servers ------------------------------------------------------------------------------------


def _settings(stub: Stub, slots: int) -> dict[str, Any]:
    return {
        "queue": {"max_workers": slots, "max_queue_size": 2_000_000, "max_queue_bytes": "4GiB"},
        "backends": [{"name": "stub", "url": stub.url, "parallel": slots}],
        "fleet": {"ttl": f"{TTL_S:g}s"},
    }


@contextmanager
def _servers(
    bench: Bench, shared: Database, stub: Stub, count: int, slots: int
) -> Iterator[Servers]:
    with (
        shared.queue() as storage,
        Servers(bench, storage, count, _settings(stub, slots)) as servers,
    ):
        yield servers


def _served(bench: Bench, shared: Database, stub: Stub, servers: Servers) -> Iterator[Sample]:
    """Submits over all servers' doors, and what they do with the backlog."""
    name = _named(len(servers.all), "server")
    servers.leader.post("/api/pause")
    ports = [server.port for server in servers.all]
    _load(ports, bench.size(640, 64))  # connections open, modules are loaded
    tasks = bench.size(4_096, 192)
    used = Used(shared, servers.cpu_s)
    figures = {RATE: _load(ports, tasks), **used.each(tasks)}
    raw = f"{PEER}: 64 clients, beside {name}"
    yield Sample(f"64 clients, HTTP, {name}", figures, (raw,), {RATE: at_least(TIMES_BETTER, raw)})
    stored = servers.leader.get("/api/status")["pending_tasks"]
    raw = f"{PEER}: calls, {name}"
    bars = {RATE: at_least(TIMES_BETTER, raw), DATABASE_CPU: at_most(MOST_CPU_US)}
    figures = _drained(shared, servers, stub, stored)
    yield Sample(f"calls, {name}, {SLOTS} slots", figures, (raw,), bars)


def _load(ports: Sequence[int], tasks: int) -> float:
    """Submit over 64 connections, spread over the ports. Returns the rate."""
    with ExitStack() as stack:
        clients = [stack.enter_context(load.Load(port, 64 // len(ports))) for port in ports]
        with ThreadPoolExecutor(len(clients)) as threads:
            sent = threads.map(lambda each: each.send(POST, tasks // len(ports)), clients)
            answers: list[load.Answers] = list(sent)
    spent_ns = max(each.ended for each in answers) - min(each.began for each in answers)
    return tasks * 1e9 / spent_ns


def _drained(shared: Database, servers: Servers, stub: Stub, tasks: int) -> dict[str, float]:
    """The rate from the first to the last call that the model server receives."""
    stub.reset()
    used, leader = Used(shared, servers.cpu_s), servers.leader
    leader.post("/api/resume")
    books = stub.await_calls(tasks)
    await_true(lambda: leader.get("/api/status")["completed_tasks"] == tasks)
    if stub.books()["calls"] != tasks:
        raise RuntimeError(f"{stub.books()['calls']} calls for {tasks} tasks")
    spent_s = (books["last_ns"] - books["first_ns"]) / 1e9
    return {RATE: (tasks - 1) / spent_s, **used.each(tasks)}


# --- streams ------------------------------------------------------------------------------------


def _streamed(
    bench: Bench, shared: Database, stub: Stub, servers: Servers, counts: Sequence[int]
) -> Iterator[Sample]:
    """Streams through the leader's door, through a follower's, and through all: of requests to a
    drop-in API, and of tasks."""
    doors = [server.port for server in servers.all]
    fewest, most = min(counts), max(counts)
    chunks = bench.size(4 * PER_SECOND, 20)
    for count, ports, name in (
        (fewest, [servers.leader.port], "the leader's door"),
        (fewest, [servers.followers[0].port], "a follower's door"),
        (most, doors, "all doors"),
    ):
        name = f"{_named(len(doors), 'server')}, {name}"
        body = load.chat_body(f"{load.WORDS} @pace={PER_SECOND}/{chunks}@")
        message = load.request("POST", "/api/chat", body[:-1] + b',"stream":true}')
        figures = _streams(shared, servers, stub, ports, count, chunks, [message])
        yield Sample(f"{count} streams, {name}", figures)
        body = load.task_body(f"{load.WORDS} @pace={PER_SECOND}/{chunks}@")
        servers.leader.post("/api/pause")
        messages = [_stream_of(servers.leader, body) for _ in range(count)]
        figures = _streams(shared, servers, stub, ports, count, chunks, messages)
        figures = {what: value for what, value in figures.items() if "a chunk" in what}
        yield Sample(f"{count} streams of tasks, {name}", figures)


def _stream_of(server: Process, body: bytes) -> bytes:
    """Submit a task; the request of its stream."""
    task_id = httpx.post(f"{server.url}/api/tasks", content=body).json()["task_id"]
    return load.request("GET", f"/api/tasks/{task_id}/stream")


def _streams(
    shared: Database,
    servers: Servers,
    stub: Stub,
    ports: Sequence[int],
    count: int,
    chunks: int,
    messages: Sequence[bytes],
) -> dict[str, float]:
    """The cost of a chunk while all streams run, and how long one takes in all."""
    lasts_s, share = chunks / PER_SECOND, count // len(ports)
    leader = servers.leader
    with ExitStack() as stack:
        readers = [
            stack.enter_context(
                Readers(port, messages[n :: len(ports)] or messages, share, lasts_s / 5)
            )
            for n, port in enumerate(ports)
        ]
        for each in readers:
            each.await_begun()
        leader.post("/api/resume")
        used, sent = Used(shared, servers.cpu_s), stub.books()["chunks"]
        led_s = leader.cpu_s
        time.sleep(lasts_s / 2)
        received = stub.books()["chunks"] - sent
        figures = used.each(received, "a chunk")
        figures["leader's CPU µs a chunk"] = (leader.cpu_s - led_s) / received * 1e6
        times = [one for each in readers for one in each.times()]
    # Whoever comes when the call has ended already gets the whole reply in one piece.
    if any(each.chunks not in (chunks, 1) for each in times):
        raise RuntimeError(f"{[each.chunks for each in times]} chunks instead of {chunks} each")
    first_ms = percentiles_ms([each.began - each.sent for each in times])["p50 ms"]
    total_ms = percentiles_ms([each.ended - each.sent for each in times])["p50 ms"]
    over = total_ms / (chunks - 1) * PER_SECOND / 1e3
    return {**figures, "first byte p50 ms": first_ms, "times as long as directly": over}


# --- failover -----------------------------------------------------------------------------------


class Failover:
    """The leader of two servers is killed while many tasks wait, each of which takes long."""

    def __init__(self, bench: Bench, shared: Database, stub: Stub, stack: ExitStack) -> None:
        self._bench, self._shared, self._stub, self._stack = bench, shared, stub, stack
        self._servers: Servers | None = None

    def round(self) -> Iterator[Sample]:
        servers = self._servers = self._servers or self._begin()
        epoch, leader = self._epoch(), servers.leader
        await_true(lambda: self._stub.books()["streams"] == LONG_CALLS)  # none begins meanwhile
        self._stub.reset()
        leader.kill()
        killed_ns = time.monotonic_ns()
        servers.all.remove(leader)
        await_true(lambda: self._epoch() > epoch, 0.005)
        led_ns = time.monotonic_ns()
        first_ns = self._stub.await_calls(1)["first_ns"]
        servers.start()
        waiting = f"{self._bench.tasks:,} waiting"
        boot_s = (first_ns - led_ns) / 1e9
        yield Sample(
            f"leader killed, {waiting}",
            {"s to the first call": (first_ns - killed_ns) / 1e9, "s of it boot": boot_s},
        )

    def _begin(self) -> Servers:
        bench, pace = self._bench, f"{load.WORDS} @pace=1/{3_600}@"
        self._storage = self._stack.enter_context(self._shared.queue())
        settings = _settings(self._stub, LONG_CALLS)
        settings["fleet"] = {"ttl": f"{self._ttl_s:g}s"}
        servers = self._stack.enter_context(Servers(bench, self._storage, 2, settings))
        servers.leader.post("/api/pause")
        size = min(bench.tasks, 10_000)
        batches(servers.leader, size, bench.tasks // size, load.task_body(pace))
        servers.leader.post("/api/resume")
        return servers

    @property
    def _ttl_s(self) -> float:
        return 1.0 if self._bench.quick else TTL_S

    def _epoch(self) -> int:
        return self._shared.epoch(self._storage)
