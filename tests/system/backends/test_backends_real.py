"""Ollama and llama.cpp's server together behind one queue, and each of them killed under load."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ollama_queue import Config, NewTask, QueueManager, Status, Task, chat_task, generate_task
from ollama_queue.actors.core.config.config import (
    Backend,
    QueueSettings,
    RemoteScheduling,
    RetrySettings,
)
from tests.support.servers.real_models import LlamaServer, OllamaServer

PATIENCE_S = 60.0
MODEL = f"copy-{os.getpid()}"  # the folder of Ollama's models is shared
PARALLEL = {"ollama": 1, "llama": 2}
SHORT: dict[str, Any] = {"num_predict": 4, "seed": 1}
HELLO = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="module")
def gpu() -> Iterator[OllamaServer]:
    """An Ollama that has `MODEL`, with a smaller context of its own."""
    with OllamaServer() as server:
        new = {"model": MODEL, "from": server.model, "parameters": {"num_ctx": 1024}}
        ollama_does(server, "POST", "create", new)
        try:
            yield server
        finally:
            ollama_does(server, "DELETE", "delete", {"model": MODEL})


@pytest.fixture(scope="module")
def llama() -> Iterator[LlamaServer]:
    """A server of llama.cpp that calls its model `MODEL`, too."""
    server = LlamaServer(parallel=2)
    server.model = MODEL
    with server:
        yield server


@pytest.fixture
def queue(gpu: OllamaServer, llama: LlamaServer, tmp_path: Path) -> Iterator[QueueManager]:
    backends = [
        Backend(name="ollama", url=gpu.url, parallel=PARALLEL["ollama"], tags=["gpu"]),
        Backend(name="llama", type="openai", url=llama.url, parallel=PARALLEL["llama"]),
    ]
    config = Config(
        backends=backends,
        queue=QueueSettings(storage_path=str(tmp_path)),
        retry_config=RetrySettings(initial_delay=0.05, max_delay=0.2),
    )
    with QueueManager(config) as queue:
        for backend in backends:
            new = generate_task(MODEL, "Hello", options=SHORT, backend=backend.name)
            assert queue.wait(queue.submit_task(new), timeout=PATIENCE_S).error is None
        yield queue


def ollama_does(server: OllamaServer, method: str, what: str, body: dict[str, Any]) -> None:
    httpx.request(
        method, f"{server.url}/api/{what}", json=body, timeout=PATIENCE_S, trust_env=False
    ).raise_for_status()


def load(count: int) -> list[NewTask]:
    """Chats and prompts by turns; each fifth only Ollama can be asked for."""
    tasks = []
    for n in range(count):
        prompt = "Once upon a time"
        if n % 5 == 0:
            tasks.append(generate_task(MODEL, prompt, options=SHORT, template="{{ .Prompt }}"))
        elif n % 2:
            tasks.append(chat_task(MODEL, HELLO, options=SHORT))
        else:
            tasks.append(generate_task(MODEL, prompt, options=SHORT))
    return tasks


def check(tasks: list[Task]) -> None:
    """All ended well, once each, where they might, and no backend had more than it may."""
    assert {(task.status, task.error) for task in tasks} == {(Status.COMPLETED, None)}
    for task in tasks:
        good = [ended for ended in task.attempts if ended.error is None]
        assert [ended.backend for ended in good] == [task.executed_on]
        assert good == task.attempts[-1:]
        assert len(task.attempts) == task.attempt
        text = task.result["message"]["content"] if task.type == "chat" else task.result["response"]
        assert text
        assert 1 <= task.result["eval_count"] <= 4
        only = "template" in (task.payload or {})
        assert {ended.backend for ended in task.attempts} <= ({"ollama"} if only else set(PARALLEL))
    for name, most in PARALLEL.items():
        assert 1 <= at_once(tasks, name) <= most


def at_once(tasks: list[Task], backend: str) -> int:
    """How many attempts a backend had at the same instant at most, by the records."""
    steps = []
    for task in tasks:
        for ended in task.attempts:
            if ended.backend == backend:
                steps += [(ended.started_at, 1), (ended.ended_at, -1)]
    running = most = 0
    for _, step in sorted(steps):  # one that ends makes room in the same instant
        running += step
        most = max(most, running)
    return most


@pytest.fixture
def bounded(gpu: OllamaServer, llama: LlamaServer, tmp_path: Path) -> Iterator[QueueManager]:
    """A queue in which a task waits 200 ms for Ollama before llama.cpp, a remote one, takes it."""
    backends = [
        Backend(name="ollama", url=gpu.url, parallel=1),
        Backend(name="llama", type="openai", url=llama.url, parallel=1, remote=True),
    ]
    config = Config(
        backends=backends,
        queue=QueueSettings(storage_path=str(tmp_path)),
        remote_scheduling=RemoteScheduling(enabled=True, after=0.2),
    )
    with QueueManager(config) as queue:
        queue.probe_backends()
        yield queue


def test_a_fallback_runs_what_a_killed_server_cannot(
    queue: QueueManager, gpu: OllamaServer
) -> None:
    """Only Ollama has the task's own model."""
    new = chat_task(gpu.model, HELLO, options=SHORT, fallback_models=[MODEL])
    before = queue.wait(queue.submit_task(new), timeout=PATIENCE_S)
    gpu.kill()
    during = queue.wait(queue.submit_task(new), timeout=PATIENCE_S)
    gpu.start()
    queue.probe_backends()
    after = queue.wait(queue.submit_task(new), timeout=PATIENCE_S)

    places = [(task.status, task.executed_on, task.model_used) for task in (before, during, after)]
    own, other = ("completed", "ollama", gpu.model), ("completed", "llama", MODEL)
    assert places == [own, other, own]
    assert during.model == gpu.model
    assert during.result["message"]["content"]
    assert during.attempts[-1].fallback == MODEL


