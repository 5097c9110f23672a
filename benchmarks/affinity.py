"""How many model loads does `policy: affinity` save, and which tasks does it delay? How many loads,
and system prompts read anew, does the order of a batch from a file save?

Tasks of four models, submitted in turn, in front of servers with memory for one model each. A load
takes as long as 40 calls; times are a tenth of realistic ones (2 s and 50 ms), except with
`--full`. At least four loads are needed. The batch has two system prompts for each model, in turn,
too; a server keeps the one it read last, and reads another in the time of ten calls.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import httpx

from benchmarks import load
from benchmarks.harness import ONCE, Bench, Sample
from benchmarks.processes import Process, module, server_of
from benchmarks.programs.loading import MODELS, NUMBER

LOAD_S, READ_S, CALL_S = 2.0, 0.5, 0.05
SYSTEMS = 2  # prompts for each model
FIFO = "fifo"
Submits = Callable[[Process, int], None]


class Shape(NamedTuple):
    """What is measured: the number of tasks and servers; `scale` multiplies realistic times."""

    tasks: int
    servers: int
    scale: float

    @property
    def limit(self) -> str:
        return f"raw: fewest loads, {self.servers} server{'s' * (self.servers > 1)}"


def measure(bench: Bench) -> None:
    tasks, scale = bench.size(400, 40), 1.0 if bench.full else bench.size(100, 25) / 1000
    bounds = [60.0] if bench.quick else [60.0, 30.0]
    rounds = []
    for servers in (2,) if bench.quick else (1, 2):
        shape = Shape(tasks, servers, scale)
        rounds += [
            (partial(_round, bench, shape, [None]), ONCE),
            (partial(_round, bench, shape, bounds), bench.runs),
        ]
    batch = Shape(bench.size(200, 40), 1, scale)
    bench.table([*rounds, (partial(_batch_round, bench, batch), ONCE)])


def _batch_round(bench: Bench, shape: Shape) -> Iterator[Sample]:
    """The same requests as a list of tasks and as a file."""
    reads = len(MODELS) * SYSTEMS
    least_s = _fewest(shape)["makespan s"] + reads * READ_S * shape.scale
    limit = "raw: fewest loads and reads, batch"
    yield Sample(limit, {"loads": len(MODELS), "prompts read": reads, "makespan s": least_s})
    for what, submit in (
        ("batch, in its order", _submit_list),
        ("batch from a file", _submit_file),
    ):
        yield Sample(what, _drain(bench, shape, None, submit), (limit,))


def _round(bench: Bench, shape: Shape, bounds: Sequence[float | None]) -> Iterator[Sample]:
    """One drain for each value of `affinity_max_wait`; None for `fifo`."""
    yield Sample(shape.limit, _fewest(shape))
    for bound in bounds:
        name = FIFO if bound is None else f"affinity, {bound:g} s"
        what = f"{name}, {shape.servers} server{'s' * (shape.servers > 1)}"
        yield Sample(what, _drain(bench, shape, bound), (shape.limit,))


def _submit(queue: Process, tasks: int) -> None:
    connection = load.Connection(queue.port)
    for number in range(tasks):
        model = MODELS[number % len(MODELS)]
        body = load.task_body(f"{load.WORDS} {NUMBER}{number}@", model)
        connection.exchange(load.request("POST", "/api/tasks", body))
    connection.close()


def _submit_list(queue: Process, tasks: int) -> None:
    asked = [{"type": "chat", **_request(number)} for number in range(tasks)]
    httpx.post(f"{queue.url}/api/tasks/batch", json=asked, trust_env=False).raise_for_status()


def _submit_file(queue: Process, tasks: int) -> None:
    """The same as a file of requests, once all of its tasks wait."""
    url = "/v1/messages"
    lines = [
        {
            "custom_id": f"{n}",
            "method": "POST",
            "url": url,
            "body": {**_request(n), "max_tokens": 9},
        }
        for n in range(tasks)
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    with httpx.Client(base_url=queue.url, trust_env=False) as client:
        files = {"file": ("in.jsonl", content)}
        file = client.post("/v1/files", files=files, data={"purpose": "batch"}).json()
        asked = {"input_file_id": file["id"], "endpoint": url, "completion_window": "24h"}
        client.post("/v1/batches", json=asked).raise_for_status()
        while client.get("/api/status").json()["pending_tasks"] < tasks:
            time.sleep(0.05)


def _request(number: int) -> dict[str, Any]:
    """Models in turn, and for each its system prompts in turn."""
    turn, model = divmod(number, len(MODELS))
    system = {"role": "system", "content": f"{load.WORDS}{turn % SYSTEMS}"}
    user = {"role": "user", "content": f"{NUMBER}{number}@"}
    return {"model": MODELS[model], "messages": [system, user]}


def _fewest(shape: Shape) -> dict[str, float]:
    busy_s = (len(MODELS) * LOAD_S + shape.tasks * CALL_S) * shape.scale
    return {"loads": len(MODELS), "makespan s": busy_s / shape.servers}


def _drain(
    bench: Bench, shape: Shape, bound: float | None, submit: Submits = _submit
) -> dict[str, float]:
    with ExitStack() as stack:
        servers = [
            stack.enter_context(_model_server(bench, shape.scale)) for _ in range(shape.servers)
        ]
        settings: dict[str, Any] = {
            "backends": [
                {"name": f"b{n}", "url": server.url, "parallel": 1}
                for n, server in enumerate(servers)
            ],
            "scheduler": {"policy": FIFO},
        }
        if bound is not None:
            max_wait = f"{bound * shape.scale * 1000:g}ms"
            settings["scheduler"] = {"policy": "affinity", "affinity_max_wait": max_wait}
        queue = stack.enter_context(server_of(bench.fresh(), settings))
        queue.post("/api/pause")
        submit(queue, shape.tasks)
        resumed = time.monotonic_ns()
        queue.post("/api/resume")
        while queue.get("/api/status")["completed_tasks"] < shape.tasks:
            time.sleep(0.05)
        return _figures([server.get("/books") for server in servers], resumed)


def _model_server(bench: Bench, scale: float) -> Process:
    seconds = {"--load-s": LOAD_S, "--read-s": READ_S, "--call-s": CALL_S}
    times = [word for name, each in seconds.items() for word in (name, f"{each * scale}")]
    command = module("benchmarks.programs.loading")
    return Process(command, "/api/tags", bench.fresh() / "log", *times)


def _figures(books: list[dict[str, Any]], resumed: int) -> dict[str, float]:
    calls = sorted(call for each in books for call in each["calls"])
    starts = [began for _, began, _ in calls]
    reads = sum(each["reads"] for each in books)
    return {
        "loads": sum(each["loads"] for each in books),
        **({"prompts read": reads} if reads else {}),
        "makespan s": (max(end for _, _, end in calls) - resumed) / 1e9,
        "longest wait s": (max(starts) - resumed) / 1e9,
        "longest passed over s": max(map(_passed_over_ns, starts, _tails(starts))) / 1e9,
    }


def _tails(starts: list[int]) -> Iterator[list[int]]:
    """For each task the starts of those after it."""
    return (starts[place + 1 :] for place in range(len(starts)))


def _passed_over_ns(began: int, behind: list[int]) -> int:
    """The time from the first to the last later task that ran before this one."""
    passing = [start for start in behind if start < began]
    return max(passing) - min(passing) if passing else 0
