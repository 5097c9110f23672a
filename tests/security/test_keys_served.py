"""Keys at a real server: the first one, streams of a revoked one, WebSockets, the model server."""

import base64
import contextlib
import json
import os
import shlex
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import websocket

from ollama_queue import Client, Conflict, Forbidden, NotFound, Unauthorized
from tests.support.fakes.model_server import FakeOllama, Hang
from tests.support.servers.queue_server import QueueServer
from tests.support.servers.real_models import ROOT

CHAT = {"model": "smollm2", "messages": [{"role": "user", "content": "hi"}]}


class Team:
    def __init__(self, folder: Path) -> None:
        self.fake = FakeOllama()
        self.server = QueueServer(folder, self.fake.url)
        self.server.start()
        self.url = self.server.base_url
        with Client(self.url) as anybody:
            self.admin_key = anybody.add_key({"name": "ops", "role": "admin"}).key
        self.admin = Client(self.url, api_key=self.admin_key)

    def http(self, key: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20)

    def close(self) -> None:
        self.admin.close()
        self.server.stop()
        self.fake.refuse()


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    made = Team(tmp_path_factory.mktemp("team"))
    yield made
    made.close()


def subprotocol(key: str) -> Any:
    return f"key.{base64.urlsafe_b64encode(key.encode()).decode().rstrip('=')}"


def opened(team: Team, *subprotocols: str) -> websocket.WebSocket:
    url = team.url.replace("http", "ws") + "/ws"
    return websocket.create_connection(url, timeout=20, subprotocols=list(subprotocols) or None)


def test_with_the_first_key_everybody_needs_one(team: Team) -> None:
    with Client(team.url) as keyless, pytest.raises(Unauthorized, match="needs an API key"):
        keyless.list_tasks()
    with Client(team.url, api_key="oq_wrong") as wrong, pytest.raises(Unauthorized):
        wrong.list_tasks()
    answer = httpx.get(f"{team.url}/api/tasks")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert httpx.get(f"{team.url}/healthz").status_code == 200
    assert httpx.get(f"{team.url}/readyz").status_code == 200
    assert team.admin.list_tasks() == []


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key"])
def test_official_clients_send_their_key_as_they_do(team: Team, header: str) -> None:
    value = f"Bearer {team.admin_key}" if header == "authorization" else team.admin_key
    answer = httpx.get(f"{team.url}/v1/models", headers={header: value})

    assert answer.status_code == 200


def test_a_keys_life(team: Team) -> None:
    created = team.admin.add_key({"name": "carl", "max_priority": "high", "rate": "100/m"})
    with pytest.raises(Conflict, match="named carl already"):
        team.admin.add_key({"name": "carl"})
    info = next(each for each in team.admin.list_keys() if each.name == "carl")
    assert (info.source, info.max_priority, info.rate) == ("store", 10, "100/m")
    assert created.key.startswith(info.hint) and len(info.hint) < 12
    with Client(team.url, api_key=created.key) as carl:
        carl.list_tasks()
        with pytest.raises(Forbidden, match="role user: this needs an admin key"):
            carl.list_keys()
        second = team.admin.rotate_key("carl")
        with pytest.raises(Unauthorized):
            carl.list_tasks()
    with Client(team.url, api_key=second.key) as carl:
        carl.list_tasks()
        assert team.admin.revoke_key("carl").name == "carl"
        with pytest.raises(Unauthorized):
            carl.list_tasks()
    with pytest.raises(NotFound):
        team.admin.revoke_key("carl")
    with pytest.raises(Conflict, match="last admin"):
        team.admin.revoke_key("ops")


def test_who_changes_its_own_key_gets_the_answer(team: Team) -> None:
    key = team.admin.add_key({"name": "erin", "role": "admin"}).key
    with Client(team.url, api_key=key) as erin:
        key = erin.rotate_key("erin").key
        with pytest.raises(Unauthorized):
            erin.list_keys()
    with Client(team.url, api_key=key) as erin:
        assert erin.revoke_key("erin").name == "erin"
        with pytest.raises(Unauthorized):
            erin.list_keys()


def test_what_a_key_has_open_ends_when_it_expires(team: Team) -> None:
    for name, life_s in (("fay", 3), ("fritz", 12), ("fred", 48)):  # of a busy machine the later
        until = datetime.now(UTC) + timedelta(seconds=life_s)
        key = team.admin.add_key({"name": name, "expires_at": until}).key
        with contextlib.suppress(websocket.WebSocketException):
            socket = opened(team, "ollama-queue", subprotocol(key))
            stream = team.http(key).stream("GET", "/api/events", timeout=80)
            with stream as answer:
                if answer.status_code == httpx.codes.OK:
                    with pytest.raises(httpx.RemoteProtocolError):
                        answer.read()
                    break
    assert datetime.now(UTC) >= until
    opcode = websocket.ABNF.OPCODE_TEXT
    while opcode != websocket.ABNF.OPCODE_CLOSE:
        opcode, data = socket.recv_data()
    assert struct.unpack("!H", data[:2])[0] == 1008
    socket.close()


