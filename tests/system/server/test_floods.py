"""Whatever a model server sends, and however fast: others are answered meanwhile."""

import gzip
import json
from collections.abc import Iterator

import httpx
import pytest

from tests.support.deafness import Ear
from tests.support.fakes.flood import Flood, sized
from tests.support.servers.queue_server import QueueServer

DEAF_S = 0.2  # of work; a tenth of what each of these took

LINE = b'{"message": {"role": "assistant", "content": "x"}, "done": false}\n'
LAST = b'{"message": {"role": "assistant", "content": "."}, "done": true}\n'
EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n'
END = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
LARGE = b'{"message": {}, "done": true, "x": [%s1]}\n' % (b"{}," * (4 << 20))
GZIP = b"Content-Encoding: gzip"


def in_single_bytes(body: bytes) -> bytes:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


FLOODS = {
    "lines": (sized(LINE * 50_000 + LAST), b"x" * 50_000 + b"."),
    "single bytes": (in_single_bytes(LINE * 2_000 + LAST), b"x" * 2_000 + b"."),
    "blank lines": (sized(b"\n" * (20 << 20) + LAST), b"."),
    "packed blank lines": (sized(gzip.compress(b"\n" * (20 << 20) + LAST), GZIP), b"."),
    "nothing, packed": (sized(gzip.compress(b"") * 100_000 + gzip.compress(LAST), GZIP), b"."),
    "one large line": (sized(LARGE), None),
    "interim answers": (b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000_000, None),
}
EVENTS = {
    "events": (sized(EVENT * 50_000 + END), b"x" * 50_000),
    "comments": (sized(b": ping\n\n" * (1 << 20) + END), b""),
}


@pytest.fixture(scope="module")
def flood() -> Iterator[Flood]:
    with Flood() as model:
        yield model


@pytest.fixture(scope="module")
def server(flood: Flood, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    with QueueServer(tmp_path_factory.mktemp("ollama"), flood.url) as running:
        yield running


@pytest.fixture(scope="module")
def openai(flood: Flood, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    folder = tmp_path_factory.mktemp("openai")
    with QueueServer(folder, f"{flood.url}/v1", kind="openai") as running:
        yield running


def said(server: QueueServer, path: str) -> list[str] | None:
    """The pieces of the reply that a client gets, None where it is none."""
    ask = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with httpx.stream("POST", server.base_url + path, json=ask, timeout=120) as answer:
        if answer.is_error:
            return None
        lines = [line.removeprefix("data: ") for line in answer.iter_lines()]
    pieces = [json.loads(line) for line in lines if line.startswith("{")]
    if path == "/api/chat":
        return [piece["message"]["content"] for piece in pieces]
    return [choice["delta"].get("content", "") for p in pieces for choice in p["choices"]]


def test_the_server_hears_others_meanwhile(server: QueueServer, flood: Flood) -> None:
    _try(server, flood, FLOODS, "/api/chat")


def test_also_in_openais_dialect(openai: QueueServer, flood: Flood) -> None:
    _try(openai, flood, EVENTS, "/v1/chat/completions")


def _try(
    server: QueueServer, flood: Flood, floods: dict[str, tuple[bytes, bytes | None]], path: str
) -> None:
    deaf = {}
    for name, (answer, reply) in floods.items():
        flood.answer = answer
        with Ear(server.port, server.pid) as ear:
            pieces = said(server, path)
            deaf[name] = ear.longest()
        assert (None if pieces is None else "".join(pieces).encode()) == reply, name
    assert max(deaf.values()) < DEAF_S, deaf
