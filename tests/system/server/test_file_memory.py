"""Files and blobs go through the server in pieces: 200 MB in and out take little memory."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.fakes.model_server import Answer, FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.system.server.test_batch_memory import MIB, bytes_of

SIZE = 200 * MIB
LINE = b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}\r\n'
HEAD = (
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
)


def form(size: int) -> Iterator[bytes]:
    yield HEAD
    piece = LINE * 1000
    for _ in range(size // len(piece)):
        yield piece
    yield b"\r\n--b--\r\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[QueueServer]:
    with FakeOllama() as fake, QueueServer(tmp_path, fake.url) as running:
        yield running


def test_a_large_file_is_never_whole_in_memory(server: QueueServer) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    with httpx.Client(base_url=f"{server.base_url}/v1", timeout=120) as client:
        client.post("/files", content=form(MIB), headers=headers)  # what is needed once is there
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # the peak begins anew
        before = bytes_of(server, "VmRSS")
        file = client.post("/files", content=form(SIZE), headers=headers).json()
        with client.stream("GET", f"/files/{file['id']}/content") as content:
            read = sum(map(len, content.iter_raw()))
        peak = bytes_of(server, "VmHWM")

    assert file["bytes"] == read > SIZE - MIB
    assert peak - before < 32 * MIB


def test_a_blob_that_is_passed_on_is_never_whole_in_memory(tmp_path: Path) -> None:
    path = f"/api/blobs/sha256:{'a' * 64}"
    piece = b"x" * MIB
    with FakeOllama() as fake:
        fake.answers["/api/blobs/"] = Answer(201, b"")
        server = QueueServer(tmp_path, fake.url)
        server.config.write_text(server.config.read_text() + "proxy: {admin: true}\n")
        with server, httpx.Client(base_url=server.base_url, timeout=120) as client:
            client.post(path, content=piece)  # what is needed once is there
            Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # the peak begins anew
            before = bytes_of(server, "VmRSS")
            answer = client.post(path, content=(piece for _ in range(SIZE // MIB)))
            peak = bytes_of(server, "VmHWM")

    assert (answer.status_code, fake.changes[-1].size) == (201, SIZE)
    assert peak - before < 16 * MIB
