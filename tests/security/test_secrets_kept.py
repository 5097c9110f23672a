"""No secret is where it does not belong: keys of clients and of model servers, prompts."""

import base64
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import websocket

from tests.support.fakes.model_server import Answer, FakeOllama
from tests.support.servers.queue_server import QueueServer

ADMIN = "oq_the_admins_own_key_0001"
WRONG = "oq_a_key_that_is_not_known"
BACKEND = "sk-of-the-model-server-0002"
LOGIN = "open-sesame-0003"
PROMPT = "what nobody else may read 0004"
KEYS = (ADMIN, WRONG, BACKEND, LOGIN)
ABOUT_ALL = ("/metrics", "/api/audit", "/api/status", "/api/backends", "/api/history")
CHAT = {"model": "m", "messages": [{"role": "user", "content": PROMPT}], "stream": False}


class Guarded(QueueServer):
    """A server with keys everywhere, which logs all it can."""

    def __init__(self, folder: Path, model: FakeOllama) -> None:
        super().__init__(folder, model.url)
        url = model.url.replace("//", f"//me:{LOGIN}@")
        self.config.write_text(
            f"backends: [{{name: gpu, type: ollama, url: '{model.url}', api_key: {BACKEND}}},\n"
            f"  {{name: other, type: ollama, url: '{url}'}}]\n"
            f"auth: {{keys: [{{name: ops, role: admin, key: {ADMIN}}}]}}\n"
            "logging: {level: debug}\nretry_config: {max_retries: 0}\n"
        )
        self.config.chmod(0o600)


@pytest.fixture(scope="module")
def model() -> Iterator[FakeOllama]:
    with FakeOllama() as fake:
        fake.lists("m", loaded=["m"])
        yield fake


@pytest.fixture(scope="module")
def server(model: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    with Guarded(tmp_path_factory.mktemp("guarded"), model) as running:
        yield running


def used(server: QueueServer, model: FakeOllama) -> str:
    """All that is answered without a secret being asked for, once keys came in every way."""
    protocol = f"key.{base64.urlsafe_b64encode(WRONG.encode()).decode()}"
    bearer = {"Authorization": f"Bearer {ADMIN}"}
    model.script(Answer(401, {"error": f"no such key: {BACKEND}"}))
    said: list[str] = []
    with httpx.Client(base_url=server.base_url, timeout=20) as http:
        for headers in (
            {"Authorization": f"Bearer {WRONG}"}, {"X-Api-Key": WRONG}, {"Api-Key": WRONG},
            {"Authorization": f"Basic {WRONG}"}, {"Authorization": f"Bearer {WRONG}\tx"},
        ):  # fmt: skip
            said.append(http.get("/api/tasks", headers=headers).text)
            said.append(http.post("/v1/messages", json=CHAT, headers=headers).text)
        said.append(http.get(f"/api/tasks?api_key={WRONG}", headers=bearer).text.replace(WRONG, ""))
        with pytest.raises(websocket.WebSocketBadStatusException):
            websocket.create_connection(
                f"ws://127.0.0.1:{server.port}/ws", timeout=20, subprotocols=[protocol]
            )
        for path in ("/api/chat", "/v1/chat/completions"):
            said.append(http.post(path, json=CHAT, headers=bearer).text)
        for path in (
            "/", "/api/backends", "/api/status", "/api/tasks", "/api/keys", "/api/audit",
            "/metrics", "/api/failures", "/api/history", "/openapi.json", "/readyz",
        ):  # fmt: skip
            answer = http.get(path, headers={**bearer, "Accept": "text/html"})
            assert answer.status_code == 200, path
            said.append(answer.text)
            assert PROMPT not in answer.text or path not in ABOUT_ALL, path
    return "\n".join(said)


def test_no_secret_is_in_an_answer_or_the_log_or_goes_upstream(
    server: QueueServer, model: FakeOllama
) -> None:
    said = used(server, model)
    log = server.log_text()

    assert " completed model=m" in log
    assert not [key for key in KEYS if key in said]
    assert not [secret for secret in (*KEYS, PROMPT) if secret in log]
    assert model.calls
    assert not [call for call in model.calls if ADMIN in f"{call.headers}{call.body}"]
