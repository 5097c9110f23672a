"""What does HTTP cost around a verb that takes no time: parsing, checks, routing, the answer?"""

from collections.abc import Iterator
from functools import partial

from benchmarks import load
from benchmarks.harness import Bench, Sample, at_most
from benchmarks.processes import Process, door_server, hello_server

SUBMIT = load.request("POST", "/api/tasks", load.task_body())
HEALTH = load.request("GET", "/healthz")
UNIT = "server CPU µs each"


def measure(bench: Bench) -> None:
    bench.table([(partial(_round, bench), bench.runs)])


def _round(bench: Bench) -> Iterator[Sample]:
    for connections, full in ((1, 2_000), (64, 12_000)):
        count = bench.size(full, 320)
        name = "1 connection" if connections == 1 else f"{connections} connections"
        hello = f"raw: hello on pywsgi, {name}"
        with hello_server(bench.folder / "hello.log") as server:
            yield Sample(hello, _cost(server, SUBMIT, connections, count))
        with door_server(bench.folder / "door.log") as server:
            bars = {UNIT: at_most(60)} if connections > 1 else {}
            figures = _cost(server, SUBMIT, connections, count)
            yield Sample(f"a submit, {name}", figures, (hello,), bars)
            yield Sample(f"/healthz, {name}", _cost(server, HEALTH, connections, count), (hello,))


def _cost(server: Process, message: bytes, connections: int, count: int) -> dict[str, float]:
    with load.Load(server.port, connections) as clients:
        clients.send(message, count // 10)  # warm
        before = server.cpu_s
        clients.send(message, count)
        return {UNIT: (server.cpu_s - before) / count * 1e6}
