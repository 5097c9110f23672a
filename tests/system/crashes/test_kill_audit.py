"""`kill -9` among changes: each that was acknowledged has its entry in the audit log, each entry of
a change stands beside that change, and history loses a minute at most."""

import os
import random
import threading
from pathlib import Path

import pytest

from ollama_queue import QueueError, generate_task
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.system.crashes.test_kill9 import SEED

KILLS = max(3, int(os.environ.get("OLLAMA_QUEUE_KILLS", "20")) // 4)


class Canceller:
    """Submits tasks for a distant time and cancels them, and notes what was acknowledged."""

    def __init__(self, server: QueueServer) -> None:
        self.server = server
        self.cancelled: list[str] = []
        self.over, self.some = threading.Event(), threading.Event()

    def run(self) -> None:
        task = generate_task("smollm2", "later", scheduled_at="2999-01-01T00:00:00Z")
        with self.server.client() as client:
            while not self.over.is_set():
                try:
                    task_id = client.submit_task(task)
                    client.cancel_task(task_id)
                except QueueError:
                    return
                self.cancelled.append(task_id)
                self.some.set()


@pytest.fixture
def server(tmp_path: Path) -> QueueServer:
    return QueueServer(tmp_path, "http://127.0.0.1:9")


def test_a_change_and_its_entry_are_there_or_neither(server: QueueServer) -> None:
    print(f"OLLAMA_QUEUE_SEED={SEED}")
    chance = random.Random(SEED)
    acknowledged: set[str] = set()
    server.start()
    for _ in range(KILLS):
        user = Canceller(server)
        thread = threading.Thread(target=user.run)
        thread.start()
        assert user.some.wait(30)
        user.over.wait(chance.random() * 0.2)
        server.kill()
        user.over.set()
        thread.join(60)
        acknowledged |= set(user.cancelled)
        server.start()
    with server.client() as client:
        entries, cursor = [], None
        while True:
            page = client.list_audit(action="cancel_task", limit=1000, cursor=cursor)
            entries += page.entries
            cursor = page.cursor
            if cursor is None:
                break
        noted = {entry.target for entry in entries}
        assert acknowledged <= noted
        for task_id in noted:
            assert client.get_task_status(task_id) == "cancelled"
    server.stop()


def test_history_loses_seconds_at_most(tmp_path: Path) -> None:
    with FakeOllama() as model:
        server = QueueServer(tmp_path, model.url)
        server.start()
        with server.client() as client:
            for _ in range(3):
                client.wait(client.submit_task(generate_task("smollm2", "hi")), timeout=30)
            assert client.get_usage().rows[0].completed == 3  # a read saves what it tells
        server.kill()
        server.start()
        with server.client() as client:
            assert client.get_usage().rows[0].completed == 3
            assert sum(period.completed for period in client.get_history()) == 3
        server.stop()
