"""How long do a page of the list and the status take, and does it grow with the stored tasks?"""

from collections.abc import Iterator
from functools import partial

from benchmarks import load
from benchmarks.harness import Bench, Round, Sample
from benchmarks.processes import Process, hello_server, paused_server

POST = load.request("POST", "/api/tasks", load.task_body())
HELLO = "raw: hello on pywsgi"
PATHS = {"page of 100": "/api/tasks?limit=100", "status": "/api/status"}


def measure(bench: Bench) -> None:
    """All stored tasks wait, so a page also shows the reason and position of each."""
    sizes = (300, 1_000) if bench.quick else (1_000, 20_000, 100_000)
    with paused_server(bench.fresh()) as server, hello_server(bench.folder / "hello.log") as bare:
        rounds: list[tuple[Round, int]] = []
        for size in sizes:
            rounds.append((partial(_grow, server, size), 1))
            rounds.append((partial(_round, server, bare, size, bench.size(500, 20)), bench.runs))
        bench.table(rounds)


def _grow(server: Process, size: int) -> list[Sample]:
    """Submit until `size` tasks are stored; yields no figures."""
    stored = server.get("/api/status")["total_tasks"]
    load.closed_loop(server.port, POST, 64, size - stored)
    return []


def _round(server: Process, bare: Process, size: int, count: int) -> Iterator[Sample]:
    hello = f"{HELLO}, {size:,}"
    yield Sample(hello, _timed(bare, "/", count))
    for name, path in PATHS.items():
        yield Sample(f"{name}, {size:,} stored", _timed(server, path, count), (hello,))


def _timed(server: Process, path: str, count: int) -> dict[str, float]:
    figures = load.closed_loop(server.port, load.request("GET", path), 1, count)
    del figures["a second"]
    return figures
