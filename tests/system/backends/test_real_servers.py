"""The main job on model servers that nobody here wrote: llama.cpp's and Ollama.

Their model is nonsense-grade: shapes, counts and order are looked at, never what it says.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ollama_queue import (
    Client,
    Config,
    QueueManager,
    Status,
    chat_task,
    embed_task,
    generate_task,
)
from ollama_queue.actors.core.config.config import (
    Backend,
    QueueSettings,
    RetrySettings,
    SchedulerSettings,
)
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import LlamaServer, OllamaServer, Server, kind_of

HELLO = [{"role": "user", "content": "Say hello."}]
LONG = [{"role": "user", "content": "Count from one to one thousand in words."}]


def manager(
    server: Server, folder: Path, workers: int = 1, model_wait: float = 600.0
) -> QueueManager:
    return QueueManager(
        Config(
            backends=[Backend(name="ollama", type=kind_of(server), url=server.url)],
            queue=QueueSettings(storage_path=str(folder), max_workers=workers),
            scheduler=SchedulerSettings(model_wait=model_wait),
            retry_config=RetrySettings(initial_delay=0.05, max_delay=0.2),
        )
    )


@pytest.fixture(params=["embedded", "server"])
def queue(
    request: pytest.FixtureRequest, server: Server, tmp_path: Path
) -> Iterator[QueueManager | Client]:
    """The same verbs in this process, on threads, and in the server, on greenlets."""
    if request.param == "embedded":
        with manager(server, tmp_path) as embedded:
            yield embedded
        return
    process = QueueServer(tmp_path, server.url, workers=1, kind=kind_of(server))
    with process, process.client() as client:
        yield client


def test_a_chat_is_answered(queue: QueueManager | Client, server: Server) -> None:
    task_id = queue.submit_task(chat_task(server.model, HELLO, options={"num_predict": 8}))

    task = queue.wait(task_id, timeout=60)

    assert task.status is Status.COMPLETED, task.error
    assert task.result["message"]["role"] == "assistant"
    assert task.result["message"]["content"].strip()
    assert task.result["done"] is True
    assert 1 <= task.result["eval_count"] <= 8
    assert task.executed_on == "ollama"
    assert [attempt.error for attempt in task.attempts] == [None]


def test_a_prompt_is_completed(queue: QueueManager | Client, server: Server) -> None:
    new = generate_task(server.model, "Once upon a time", options={"num_predict": 4, "seed": 1})

    task = queue.wait(queue.submit_task(new), timeout=60)

    assert task.status is Status.COMPLETED, task.error
    assert task.result["response"].strip()
    assert task.result["eval_count"] <= 4


def test_texts_are_embedded_by_ollama(ollama: OllamaServer, tmp_path: Path) -> None:
    with manager(ollama, tmp_path) as queue:
        task = queue.wait(queue.submit_task(embed_task(ollama.model, ["one", "two"])), timeout=60)

        assert task.status is Status.COMPLETED, task.error
        first, second = task.result["embeddings"]
        assert len(first) == len(second) > 100


def test_texts_are_embedded_by_llama(tmp_path: Path) -> None:
    with LlamaServer(embedding=True) as server, manager(server, tmp_path) as queue:
        task = queue.wait(queue.submit_task(embed_task(server.model, ["one", "two"])), timeout=60)

        assert task.status is Status.COMPLETED, task.error
        first, second = task.result["embeddings"]
        assert len(first) == len(second) > 100


def test_what_the_server_refuses_fails_at_once(ollama: OllamaServer, tmp_path: Path) -> None:
    with manager(ollama, tmp_path) as queue:
        new = chat_task(ollama.model, [{"role": "user", "content": "?", "images": ["no base64"]}])
        task = queue.wait(queue.submit_task(new), timeout=30)

        assert (task.status, task.attempt, task.retry_count) == (Status.FAILED, 1, 0)
        assert task.error is not None
        assert "base64" in task.error


def test_a_model_that_no_server_has_fails_after_a_while(
    ollama: OllamaServer, tmp_path: Path
) -> None:
    with manager(ollama, tmp_path, model_wait=0.2) as queue:
        task = queue.wait(queue.submit_task(chat_task("nope", HELLO)), timeout=30)

        assert (task.status, task.attempt, task.attempts) == (Status.FAILED, 0, [])
        assert task.error == (
            "no backend has the model nope: ollama did not list it "
            "within 0.2 s (scheduler.model_wait)"
        )


def test_the_stream_is_the_reply(server: Server, tmp_path: Path) -> None:
    with manager(server, tmp_path) as queue:
        task_id = queue.submit_task(chat_task(server.model, HELLO, options={"num_predict": 8}))

        chunks = list(queue.stream_task(task_id, timeout=60))
        late = list(queue.stream_task(task_id, timeout=60))

        task = queue.get_task(task_id)
        assert chunks == late
        assert chunks[-1].done and chunks[-1].error is None
        said = [chunk.data["message"]["content"] for chunk in chunks[:-1]]
        assert len(said) > 1
        assert "".join(said) == task.result["message"]["content"]
        assert [chunk.id for chunk in chunks] == [f"1.{n}" for n in range(len(chunks))]


def test_a_cancel_stops_the_model(server: Server, tmp_path: Path) -> None:
    with manager(server, tmp_path) as queue:
        task_id = queue.submit_task(chat_task(server.model, LONG, options={"num_predict": 1000}))
        stream = queue.stream_task(task_id, timeout=60)
        next(stream)

        cancelled = queue.cancel_task(task_id)

        assert cancelled.status is Status.CANCELLED
        assert list(stream)[-1].error == "cancelled"
        server.wait_until_idle(20)
        again = queue.submit_task(chat_task(server.model, HELLO, options={"num_predict": 1}))
        assert queue.wait(again, timeout=60).status is Status.COMPLETED
        assert queue.get_task(task_id).result is None


def test_a_killed_queue_finishes_all_after_its_restart(llama: LlamaServer, tmp_path: Path) -> None:
    process = QueueServer(tmp_path, llama.url, workers=1, kind="openai")
    with process, process.client() as client:
        one_token = chat_task("smollm2", HELLO, options={"num_predict": 1})
        ids = [client.submit_task(one_token) for _ in range(200)]
        client.wait(ids[3], timeout=60)

        process.kill()
        process.start()

        tasks = [client.wait(task_id, timeout=120) for task_id in ids]
        assert {task.status for task in tasks} == {Status.COMPLETED}
        assert sum(task.interruptions for task in tasks) <= 1
        assert client.get_queue_stats().completed_tasks == 200


def test_a_model_server_may_die_under_load(tmp_path: Path) -> None:
    with LlamaServer() as server, manager(server, tmp_path) as queue:
        new = chat_task("smollm2", HELLO, options={"num_predict": 4})
        ids = [queue.submit_task(new) for _ in range(30)]
        queue.wait(ids[2], timeout=60)

        server.kill()
        until(queue, lambda: queue.get_queue_stats().waiting_for.get("backend", 0) > 0)
        server.start()

        tasks = [queue.wait(task_id, timeout=120) for task_id in ids]
        assert {task.status for task in tasks} == {Status.COMPLETED}
        assert all(task.retry_count <= 1 for task in tasks)


def until(queue: QueueManager, is_so: Callable[[], bool]) -> None:
    """Look again at each event of the queue; fails after 30 s without one."""
    events = queue.subscribe()
    while not is_so():
        events.get(timeout=30)