def test_what_waits_too_long_for_a_busy_server_overflows_to_the_remote_one(
    bounded: QueueManager,
) -> None:
    starts = bounded.subscribe(["task_started"])
    long = generate_task(MODEL, "Once upon a time", options={"num_predict": 1000, "num_ctx": 1024})
    running = bounded.submit_task(long)
    assert starts.get(timeout=PATIENCE_S).event == "task_started"

    task = bounded.wait(
        bounded.submit_task(generate_task(MODEL, "Hello", options=SHORT)), timeout=PATIENCE_S
    )

    assert (task.status, task.executed_on, task.model_used) == ("completed", "llama", MODEL)
    assert task.started_at is not None
    assert (task.started_at - task.created_at).total_seconds() >= 0.2
    assert bounded.get_task(running).executed_on == "ollama"
    assert bounded.cancel_task(running).status is Status.CANCELLED


def test_a_load_is_shared_by_both(queue: QueueManager) -> None:
    ids = queue.submit_batch(load(40)).task_ids

    tasks = [queue.wait(task_id, timeout=PATIENCE_S) for task_id in ids]

    check(tasks)
    assert all(task.attempt == 1 for task in tasks)
    one, two = queue.list_backends()
    assert (one.calls + two.calls, one.failures + two.failures) == (42, 0)
    assert MODEL in one.loaded and two.models == [MODEL]
    assert one.tokens_per_s and two.tokens_per_s


@pytest.mark.parametrize("victim", ["ollama", "llama"])
def test_one_is_killed_under_load_and_comes_back(
    queue: QueueManager, gpu: OllamaServer, llama: LlamaServer, victim: str
) -> None:
    server = gpu if victim == "ollama" else llama
    news = queue.subscribe(["backend_changed"])
    starts = queue.subscribe(["task_started"])
    ids = queue.submit_batch(load(40)).task_ids
    while (task := starts.get(timeout=PATIENCE_S).task) is None or task.executed_on != victim:
        pass

    server.kill()
    out = news.get(timeout=PATIENCE_S)
    server.start()
    while news.get(timeout=PATIENCE_S).reason is not None:
        pass
    named = [generate_task(MODEL, "Hello", options=SHORT, backend=victim) for _ in range(2)]
    ids += queue.submit_batch(named).task_ids
    tasks = [queue.wait(task_id, timeout=PATIENCE_S) for task_id in ids]

    check(tasks)
    assert out.backend == victim
    assert all(task.retry_count <= 1 for task in tasks)
    lost = [ended for task in tasks for ended in task.attempts if ended.error is not None]
    assert {ended.backend for ended in lost} == {victim}
