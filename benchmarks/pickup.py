"""How soon after its submit does a task reach the model server of an idle queue?"""

import time
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks import load
from benchmarks.harness import Bench, Sample, at_most, percentiles_ms
from benchmarks.processes import Stub, queue_server
from benchmarks.submits import embedded
from ollama_queue import chat_task

PER_SECOND = 20
DIRECT = "raw: the same call made directly"


def measure(bench: Bench) -> None:
    with Stub(bench.folder / "stub.log") as stub:
        bench.table([(partial(_round, bench, stub), bench.runs)])


def _round(bench: Bench, stub: Stub) -> Iterator[Sample]:
    tasks = bench.size(100, 20)
    directly = partial(_post, load.Connection(stub.port), "/api/chat", load.chat_body)
    yield Sample(DIRECT, _heard(stub, directly, tasks))
    with embedded(bench.fresh(), stub.url) as manager:

        def submit(words: str) -> None:
            manager.submit(chat_task("stub", [{"role": "user", "content": words}]))

        yield Sample("embedded", _heard(stub, submit, tasks), (DIRECT,))
    with queue_server(bench.fresh(), model_url=stub.url) as server:
        post = partial(_post, load.Connection(server.port), "/api/tasks", load.task_body)
        yield Sample("HTTP", _heard(stub, post, tasks), (DIRECT,), {"p50 ms": at_most(1.2)})


def _post(connection: load.Connection, path: str, body: Callable[[str], bytes], words: str) -> None:
    connection.exchange(load.request("POST", path, body(words)))


def _heard(stub: Stub, submit: Callable[[str], None], tasks: int) -> dict[str, float]:
    """Submit at a slow, steady rate; the stub reads each submit time from the prompt."""
    for _ in range(5):
        submit(load.WORDS)  # connections open, modules are loaded
    stub.await_calls(5)
    stub.reset()
    began = time.monotonic()
    for number in range(tasks):
        time.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
        submit(f"{load.WORDS} @t={time.monotonic_ns()}@")
    heard = stub.await_calls(tasks)["heard_after_ns"]
    stub.reset()
    return percentiles_ms(heard)
