"""A small real HTTP server that behaves like Ollama and OpenAI, and fails as a test demands."""

import contextlib
import json
import select
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from socket import MSG_PEEK, SHUT_RDWR, socket
from typing import Any, Self, cast

from tests.support.fakes.behaviours import Answer, Behaviour, Cut, Hang, Stream
from tests.support.fakes.dialects import DIALECTS, FACTS, VECTORS, Dialect, listings
from tests.support.fakes.model_changes import Change, Lines, read_body
from tests.support.servers.real_models import model_server

__all__ = ["Answer", "Behaviour", "Call", "Cut", "FakeOllama", "Hang", "Stream"]

_WELL = Stream()
_NOT_FOUND = Answer(404, {"error": "404 page not found"})


@dataclass(frozen=True)
class Call:
    """One received inference request."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]  # names in lower case


class FakeOllama:
    """Listens on a free port, or `port`, from the start; use it as a context manager.

    `script` sets the behaviours of the next inference calls, one each; later ones follow `default`,
    which may be a function of the request's body. `facts` are the answers to GET (and `show`).
    `answers` are those to requests that change models, by path or its start; `changes` are those
    received. `interim` is sent unchanged before each answer to an inference call.
    `calls` are the inference calls received, `probes` the paths of all GET requests, `peak` the
    maximum number of concurrent calls whose clients were still there. Waits raise `TimeoutError`.
    """

    def __init__(
        self,
        default: Behaviour | Callable[[dict[str, Any]], Behaviour] = _WELL,
        *,
        port: model_server.ReservedPort | None = None,
    ) -> None:
        self.default = default
        self.facts: dict[str, Answer | Hang] = {p: Answer(body=b) for p, b in FACTS.items()}
        self.interim = b""
        self.changes: list[Change] = []
        self.answers: dict[str, Answer | Lines | Hang | Cut] = {}
        self.calls: list[Call] = []
        self.probes: list[str] = []
        self.running = self.peak = self.disconnects = self.connections = 0
        self._script: deque[Behaviour] = deque()
        self._open: set[socket] = set()
        self._calling: set[socket] = set()
        self._changed = threading.Condition()
        # Nobody else gets it while it refuses.
        self._reserved = model_server.ReservedPort() if port is None else port
        self.port = self._reserved.number
        self.accept()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()

    def script(self, *behaviours: Behaviour) -> Self:
        """Append behaviours for the next calls."""
        with self._changed:
            self._script.extend(behaviours)
        return self

    def lists(self, *models: str, loaded: Sequence[str] = ()) -> Self:
        """Set the models that the server has, and those in memory."""
        self.facts |= {p: Answer(body=b) for p, b in listings(models, loaded).items()}
        return self

    def refuse(self) -> None:
        """Go down: close all connections and the listening socket."""
        self._server.stop()
        self.disconnect()

    def accept(self) -> None:
        """Come up again on the same port."""
        self._server = _Server(("127.0.0.1", self.port), self)
        threading.Thread(target=self._server.accept_all, daemon=True).start()

    def disconnect(self) -> None:
        """Close all connections, including idle ones, and keep listening."""
        with self._changed:
            for connection in self._open:
                _shut(connection)

    def wait_for_calls(self, count: int, timeout: float = 5) -> list[Call]:
        """Wait for at least `count` inference calls, and return them."""
        with self._changed:
            self._wait(lambda: len(self.calls) >= count, timeout, f"{count} calls")
            return list(self.calls)

    def wait_for_disconnect(self, timeout: float = 5, count: int = 1) -> None:
        """Wait until `count` clients in total have disconnected during a call."""
        with self._changed:
            self._wait(lambda: self.disconnects >= count, timeout, f"{count} disconnects")

    def wait_until_idle(self, timeout: float = 5) -> None:
        with self._changed:
            self._wait(lambda: self.running == 0, timeout, "no running call")

    def _wait(self, is_so: Callable[[], bool], timeout: float, what: str) -> None:
        if not self._changed.wait_for(is_so, timeout):
            raise TimeoutError(f"waited {timeout} s for {what}; calls: {len(self.calls)}")

    # What the handlers tell.

    def connected(self, connection: socket) -> None:
        with self._changed:
            self.connections += 1
            self._open.add(connection)

    def closed(self, connection: socket) -> None:
        with self._changed:
            self._open.discard(connection)
            self._changed.notify_all()

    def started(self, call: Call, connection: socket) -> Behaviour:
        with self._changed:
            self.calls.append(call)
            self.running += 1
            self._calling.add(connection)
            self.peak = max(self.peak, sum(map(_is_there, self._calling)))
            self._changed.notify_all()
            if self._script:
                return self._script.popleft()
        return self.default(call.body) if callable(self.default) else self.default

    def received(self, change: Change) -> Answer | Lines | Hang | Cut:
        with self._changed:
            self.changes.append(change)
            self._changed.notify_all()
        paths = [path for path in self.answers if change.path.startswith(path)]
        return self.answers[max(paths)] if paths else _NOT_FOUND

    def ended(self, connection: socket) -> None:
        with self._changed:
            self.running -= 1
            self._calling.discard(connection)
            self._changed.notify_all()

    def left(self) -> None:
        with self._changed:
            self.disconnects += 1
            self._changed.notify_all()


def _is_there(client: socket) -> bool:
    """Whether it has not closed its connection."""
    try:  # not by `MSG_DONTWAIT`: a socket of gevent waits all the same
        readable, _, _ = select.select([client], [], [], 0)
        return not readable or client.recv(1, MSG_PEEK) != b""
    except (OSError, ValueError):  # it is closed
        return False


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], fake: FakeOllama) -> None:
        self.fake = fake
        super().__init__(address, _Handler)

    def accept_all(self) -> None:
        """`serve_forever` without its polling, so that `stop` takes no time."""
        while True:
            try:
                connection, client = self.get_request()
            except OSError:
                return self.server_close()
            self.fake.connected(connection)
            self.process_request(connection, client)

    def stop(self) -> None:
        _shut(self.socket)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: many tests disconnect clients."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    _is_running = False

    @property
    def fake(self) -> FakeOllama:
        return cast(_Server, self.server).fake

    def finish(self) -> None:
        self.fake.closed(self.connection)
        super().finish()

    def do_GET(self) -> None:
        self.fake.probes.append(self.path)
        known = self.fake.facts.get(self.path, _NOT_FOUND)
        if isinstance(known, Hang):
            self._hang()
        else:
            self._answer(known)

    def do_POST(self) -> None:
        if any(self.path.startswith(path) for path in self.fake.answers):
            self._change()
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path in DIALECTS or self.path in VECTORS:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._infer(Call(self.path, body, headers))
        else:
            known = self.fake.facts.get(self.path, _NOT_FOUND)
            self._answer(known if isinstance(known, Answer) else _NOT_FOUND)

    def do_HEAD(self) -> None:
        self._change()

    def do_DELETE(self) -> None:
        self._change()

    def _change(self) -> None:
        """Answer a request that changes models."""
        behaviour = self.fake.answers.get(f"early {self.path}")
        if behaviour is None:
            behaviour = self.fake.received(read_body(self))
        try:
            match behaviour:
                case Answer():
                    self._answer(behaviour)
                    self.close_connection = "early " + self.path in self.fake.answers
                case Lines():
                    self._report(behaviour)
                case Hang():
                    self._hang()
                case Cut():
                    self._cut()
        except OSError:
            self._leave()

    def _report(self, report: Lines) -> None:
        self.send_response(report.status)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for index, line in enumerate(report.lines):
            if index == report.gate_at and report.gate is not None:
                report.gate.wait()
            self._chunk(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
        if report.then == "hang":
            self._hang()
        elif report.then == "cut":
            self._cut()
        else:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: Any) -> None:
        """Log nothing."""

    def _infer(self, call: Call) -> None:
        behaviour = self.fake.started(call, self.connection)
        self._is_running = True
        try:
            self.wfile.write(self.fake.interim)
            self._behave(behaviour, call.body)
        except OSError:
            self._leave()
        self._end()

    def _behave(self, behaviour: Behaviour, body: dict[str, Any]) -> None:
        match behaviour:
            case Answer():
                self._answer(behaviour)
            case Hang():
                self._hang()
            case Cut():
                self._cut()
            case Stream() if body.get("stream", self.path in ("/api/chat", "/api/generate")):
                self._stream(behaviour, body)
            case Stream(words, gate=gate):
                if gate is not None:
                    gate.wait()
                self._answer(Answer(body=self._whole(body, words)))

    def _answer(self, answer: Answer) -> None:
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in {**headers, **answer.headers}.items():
            self.send_header(name, value)
        self._end()
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _whole(self, body: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
        if self.path in VECTORS:
            return VECTORS[self.path](body)
        return DIALECTS[self.path].whole(body, words)

    def _stream(self, stream: Stream, body: dict[str, Any]) -> None:
        dialect = DIALECTS[self.path]
        self.send_response(200)
        self.send_header("Content-Type", dialect.content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for index, word in enumerate(chain(stream.words, [None])):
            if index == 1 and stream.gate is not None:
                stream.gate.wait()
            if word is not None:
                self._chunk(dialect.framed(dialect.word(body, word)))
        if stream.then == "hang":
            self._hang()
        elif stream.then == "cut":
            self._cut()
        else:
            self._end()
            for line in _ending(dialect, stream, body):
                self._chunk(dialect.framed(line))
            self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _hang(self) -> None:
        if not self.connection.recv(1):
            self._leave()

    def _cut(self) -> None:
        self.close_connection = True
        _shut(self.connection)

    def _leave(self) -> None:
        self.close_connection = True
        self.fake.left()

    def _end(self) -> None:
        """Record a call's end before its last bytes, which the client's next call may follow."""
        if self._is_running:
            self._is_running = False
            self.fake.ended(self.connection)


def _ending(dialect: Dialect, stream: Stream, body: dict[str, Any]) -> list[Any]:
    if stream.then == "error":
        return [{"error": stream.error}]
    return dialect.end(body, len(stream.words)) if stream.then == "end" else []


def _shut(connection: socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(SHUT_RDWR)
