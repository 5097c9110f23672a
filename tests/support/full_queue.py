"""A queue with records of every kind, for tests of copies of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ollama_queue import QueueManager, Task, TaskFilter, generate_task
from tests.support.fakes.model_server import Answer, FakeOllama, Stream

PATIENCE_S = 30.0
KEY = "only once"
CRON = {
    "name": "nightly",
    "cron_expr": "0 3 * * *",
    "task_template": {"type": "generate", "model": "m", "prompt": "hi"},
}


def _behave(body: dict[str, Any]) -> Any:
    return Answer(400, {"error": "no"}) if body["prompt"] == "fail" else Stream(words=["a", "b"])


def add_file(queue: QueueManager, content: bytes) -> str:
    with queue.new_file() as file:
        file.write(content)
        return file.save("a.jsonl", "batch").id


def fill(queue: QueueManager) -> None:
    """Tasks that have ended in each way, then those that wait: the queue is paused."""
    for prompt in ("complete", "fail"):
        queue.wait(queue.submit_task(generate_task("m", prompt, tags=["x"])), timeout=PATIENCE_S)
    queue.pause()
    queue.submit(generate_task("m", "keyed", priority=3), idempotency_key=KEY)
    queue.cancel_task(queue.submit_task(generate_task("m", "cancel")))
    later = datetime.now(UTC) + timedelta(days=1)
    queue.submit_task(
        generate_task("m", "later", scheduled_at=later, metadata={"n": [1, "é"]}, tenant="acme")
    )
    queue.submit_batch([generate_task("m", f"line {n}") for n in range(20)], idempotency_key="b")
    queue.add_cron_task(CRON)
    add_file(queue, b"content" * 1000)


@contextmanager
def full_queue(folder: Path) -> Iterator[QueueManager]:
    """An open queue in `folder`, filled."""
    with FakeOllama(_behave) as fake, reopened(folder, fake.url) as queue:
        fill(queue)
        yield queue


def reopened(folder: Path, url: str = "http://127.0.0.1:1") -> QueueManager:
    """A queue in `folder`, to be opened; by default its model server is not there."""
    return QueueManager(storage_path=str(folder), ollama_host=url)


def everything(queue: QueueManager) -> dict[str, Any]:
    """All that a queue shows of what it has stored, and would have changed by losing some."""
    tasks = list(queue.list_tasks(TaskFilter(limit=1000, include=["payload", "result"])))
    assert len(tasks) < 1000
    files = queue.list_files(100).files
    return {
        "tasks": {task.id: _lasting(task) for task in tasks},
        "crons": queue.list_cron_tasks(),
        "batches": queue.list_batches(),
        "files": {file.id: (file, _content(queue, file.id)) for file in files},
        "paused": queue.get_queue_stats().paused,
        "counts": {
            name: getattr(queue.get_queue_stats(), f"{name}_tasks")
            for name in ("pending", "completed", "failed", "cancelled")
        },
    }


def _content(queue: QueueManager, file_id: str) -> bytes:
    reader = queue.read_file(file_id)[1]
    content = b"".join(reader)
    reader.close()
    return content


def _lasting(task: Task) -> dict[str, Any]:
    """A task without what depends on the moment, or on the store that it is in."""
    moment = ("seq", "waiting_for", "position", "eta_s")
    return {name: value for name, value in task.to_dict().items() if name not in moment}
