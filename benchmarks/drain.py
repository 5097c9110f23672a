"""How fast does a backlog of tasks that take no time drain over real HTTP?"""

import http.client
import time
from collections.abc import Callable, Iterator
from functools import partial

import httpx

from benchmarks import load
from benchmarks.harness import Bench, Sample
from benchmarks.processes import Stub, paused_server

POST = load.request("POST", "/api/tasks", load.task_body())
CALL = load.chat_body()
BARE, HTTPX = "raw: http.client, one caller", "raw: httpx, one caller"


def measure(bench: Bench) -> None:
    with Stub(bench.folder / "stub.log") as stub:
        bench.table([(partial(_round, bench, stub), bench.runs)])


def _round(bench: Bench, stub: Stub) -> Iterator[Sample]:
    calls = bench.size(2_000, 100)
    yield Sample(BARE, {"a second": _bare(stub, calls)})
    yield Sample(HTTPX, {"a second": _httpx(stub, calls)})
    for workers in (4, 32):
        figures = _drain(bench, stub, workers, bench.size(5_000, 300))
        yield Sample(f"drain, {workers} workers", figures, (BARE, HTTPX))


def _drain(bench: Bench, stub: Stub, workers: int, tasks: int) -> dict[str, float]:
    """The rate from the first to the last call that the model server receives."""
    with paused_server(bench.fresh(), model_url=stub.url, workers=workers) as server:
        load.closed_loop(server.port, POST, 64, tasks)
        stub.reset()
        before = server.cpu_s
        server.post("/api/resume")
        books = stub.await_calls(tasks)
        while server.get("/api/status")["completed_tasks"] < tasks:
            time.sleep(0.01)
        cpu_s = server.cpu_s - before
        if stub.books()["calls"] != tasks:
            raise RuntimeError(f"{stub.books()['calls']} calls for {tasks} tasks")
    spent_s = (books["last_ns"] - books["first_ns"]) / 1e9
    return {"a second": (tasks - 1) / spent_s, "server CPU µs each": cpu_s / tasks * 1e6}


def _bare(stub: Stub, calls: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", stub.port)
    headers = {"Content-Type": "application/json"}

    def call() -> None:
        connection.request("POST", "/api/chat", CALL, headers)
        connection.getresponse().read()

    rate = _rate(call, calls)
    connection.close()
    return rate


def _httpx(stub: Stub, calls: int) -> float:
    with httpx.Client(base_url=stub.url, trust_env=False) as client:
        return _rate(lambda: client.post("/api/chat", content=CALL).read(), calls)


def _rate(call: Callable[[], object], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        call()
    return calls / (time.perf_counter() - began)
