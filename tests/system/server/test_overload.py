"""Ten times as many submits as the queue takes: refused with a time, and nobody else is held up."""

import socket
import threading
from collections import Counter
from pathlib import Path

import httpx

from tests.support.deafness import Ear
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer
from tests.system.server.test_batch_memory import MIB, bytes_of

ROOM = 500  # tasks
WRITERS = 50
EACH = 10 * ROOM // WRITERS
BODY = b'{"type":"generate","model":"m","prompt":"%b","scheduled_at":"2100-01-01T00:00:00Z"}' % (
    b"x" * 2000
)
REQUEST = (
    b"POST /api/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
HEARD_S = 0.2  # of the server's processor time, for a request of others
TIMES_IDLE = 20


def write(port: int, heads: list[bytes]) -> None:
    """Submit on one connection; the heads of all answers."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        reader = connection.makefile("rb")
        for _ in range(EACH):
            connection.sendall(REQUEST)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += reader.readline()
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            reader.read(int(length))
            heads.append(head)


def test_an_overload_is_refused_and_holds_nobody_up(tmp_path: Path) -> None:
    with FakeOllama() as fake:
        server = QueueServer(tmp_path, fake.url)
        with server.config.open("a") as file:
            file.write(f"queue: {{max_queue_size: {ROOM}}}\n")
        with server, Ear(server.port, server.pid) as ear:
            httpx.post(f"{server.base_url}/api/tasks/batch", json=[])  # what is needed once
            ear.longest()
            httpx.get(f"{server.base_url}/api/status")
            idle_s = ear.longest()
            before = bytes_of(server, "VmRSS")
            heads: list[bytes] = []
            writers = [
                threading.Thread(target=write, args=(server.port, heads)) for _ in range(WRITERS)
            ]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.join()
            deaf_s, after = ear.longest(), bytes_of(server, "VmRSS")
            stats = httpx.get(f"{server.base_url}/api/status").json()

    assert Counter(head.split()[1] for head in heads) == {b"201": ROOM, b"429": 9 * ROOM}
    assert all(b"\r\nRetry-After: " in head for head in heads if head.split()[1] == b"429")
    assert stats["pending_tasks"] == ROOM
    assert deaf_s < max(HEARD_S, TIMES_IDLE * idle_s)
    assert after - before < 32 * MIB  # five hundred tasks, and nothing of the others
