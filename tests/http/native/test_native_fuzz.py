"""Random requests to every native route, and random frames: no answer is a mistake of ours."""

import io
import re
import socket
import struct
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlencode
from wsgiref.util import setup_testing_defaults

import msgspec
import pytest
import websocket
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ollama_queue import Config, QueueManager, generate_task
from ollama_queue.actors.core.config import config
from ollama_queue.http import wire
from ollama_queue.http.routes import ROUTES
from ollama_queue.http.serving.app import create_app
from tests.support.fakes.model_server import FakeOllama
from tests.support.servers.queue_server import QueueServer

PATIENCE_S = 10.0
SLOW = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

WORDS = (
    "model prompt messages type chat generate embed input payload options priority tags metadata "
    "role content user ids filter status tasks name cron_expr task_template timezone count enabled "
    "@daily * UTC pending completed limit offset cursor since until q sort include wait events m"
)


def quoted(raw: bytes) -> bytes:
    return quote(raw, safe="=&%+").encode()


word = st.sampled_from(WORDS.split()) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=8
)
scalar = st.none() | st.booleans() | st.integers() | st.floats() | word
value = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(word, inner, max_size=4)
)
task = st.fixed_dictionaries(
    {"type": st.sampled_from(["chat", "generate", "embed"]), "model": word},
    optional={
        "messages": st.lists(st.dictionaries(st.sampled_from(["role", "content"]), value)),
        "prompt": scalar,
        "input": value,
        "priority": scalar,
        "options": value,
        "timeout_s": scalar,
        "scheduled_at": scalar,
        "backend": scalar,
        "tags": value,
    },
)
cron = st.fixed_dictionaries(
    {"name": word, "cron_expr": word | st.just("*/5 * * * *"), "task_template": task | value}
)
body = (
    st.binary(max_size=30)
    | st.one_of(value, task, cron, st.lists(task, max_size=3)).map(msgspec.json.encode)
    | st.integers(90, 5000).map(lambda depth: b'{"x":' * depth + b"1" + b"}" * depth)
)
pairs = st.lists(st.tuples(word, scalar.map(str)), max_size=3)
query = pairs.map(lambda each: urlencode(each).encode()) | st.binary(max_size=20).map(quoted)


class Target:
    """The app over a queue; `known` is a task that there is."""

    def __init__(self, folder: Path) -> None:
        self.fake = FakeOllama()
        model, data = (
            config.OllamaSettings(host=self.fake.url),
            config.QueueSettings(storage_path=str(folder)),
        )
        self.queue = QueueManager(Config(ollama=model, queue=data)).start()
        self.app = create_app(self.queue)
        self.known = self.queue.submit_task(generate_task("m", "hi"))

    def address(self, path: str, name: str) -> str:
        """A route's path with something in the place of its `{…}`."""
        return re.sub(r"\{\w+\}", lambda _: name or self.known, path)

    def call(
        self, method: str, path: str, query: bytes, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Status and body as a WSGI server gets them; of a good answer only the beginning."""
        said: list[str] = []
        environ: dict[str, Any] = dict(headers)
        setup_testing_defaults(environ)
        environ |= {
            "REQUEST_METHOD": method,
            "PATH_INFO": unquote_to_bytes(path).decode("latin1"),
            "QUERY_STRING": query.decode("latin1"),
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
        }
        parts = self.app(environ, lambda status, *_: said.append(status))
        answer = next(iter(parts), b"")
        if hasattr(parts, "close"):
            parts.close()
        return int(said[-1][:3]), answer

    def close(self) -> None:
        self.queue.close(grace_s=0)
        self.fake.refuse()


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    longest, wire.LONGEST_WAIT_S = wire.LONGEST_WAIT_S, 0.02
    with tempfile.TemporaryDirectory() as folder:
        made = Target(Path(folder))
        yield made
        made.close()
    wire.LONGEST_WAIT_S = longest


@SLOW
@given(
    route=st.sampled_from(ROUTES),
    name=st.sampled_from(["", "", "x", "%00", "%ff", "%C3%A4", "..", "0199"]),
    query=query,
    body=body,
    kind=st.sampled_from(["application/json", "application/x-ndjson", "text/plain", ""]),
    key=st.sampled_from(["", "k", "\xff", "x" * 300]),
)
def test_no_request_finds_a_mistake_of_ours(
    target: Target, route: Any, name: str, query: bytes, body: bytes, kind: str, key: str
) -> None:
    headers = {"CONTENT_TYPE": kind, **({"HTTP_IDEMPOTENCY_KEY": key} if key else {})}

    status, answer = target.call(
        route.method, target.address(route.public_path, name), query, body, headers
    )

    assert status < 500 or status == 503
    if status >= 400:
        told = msgspec.json.decode(answer)["error"]
        assert told["code"] and told["message"] and told["code"] != "internal"


# --- frames -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    folder = tmp_path_factory.mktemp("server")
    with FakeOllama() as model, QueueServer(folder, model.url) as running:
        yield running


wish = st.dictionaries(st.sampled_from(["subscribe", "tasks", "chunks", "x"]), value, max_size=3)
messages = wish.map(msgspec.json.encode) | st.binary(max_size=200)


@settings(SLOW, max_examples=60)
@given(
    said=st.lists(st.tuples(st.integers(0, 255), messages), max_size=5), rest=st.binary(max_size=40)
)
def test_no_frame_hangs_or_ends_the_server(
    server: QueueServer, said: list[tuple[int, bytes]], rest: bytes
) -> None:
    made = websocket.create_connection(
        f"ws://127.0.0.1:{server.port}/ws", timeout=PATIENCE_S, enable_multithread=False
    )
    for first, payload in said:
        head = struct.pack("!BBHI", first, 0x80 | 126, len(payload), 0)  # a mask of zeros
        with suppress(OSError):  # closed, for what was said before
            made.sock.sendall(head + payload)
    with suppress(OSError):  # it may have closed already, and be gone
        made.sock.sendall(rest)
        made.sock.shutdown(socket.SHUT_WR)
    with suppress(ConnectionError):
        while made.sock.recv(65536):  # it closes, and in time
            pass
    made.shutdown()

    with server.client() as client:
        assert client.get_queue_stats().version
    assert "Traceback" not in server.log_text()
