"""Clients leave no circles of objects: full collections, which alone free those, are rare."""

import json
import subprocess
import sys

import pytest

from tests.support.servers.real_models import ROOT

TIMES = 100
OTHERS = 150  # of a failed probe, as there may be one or two meanwhile
HOST = "HTTP/1.1\r\nHost: 127.0.0.1\r\n"
TASK = '{"type":"generate","model":"m","prompt":"hi","scheduled_at":"2100-01-01T00:00:00Z"}'
CHAT = '{"model":"","messages":[]}'
REQUESTS = {
    "status": f"GET /api/status {HOST}\r\n",
    "list": f"GET /api/tasks {HOST}\r\n",
    "submit": f"POST /api/tasks {HOST}Content-Length: {len(TASK)}\r\n\r\n{TASK}",
    "batch": f"POST /api/tasks/batch {HOST}Content-Length: {len(TASK) + 2}\r\n\r\n[{TASK}]",
    "unknown task": f"GET /api/tasks/x {HOST}\r\n",
    "invalid task": f"POST /api/tasks {HOST}Content-Length: 2\r\n\r\n{{}}",
    "no request": "GET\r\n\r\n",
    "half a body": f"POST /api/tasks {HOST}Content-Length: 9\r\n\r\n{{",
    "events": f"GET /api/events {HOST}\r\n",
    "WebSocket": f"GET /ws {HOST}Upgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    "Ollama's API": f"POST /api/chat {HOST}Content-Length: {len(CHAT)}\r\n\r\n{CHAT}",
    "page": f"GET / {HOST}\r\n",
}
PROGRAM = """
import ollama_queue.http.serving.serve as serving
import gc, gevent, json, os, socket, sys
from gevent.event import AsyncResult
from ollama_queue.actors.settings import settings

data, times, requests = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
listen, bound = serving.listen, AsyncResult()

def listen_and_tell(host, port):
    listeners = listen(host, port)
    bound.set(listeners[0].getsockname()[1])
    return listeners

def exchange(request):
    with socket.create_connection(("127.0.0.1", bound.get())) as client:
        client.sendall(request.encode())
        client.shutdown(socket.SHUT_WR)
        while client.recv(1 << 16):
            pass

def visit():
    garbage = {}
    for name, request in requests.items():
        exchange(request)
        gc.collect()  # what is made once
        for _ in range(times):
            exchange(request)
        garbage[name] = gc.collect()
    print(json.dumps(garbage), flush=True)
    os._exit(0)

serving.listen, serving.FULL_COLLECTION = listen_and_tell, 1 << 30
gevent.spawn(visit)
flags = {"queue.storage_path": data, "server.port": 0, "ollama.host": "http://127.0.0.1:1"}
serving.serve(settings.trace(None, {}, flags).config)
"""


@pytest.fixture(scope="module")
def garbage(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """The number of objects that a full collection finds after `TIMES` connections of a kind."""
    data = tmp_path_factory.mktemp("garbage")
    argv = [sys.executable, "-c", PROGRAM, data, str(TIMES), json.dumps(REQUESTS)]
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("what", REQUESTS)
def test_connections_leave_no_garbage(garbage: dict[str, int], what: str) -> None:
    assert garbage[what] < OTHERS
