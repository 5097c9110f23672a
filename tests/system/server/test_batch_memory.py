"""A large batch costs less than twice its bytes of memory, and one that is refused little."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer

MIB = 1 << 20
TASK = json.dumps({"type": "generate", "model": "m", "prompt": "x" * 4000}).encode()
COUNT = 60 * MIB // len(TASK)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[QueueServer]:
    with FakeOllama() as fake:
        yield QueueServer(tmp_path, fake.url)


def bytes_of(server: QueueServer, name: str) -> int:
    """A figure of the server's memory: `VmRSS`, or its peak `VmHWM`."""
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def body() -> Iterator[bytes]:
    yield b'{"tasks": [' + TASK
    for _ in range(COUNT // 100):
        yield (b",\n" + TASK) * 100
    yield b"]}"


SIZE = sum(map(len, body()))


def send(server: QueueServer) -> tuple[httpx.Response, int, int]:
    """The answer, and by how much the memory has grown: at most, and in the end."""
    url = f"{server.base_url}/api/tasks/batch"
    with httpx.Client(timeout=120) as client:
        client.post(f"{server.base_url}/api/pause")
        client.post(url, content=b"[" + TASK + b"]")  # whatever is needed once is there
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # the peak begins anew
        before = bytes_of(server, "VmRSS")
        answer = client.post(url, content=body(), headers={"Content-Length": str(SIZE)})
        client.get(f"{server.base_url}/api/status")  # behind all that the answer has left
        peak, after = bytes_of(server, "VmHWM"), bytes_of(server, "VmRSS")
    return answer, peak - before, after - before


def test_a_large_batch_costs_less_than_twice_its_bytes(server: QueueServer) -> None:
    with server:
        answer, peak, after = send(server)

    assert answer.status_code == 201
    assert len(answer.json()["task_ids"]) == 1 + COUNT // 100 * 100
    assert peak < 2 * SIZE
    assert after < SIZE


def test_one_that_is_refused_is_not_read_to_its_end(server: QueueServer) -> None:
    with server.config.open("a") as file:
        file.write("queue: {max_queue_size: 1000}\n")
    with server:
        answer, peak, after = send(server)

    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
    assert peak < SIZE / 2
    assert after < SIZE / 4
