"""Requests of deliveries: where they may go, how long they take, and what is read of an answer."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ollama_queue.actors.core.config.webhook_values import networks
from ollama_queue.actors.core.messages import DeliveryAnswered
from ollama_queue.actors.core.webhooks.message import WebhookRequest
from ollama_queue.actors.executors.webhook_request import WebhookCaller
from tests.support.fakes.webhook_receiver import Play, WebhookReceiver
from tests.support.recorders import PATIENCE_S

HERE = networks(["127.0.0.1"])


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as made:
        yield made


def send(url: str, limit_s: float = PATIENCE_S, *, trusted: bool = False) -> DeliveryAnswered:
    request = WebhookRequest("msg_1", url, {"webhook-id": "msg_1"}, b"{}", trusted)
    return WebhookCaller(HERE, limit_s)(request)


def test_a_request_and_its_answer(receiver: WebhookReceiver) -> None:
    reply = b"HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\noh no"
    receiver.play = lambda connection: connection.sendall(reply)
    answer = send(receiver.url)
    assert (answer.status, answer.reply, answer.error) == (500, "oh no", None)
    (request,) = receiver.requests
    assert request.head.startswith(b"POST /hook HTTP/1.1\r\n")
    assert request.headers["webhook-id"] == "msg_1"
    assert request.headers["content-type"] == "application/json"
    assert "authorization" not in request.headers


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "0.0.0.0", "[::1]"])
def test_a_private_address_is_refused_before_anything_is_sent(
    receiver: WebhookReceiver, name: str
) -> None:
    port = receiver.port
    request = WebhookRequest("msg_1", f"http://{name}:{port}/", {}, b"{}", False)
    answer = WebhookCaller(())(request)
    assert answer.status is None
    assert "private address" in (answer.error or "")
    assert receiver.requests == []


def test_a_webhook_of_the_settings_may_go_anywhere(receiver: WebhookReceiver) -> None:
    request = WebhookRequest("msg_1", receiver.url, {}, b"{}", True)
    assert WebhookCaller(())(request).status == 204


def test_the_address_that_is_checked_is_the_one_connected_to(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that resolves to one address first and to another then (DNS rebinding)."""
    looked_up: list[str] = []

    def resolve(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        address = host
        if host.endswith(".example.com"):
            looked_up.append(host)
            address = "192.0.2.1" if len(looked_up) > 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    port = receiver.port
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert send(f"http://rebinding.example.com:{port}/hook").status == 204
    assert looked_up == ["rebinding.example.com"]


def test_a_redirect_is_not_followed(receiver: WebhookReceiver) -> None:
    reply = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n"
    receiver.play = lambda c: c.sendall(reply % receiver.url.encode())
    assert send(receiver.url).status == 302
    assert len(receiver.requests) == 1


def drip(start: bytes) -> Play:
    """Send a byte every 20 ms, for ever."""
    pause = threading.Event()

    def play(connection: socket.socket) -> None:
        connection.sendall(start)
        while not pause.wait(0.02):
            connection.sendall(b"x")

    return play


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_the_time_is_limited_however_slowly_it_answers(
    receiver: WebhookReceiver, start: bytes
) -> None:
    receiver.play = drip(start)
    answer = send(receiver.url, 0.3)
    assert answer.error == "no answer within 0.3 s"


def test_an_endless_answer_is_not_read(receiver: WebhookReceiver) -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"y" * 65536)

    receiver.play = flood
    answer = send(receiver.url)
    assert (answer.status, answer.reply) == (200, "y" * 512)


@pytest.mark.parametrize(
    "raw", [b"", b"HTTP/1.1 2", b"nonsense\r\n\r\n", b"\x00" * 100, b"HTTP/1.1 200 OK\r\nA" * 9]
)
def test_a_broken_answer_is_an_error_in_one_sentence(receiver: WebhookReceiver, raw: bytes) -> None:
    receiver.play = lambda connection: connection.sendall(raw)
    answer = send(receiver.url)
    assert answer.status is None
    assert answer.error
    assert "127.0.0.1" not in answer.error


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert send(f"http://127.0.0.1:{port}").error == "the receiver could not be reached"


def test_an_unknown_name() -> None:
    assert send("http://name.invalid/").error == "the receiver's name is not known"
