"""`kill -9` at random instants under a mixed load: nothing lost, nothing ends twice."""

import os
import random
import threading
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

from ollama_queue import Client, QueueError, Status, Task, TaskFilter, generate_task
from tests.support.fakes.behaviours import Answer, Behaviour, Cut, Stream
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer

KILLS = int(os.environ.get("OLLAMA_QUEUE_KILLS", "20"))
WORKERS = 4
SEED = int(os.environ.get("OLLAMA_QUEUE_SEED", random.randrange(1 << 32)))


class Load:
    """Users of a server that dies now and then: what they were told is what is checked."""

    def __init__(self, url: str, seed: int) -> None:
        self.url = url
        self.chance = random.Random(seed)
        self.acknowledged: set[str] = set()
        self.cancelled: dict[str, int] = {}  # acknowledged cancels: attempts until then
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.some = threading.Event()

    def user(self, number: int) -> None:
        count = 0
        with Client(self.url, timeout=5) as client:
            while not self.over.is_set():
                count += 1
                try:
                    self.act(client, f"user{number}-{count}")
                except QueueError:
                    self.over.wait(0.02)  # the server is down: try again like anyone

    def act(self, client: Client, name: str) -> None:
        priority = self.chance.choice([1, 5, 10, 15])
        new = generate_task("m", name, priority=priority, max_retries=2)
        task_id = client.submit_task(new)
        with self.lock:
            self.acknowledged.add(task_id)
            self.some.set()
        what = self.chance.random()
        if what < 0.15:
            cancelled = client.cancel_task(task_id)
            with self.lock:
                self.cancelled[task_id] = cancelled.attempt
        elif what < 0.3:
            client.update_task_priority(task_id, self.chance.choice([1, 15]))


def luck(name: str) -> int:
    return zlib.crc32(name.encode()) % 20


def behave(body: dict[str, Any]) -> Behaviour:
    """Mostly well, in 20 ms; by the task's name some fail for good, and some are cut."""
    threading.Event().wait(0.02)  # so that there is a backlog, and calls under way at a kill
    if luck(body["prompt"]) == 0:
        return Answer(400, {"error": "no"})
    if luck(body["prompt"]) == 1:
        return Cut()
    return Stream(words=["a", "b"])


def all_tasks(client: Client) -> dict[str, Task]:
    """Every stored task, page by page."""
    found: dict[str, Task] = {}
    for offset in range(0, 11_000, 1000):
        page = client.list_tasks(TaskFilter(limit=1000, offset=min(offset, 10_000)))
        found |= {task.id: task for task in page}
        if len(page) < 1000:
            return found
    raise AssertionError("more tasks than this test can page through")


def check_finals(seen: dict[str, Status], tasks: dict[str, Task]) -> None:
    """A final status, once seen, stays."""
    for task_id, status in seen.items():
        assert tasks[task_id].status is status, f"{task_id}: {status} -> {tasks[task_id].status}"
    seen |= {task.id: task.status for task in tasks.values() if task.status.is_final}


def test_kill_nine(tmp_path: Path) -> None:
    print(f"seed {SEED} (OLLAMA_QUEUE_SEED), {KILLS} kills (OLLAMA_QUEUE_KILLS)")
    chance = random.Random(SEED)
    seen: dict[str, Status] = {}
    with FakeOllama(behave) as model, QueueServer(tmp_path, model.url, workers=WORKERS) as server:
        load = Load(server.base_url, SEED + 1)
        users = [threading.Thread(target=load.user, args=(n,)) for n in range(3)]
        for user in users:
            user.start()
        try:
            for _ in range(KILLS):
                assert load.some.wait(20), server.log_text()[-2000:]
                load.over.wait(chance.uniform(0.0, 0.4))
                server.kill()
                load.some.clear()
                server.start()
                with server.client() as client:
                    check_finals(seen, all_tasks(client))
        finally:
            load.over.set()
            for user in users:
                user.join()
        with server.client() as client:
            check_the_end(client, load, model, seen)


def check_the_end(client: Client, load: Load, model: FakeOllama, seen: dict[str, Status]) -> None:
    tasks = {task_id: client.wait(task_id, timeout=60) for task_id in all_tasks(client)}
    check_finals(seen, tasks)
    print(f"{len(load.acknowledged)} acknowledged of {len(tasks)}, {len(load.cancelled)} cancelled")

    assert load.acknowledged <= tasks.keys(), "acknowledged, and lost"
    for task_id, attempts in load.cancelled.items():
        assert tasks[task_id].status is Status.CANCELLED
        assert tasks[task_id].attempt == attempts, "started after its cancel"
    stats = client.get_queue_stats()
    for status in Status:
        counted = sum(task.status is status for task in tasks.values())
        assert getattr(stats, f"{status}_tasks") == counted
    calls = Counter(call.body["prompt"] for call in model.calls)
    untold = 0  # calls of attempts that no disk knew of yet when the queue was killed
    for task in tasks.values():
        assert len({a.attempt for a in task.attempts}) == len(task.attempts)
        if luck(task.title) != 1:  # a cut warm connection is one that went stale: sent again
            untold += max(0, calls[task.title] - task.attempt)
    assert untold <= KILLS * WORKERS, "calls that nobody ordered"
