"""The page behind a proxy that takes a prefix off its addresses."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from playwright.sync_api import expect

from tests.support.harness.page import BrowserTab
from tests.support.servers.queue_server import QueueServer

PREFIX = b"/queue"


class Proxy:
    """Passes on what is asked below the prefix, without it; a request a connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.strays: list[bytes] = []  # request lines of what was asked elsewhere
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{PREFIX.decode()}/"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with suppress(OSError), closing(client):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (part := client.recv(65536)):
                    return
                head += part
            line, _, rest = head.partition(b"\r\n")
            method, path, version = line.split(b" ")
            if not path.startswith(PREFIX + b"/"):
                self.strays.append(line)
                client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                return
            if b"upgrade: websocket" not in rest.lower():
                rest = rest.replace(b"Connection: keep-alive", b"Connection: close")
            with socket.create_connection(("127.0.0.1", self.port)) as server:
                line = b" ".join((method, path.removeprefix(PREFIX), version))
                server.sendall(line + b"\r\n" + rest)
                threading.Thread(target=_pump, args=(client, server), daemon=True).start()
                _pump(server, client)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(part)


@pytest.fixture
def proxy(server: QueueServer) -> Iterator[Proxy]:
    with closing(Proxy(server.port)) as made:
        yield made


def test_all_of_it_works_below_a_prefix(tab: BrowserTab, proxy: Proxy) -> None:
    page = tab.page
    page.goto(f"{proxy.url}#/tasks")
    expect(page.locator(".connection.live")).to_be_visible()
    (task,) = tab.wait_for(tab.submit_chat("below a prefix"))
    expect(page.locator("tr.task-row", has_text="below a prefix")).to_be_visible()
    page.goto(f"{proxy.url}#/task/{task.id}")
    expect(page.get_by_role("region", name="assistant")).to_contain_text("Hello from here")
    page.goto(f"{proxy.url}#/overview")
    page.get_by_role("link", name="openapi.json").click()
    expect(page.locator("body")).to_contain_text('"openapi"')

    assert [line for line in proxy.strays if b"favicon" not in line] == []  # of what is no page
