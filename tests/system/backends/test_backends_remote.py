"""`remote_scheduling` in a real server: when the endpoint is asked, how, and who sees its key."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websocket

from ollama_queue import Client, Status
from tests.support.fakes.model_server import Answer, FakeOllama, Hang
from tests.support.harness.backends import PATIENCE_S, ask
from tests.support.servers.queue_server import QueueServer

KEY = "sk-none-may-see-this-0123456789"
PASSWORD = "nor-this-password"
CONFIG = """\
server: {{shutdown_grace: 100ms}}
ollama: {{host: {local}, timeout: 5m}}
queue: {{max_workers: {workers}}}
scheduler: {{batch_size: 10, scheduling_interval: 1s}}
retry_config: {{max_retries: 3, initial_delay: 50ms, max_delay: 200ms, backoff_factor: 2.0}}
remote_scheduling:
  enabled: true
  health_check_interval: 30s
  fallback_to_local: true
  local_first_policy: true
  max_local_queue_size: {most}
  endpoints:
    - {{name: OpenAI, base_url: {remote}, api_key: "${{KEY}}", priority: 10, enabled: true}}
    - {{name: Spare, base_url: "https://spare.example/v1", api_key: "${{KEY}}", enabled: false}}
logging: {{level: debug, format: text}}
"""


class Setting:
    """The server with its local Ollama and its endpoint."""

    def __init__(self, folder: Path) -> None:
        self.local, self.remote = FakeOllama(), FakeOllama()
        self.server = QueueServer(folder, self.local.url)
        self.configure(most=100)
        self.client = self.server.client()

    def configure(self, most: int, workers: str = "null") -> None:
        self.server.config.write_text(
            CONFIG.format(
                local=self.local.url.replace("//", f"//me:{PASSWORD}@"),
                remote=self.remote.openai_url,
                most=most,
                workers=workers,
            )
        )

    def run(self, **fields: Any) -> str | None:
        """Where a task ran that ended well."""
        task = self.client.wait(self.client.submit_task(ask(**fields)), timeout=PATIENCE_S)
        assert task.status is Status.COMPLETED, task.error
        return task.executed_on

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.server.base_url}{path}")


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setting]:
    monkeypatch.setenv("KEY", KEY)
    made = Setting(tmp_path)
    with made.local, made.remote, made.client:
        yield made


def found(setting: Setting) -> None:
    """Both have said which models they have."""
    setting.run(backend="ollama")
    setting.run(backend="OpenAI")


def test_local_first_and_the_endpoint_for_what_is_more_or_asks_for_it(setting: Setting) -> None:
    with setting.server:
        found(setting)
        before = len(setting.remote.calls)
        near = [setting.run() for _ in range(3)]
        assert (near, len(setting.remote.calls)) == (["ollama"] * 3, before)

        far = setting.run(remote_execution=True)
        call = setting.remote.calls[-1]
        assert far == "OpenAI"
        assert call.path == "/v1/chat/completions"
        assert call.headers["authorization"] == f"Bearer {KEY}"

        setting.local.default = Hang()  # one call at a time: all else is beyond
        setting.client.submit_task(ask())
        assert setting.run() == "OpenAI"
        assert setting.local.calls[-1].headers["authorization"].startswith("Basic ")


def test_beyond_max_local_queue_size_priority_decides(setting: Setting) -> None:
    setting.configure(most=0)
    with setting.server:
        found(setting)

        assert setting.run() == "OpenAI"


def test_the_endpoint_is_down_and_comes_back(setting: Setting) -> None:
    with setting.server:
        found(setting)
        page = websocket.create_connection(
            f"{setting.server.base_url.replace('http', 'ws', 1)}/ws", timeout=PATIENCE_S
        )
        page.send(json.dumps({"subscribe": ["backend_changed"]}))
        while json.loads(page.recv())["type"] != "subscribed":
            pass
        setting.remote.refuse()
        task_id = setting.client.submit_task(ask(remote_execution=True, max_retries=0))
        task = setting.client.wait(task_id, timeout=PATIENCE_S)
        out = next_change(page)
        setting.remote.accept()
        back = next_change(page)
        page.close()

        assert (task.status, task.executed_on) == (Status.COMPLETED, "ollama")
        assert [ended.backend for ended in task.attempts] == ["OpenAI", "ollama"]
        assert (out["backend"], back["backend"]) == ("OpenAI", "OpenAI")
        assert "no connection" in out["reason"]
        assert back.get("reason") is None
        assert setting.run(remote_execution=True) == "OpenAI"


def next_change(page: websocket.WebSocket) -> Any:
    while True:
        message = json.loads(page.recv())
        if message["type"] == "event":
            return message


def test_nobody_sees_the_key(setting: Setting) -> None:
    words = {"error": {"message": f"Incorrect API key provided: {KEY}"}}
    with setting.server:
        found(setting)
        setting.remote.script(Answer(401, words), Answer(500, {"error": f"Bearer {KEY}"}))
        setting.local.script(Answer(400, {"error": f"wrong password: {PASSWORD}"}))
        wrong = setting.client.submit_task(ask(backend="ollama"))
        assert "wrong password: [key]" in str(setting.client.wait(wrong, timeout=PATIENCE_S).error)
        task_id = setting.client.submit_task(ask(remote_execution=True, max_retries=0))
        failed = setting.client.wait(task_id, timeout=PATIENCE_S)
        setting.run(remote_execution=True)
        setting.remote.facts["/v1/models"] = Answer(401, words)
        refusal = httpx.post(
            f"{setting.server.base_url}/api/tasks",
            json={"type": "generate", "model": "m", "prompt": "hi", "backend": "x"},
        )
        pages = ["/api/backends", "/api/status", "/api/tasks", f"/api/tasks/{task_id}"]
        told = [setting.get(path).text for path in pages]
    command = [*setting.server.command(), "--check-config"]
    checked = subprocess.run(command, capture_output=True, text=True, check=True)

    assert failed.status is Status.FAILED
    assert failed.error is not None and "Incorrect API key provided: [key]" in failed.error
    assert refusal.status_code == 400
    log = setting.server.log_text()
    assert f"task {task_id} failed" in log
    for text in (*told, refusal.text, log, checked.stdout, checked.stderr):
        assert KEY not in text
        assert PASSWORD not in text
    assert "OpenAI" in told[0]
    assert 'api_key: "***"' in checked.stdout or "api_key: ***" in checked.stdout


def test_a_disabled_endpoint_is_none(setting: Setting) -> None:
    with setting.server, Client(setting.server.base_url) as client:
        assert [state.name for state in client.list_backends()] == ["ollama", "OpenAI"]
        local, remote = client.list_backends()
        assert (local.remote, local.parallel, local.priority) == (False, 1, 0)
        assert (remote.remote, remote.parallel, remote.priority) == (True, 4, 10)
