"""The HTTP app over a real queue, and a client in the same process."""

from pathlib import Path
from typing import Any

import httpx

from ollama_queue import Config, QueueManager
from ollama_queue.actors.core.config import config
from ollama_queue.http.serving.app import create_app
from tests.support.fakes.model_server import FakeOllama, Hang

TASK = {"type": "generate", "model": "smollm2", "prompt": "hi"}
MAX_BODY = 2000


class AppHarness:
    """The app over a real queue with one worker; `http` is a local client of it."""

    def __init__(self, folder: Path) -> None:
        self.fake = FakeOllama()
        self.queue = QueueManager(
            Config(
                ollama=config.OllamaSettings(host=self.fake.url),
                queue=config.QueueSettings(
                    storage_path=str(folder), max_workers=1, max_queue_size=1
                ),
            )
        ).start()
        self.http = client(self.queue)

    def submit(self, task: Any = TASK, **headers: str) -> httpx.Response:
        return self.http.post("/api/tasks", json=task, headers=headers)

    def running(self) -> str:
        self.fake.script(Hang())
        task_id: str = self.submit().json()["task_id"]
        self.fake.wait_for_calls(1)
        return task_id

    def done(self) -> str:
        task_id: str = self.submit().json()["task_id"]
        self.queue.wait(task_id, timeout=10)
        return task_id

    def close(self) -> None:
        self.queue.close(grace_s=0)
        self.fake.refuse()


def client(queue: Any, **options: Any) -> httpx.Client:
    app = create_app(queue, max_body=MAX_BODY, **options)
    transport = httpx.WSGITransport(app=app)
    return httpx.Client(transport=transport, base_url="http://127.0.0.1:7125")


def error(response: httpx.Response) -> tuple[int, str, str | None]:
    """The status, code and field of an error; checks its form."""
    assert response.headers["Content-Type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    assert body["error"].keys() <= {"code", "message", "field"}
    assert body["error"]["message"]
    return response.status_code, body["error"]["code"], body["error"].get("field")
