"""A queue of many tasks moves from a folder to PostgreSQL, is served there, and moves back."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ollama_queue import QueueManager, chat_task
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.fleet import ServerOfFleet, ServersOfQueue
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.real_models import ROOT

TASKS = int(os.environ.get("OLLAMA_QUEUE_TASKS", "5000"))
DONE = 200  # of these, so that there are results, too
TOGETHER = 2_500


@pytest.fixture
def folder(tmp_path: Path, model: FakeOllama) -> Path:
    """With the data of a queue: a few tasks that are done, many that wait."""
    with QueueManager(storage_path=str(tmp_path / "data"), ollama_host=model.url) as queue:
        done = queue.submit_batch([task(n) for n in range(DONE)])
        queue.wait_batch(done, timeout=60)
        queue.pause()
        for start in range(DONE, TASKS, TOGETHER):
            end = min(start + TOGETHER, TASKS)
            queue.submit_batch([task(n) for n in range(start, end)])
    return tmp_path


def task(n: int) -> Any:
    words = [{"role": "user", "content": f"Number {n} …"}]
    return chat_task(("qwen3", "smollm2")[n % 2], words, priority=1 + n % 15)


def run(folder: Path, *arguments: str) -> str:
    words = [sys.executable, "-m", "ollama_queue.http.serving.serve", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def tasks_in(path: Path) -> Iterator[Any]:
    """The lines of an export that are tasks, without the number of their last change."""
    with path.open() as lines:
        for line in lines:
            read = json.loads(line)
            if read["kind"] == "task":
                del read["record"]["seq"]
                yield read


def test_there_and_back(folder: Path, database: PostgresServer, model: FakeOllama) -> None:
    with database.queue() as conninfo:
        run(folder, "export", "first.jsonl", "--data-dir", "data")
        assert f"task {TASKS}" in run(folder, "import", "first.jsonl", "--storage", conninfo)
        with ServersOfQueue(folder, model.url, conninfo, size=1) as fleet:
            check_served(fleet.leader())
        run(folder, "export", "second.jsonl", "--storage", conninfo)
    assert f"task {TASKS}" in run(folder, "import", "second.jsonl", "back")
    run(folder, "export", "third.jsonl", "--data-dir", "back")

    before, after = tasks_in(folder / "first.jsonl"), tasks_in(folder / "third.jsonl")
    assert all(one == other for one, other in zip(before, after, strict=True))


def check_served(server: ServerOfFleet) -> None:
    """It has them all."""
    with server.client() as client:
        stats = client.get_queue_stats()
        assert (stats.completed_tasks, stats.pending_tasks) == (DONE, TASKS - DONE)
        (first,) = client.list_tasks({"status": ["pending"], "sort": "priority", "limit": 1})
        assert first.priority == 15
