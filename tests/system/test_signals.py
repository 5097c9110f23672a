"""What ends a server: any signal that asks it to, and what runs may end first."""

import os
import signal
import threading
from pathlib import Path

import pytest

from ollama_queue import Status, generate_task
from tests.fakes import FakeOllama, Stream
from tests.queue_server import QueueServer

PATIENCE_S = 20.0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP"])
def test_what_runs_may_end_and_no_interruption_is_spent(tmp_path: Path, name: str) -> None:
    gate = threading.Event()
    with (
        FakeOllama(lambda _: Stream(gate=gate)) as model,
        QueueServer(tmp_path, model.url) as server,
        server.client() as client,
    ):
        task_id = client.submit_task(generate_task("m", "x"))
        model.wait_for_calls(1)
        os.kill(server.pid, signal.Signals[name])
        gate.set()
        assert server._process is not None
        assert server._process.wait(PATIENCE_S) == 0
        assert "stopping: running tasks may finish" in server.log_text()
        server.start()
        task = client.get_task(task_id)

    assert (task.status, task.attempt) == (Status.COMPLETED, 1)


class UnderNohup(QueueServer):
    def command(self) -> list[str | Path]:
        return ["nohup", *super().command()]


def test_under_nohup_a_hang_up_is_nothing(tmp_path: Path) -> None:
    with FakeOllama() as model, UnderNohup(tmp_path, model.url) as server:
        os.kill(server.pid, signal.SIGHUP)
        with server.client() as client:
            client.get_queue_stats()
            client.wait(client.submit_task(generate_task("m", "x")), timeout=PATIENCE_S)
        assert "stopping" not in server.log_text()
