"""What a user writes makes the server fetch nothing: addresses of images are refused, or passed on
to the model server unread (SSRF). Webhooks have tests of their own."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness.tenants import OPS, TenantsHarness

CHAT = "/v1/chat/completions"


class Inner:
    """A server that only this machine reaches; `requests` are the paths it was asked for."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                requests.append(self.path)
                self.send_error(404)

            do_POST = do_HEAD = do_GET

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/metadata"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def inner() -> Iterator[Inner]:
    made = Inner()
    yield made
    made.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[TenantsHarness]:
    made = TenantsHarness(tmp_path)
    yield made
    made.close()


def bodies(url: str) -> list[tuple[str, dict[str, Any]]]:
    """Requests of each API with an image at an address, or with another address in them."""
    model = {"model": "smollm2", "max_tokens": 5}
    part = {"type": "image_url", "image_url": {"url": url}}
    source = {"type": "image", "source": {"type": "url", "url": url}}
    image = {"type": "input_image", "image_url": url}
    file = {"type": "input_file", "file_url": url}
    said = [{"role": "user", "content": "hi", "images": [url]}]
    task = {"type": "chat", "model": "smollm2", "messages": said}
    return [
        (CHAT, {**model, "messages": [{"role": "user", "content": [part]}]}),
        ("/v1/messages", {**model, "messages": [{"role": "user", "content": [source]}]}),
        ("/v1/responses", {"model": "smollm2", "input": [{"role": "user", "content": [image]}]}),
        ("/v1/responses", {"model": "smollm2", "input": [{"role": "user", "content": [file]}]}),
        ("/api/chat", {"model": "smollm2", "messages": said}),
        ("/api/generate", {"model": "smollm2", "prompt": "hi", "images": [url]}),
        ("/api/tasks", task),
    ]


def test_no_address_of_an_image_is_fetched(house: TenantsHarness, inner: Inner) -> None:
    http = house.client(OPS)
    passed_on = 0
    for path, body in bodies(inner.url):
        calls = len(house.fake.calls)
        answer = http.post(path, json=body)
        assert answer.status_code in (200, 201, 400), (path, answer.text)
        if path == "/api/tasks" and answer.status_code == 201:
            house.queue.wait(answer.json()["task_id"], timeout=10)
        for call in house.fake.calls[calls:]:
            assert inner.url in str(call.body)  # as it came: the model server may refuse it
            passed_on += 1

    assert passed_on > 0
    assert inner.requests == []


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "/etc/hostname"])
def test_no_other_scheme_is_passed_on(house: TenantsHarness, url: str) -> None:
    image = {"type": "input_image", "image_url": url}
    body = {"model": "smollm2", "input": [{"role": "user", "content": [image]}]}
    answer = house.client(OPS).post("/v1/responses", json=body)

    assert answer.status_code == 400
    assert "must be the image itself" in answer.json()["error"]["message"]
    assert house.fake.calls == []