def test_revoking_a_key_ends_what_it_has_open(team: Team) -> None:
    key = team.admin.add_key({"name": "dora"}).key
    calls = len(team.fake.calls)
    team.fake.script(Hang())
    ended: list[str] = []
    begun = threading.Barrier(4, timeout=20)

    def read(path: str, **options: Any) -> None:
        method = "POST" if "json" in options else "GET"
        with (
            contextlib.suppress(httpx.TransportError),
            team.http(key).stream(method, path, **options) as answer,
        ):
            pieces = answer.iter_bytes()
            next(pieces)
            begun.wait()
            for _ in pieces:
                pass
        ended.append(path)

    def wait(task_id: str) -> None:
        begun.wait()
        with contextlib.suppress(httpx.TransportError):
            team.http(key).get(f"/api/tasks/{task_id}?wait=600", timeout=600)
        ended.append("wait")

    task_id = team.http(key).post("/api/tasks", json={"type": "chat", **CHAT}).json()["task_id"]
    team.fake.wait_for_calls(calls + 1)
    threads = [
        threading.Thread(target=read, args=("/api/events",)),
        threading.Thread(target=read, args=(f"/api/tasks/{task_id}/stream",)),
        threading.Thread(target=wait, args=(task_id,)),
    ]
    for thread in threads:
        thread.start()
    socket = opened(team, "ollama-queue", subprotocol(key))
    assert socket.getsubprotocol() == "ollama-queue"
    assert json.loads(socket.recv())["type"] == "snapshot"
    begun.wait()
    team.admin.revoke_key("dora")
    opcode = websocket.ABNF.OPCODE_TEXT
    while opcode != websocket.ABNF.OPCODE_CLOSE:
        opcode, data = socket.recv_data()
    assert struct.unpack("!H", data[:2])[0] == 1008
    socket.close()
    for thread in threads:
        thread.join(20)
    assert sorted(ended) == sorted(["/api/events", f"/api/tasks/{task_id}/stream", "wait"])
    team.admin.cancel_task(task_id)


def test_a_websocket_without_a_key_is_refused_before_it_opens(team: Team) -> None:
    for offered in ([], [subprotocol("oq_wrong")], ["key.%%%"]):
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            opened(team, *offered)
        assert refused.value.status_code == 401
    socket = opened(team, subprotocol(team.admin_key))
    assert json.loads(socket.recv())["type"] == "snapshot"
    socket.close()


def test_a_key_survives_a_restart_and_is_nowhere_on_disk(team: Team) -> None:
    key = team.admin.add_key({"name": "emil"}).key
    team.server.kill()
    team.server.start()

    with Client(team.url, api_key=key) as emil:
        emil.list_tasks()
    for path in team.server.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert key.encode() not in content and team.admin_key.encode() not in content, path


def test_a_clients_key_never_reaches_a_model_server(team: Team) -> None:
    calls = len(team.fake.calls)
    headers = {"X-Api-Key": team.admin_key, "Api-Key": team.admin_key}
    with team.http(team.admin_key) as http:
        for path, body in (
            ("/api/chat", {**CHAT, "stream": False}),
            ("/v1/chat/completions", CHAT),
            ("/v1/messages", {**CHAT, "max_tokens": 5}),
        ):
            assert http.post(path, json=body, headers=headers).status_code == 200

    for call in team.fake.calls[calls:]:
        assert team.admin_key not in repr(vars(call) if hasattr(call, "__dict__") else call)
        assert team.admin_key not in str(getattr(call, "headers", ""))


def test_only_this_machine_adds_the_first_key(tmp_path: Path) -> None:
    fake = FakeOllama()
    server = QueueServer(tmp_path, fake.url)
    server.start()
    try:
        forwarded = {"X-Forwarded-For": "203.0.113.7"}
        body = {"name": "evil", "role": "admin"}
        answer = httpx.post(f"{server.base_url}/api/keys", json=body, headers=forwarded)
        assert answer.status_code == 403
        with Client(server.base_url) as anybody, pytest.raises(Conflict, match="role admin"):
            anybody.add_key({"name": "alice"})
        with Client(server.base_url) as anybody:
            assert anybody.list_tasks() == []
    finally:
        server.stop()
        fake.refuse()


def test_the_documents_commands_set_up_a_team(tmp_path: Path) -> None:
    fake = FakeOllama()
    server = QueueServer(tmp_path, fake.url)
    server.start()
    block = (ROOT / "docs" / "keys.md").read_text().partition("```text\n")[2].partition("```")[0]
    environment = {**os.environ, **server.environment(), "OLLAMA_QUEUE_SERVER": server.base_url}
    key = ""
    try:
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[0] == "export":
                environment["OLLAMA_QUEUE_API_KEY"] = key
                continue
            program = [sys.executable, "-m", "ollama_queue.cli.start", *words[1:]]
            done = subprocess.run(program, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            key = done.stdout.strip()
    finally:
        server.stop()
        fake.refuse()
    rows = [line.split()[:3] for line in key.splitlines()[1:]]
    assert [row[:2] for row in rows] == [["alice", "user"], ["ci", "user"], ["ops", "admin"]]
    assert "max_running=2 rate=10/s" in key
