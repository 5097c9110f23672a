"""What both executors share: the HTTP call to a model server, its limits and its failures."""

import base64
import contextlib
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import httpx
import msgspec

from ..base.cooperation import YieldControl, never_yield, run_steps
from ..base.receiver import MakeReceiver, PlainReceiver
from ..core.activity.tracing import TraceContext
from ..core.config.config import Backend
from ..core.model.errors import Invalid, cut
from ..core.model.limits import ERROR
from ..core.model.outcomes import (
    Answered,
    BackendReply,
    Failed,
    Outcome,
    ProbeResult,
    Stopped,
    Verdict,
)
from ..core.model.tasks import Spec, TaskType, Upstream
from ..core.text.json_weight import MOST_PARTS, MOST_VALUES, weigh
from .content_decoding import Undecodable, decoded
from .failures import (
    CallFailed,
    NotServed,
    failure_of_error,
    failure_of_status,
    one_line,
    upstream_of,
    verdict_of_error,
)
from .lenient_json import SurrogateJoiner, lenient
from .transport import ConnectionTransport, Response, Target, Upload

MAX_LINE = 16 << 20
MAX_REPLY = 64 << 20
PROBE_S = 5.0  # for a complete probe
_MAX_ERROR_BODY = 64 << 10
_SLICE = 1 << 20  # bytes to search without yielding
NOTHING = msgspec.Raw(b"null")  # a field that is missing
_SECRET_LENGTH = 8  # a shorter key is a placeholder, such as `ollama`
_MOST = 1 << 53  # the largest integer that every JSON reader represents exactly

_T = TypeVar("_T")

OnChunk = Callable[[bytes], None]
GetPath = Callable[[str], bytes]
SendRequest = Callable[[str, Mapping[str, Any] | None], bytes]  # a GET, or a POST of a body


class PassedOnFields(msgspec.Struct):
    """The fields read from an answer that is passed on unchanged."""

    error: msgspec.Raw = NOTHING
    prompt_eval_count: msgspec.Raw = NOTHING
    load_duration: msgspec.Raw = NOTHING


_BOM = b"\xef\xbb\xbf"
_PIECE_FIELDS = ("choices", "message", "response", "done")  # of a reply, in either dialect

_OBJECT = msgspec.json.Decoder(dict[str, Any])
_SKIMMED = msgspec.json.Decoder(PassedOnFields)
_ANYTHING = msgspec.json.Decoder()


class HttpExecutor(ABC):
    """An `Executor` over HTTP. A subclass builds requests and reads replies."""

    def __init__(
        self,
        backend: Backend,
        silence_s: float,
        yield_control: YieldControl = never_yield,
        make_receiver: MakeReceiver = PlainReceiver,
    ) -> None:
        self.yield_control = yield_control
        url = httpx.URL(backend.url)
        self._base, self._silence_s = url, silence_s
        key = backend.api_key.strip()
        self.address = str(url.copy_with(userinfo=b"", query=None)).rstrip("/")
        self.name = f"{backend.name} at {self.address}"
        self._headers = headers_of(url, key)
        self._secrets = secrets_of(url, key, self._headers)
        self._targets: dict[tuple[str, str], Target] = {}
        self._transport = ConnectionTransport(silence_s, make_receiver=make_receiver)
        self._failure: str | None = None
        self._trace = b""  # headers, each with its line end

    def begin(self, is_followed: Callable[[], bool] = lambda: True) -> None:
        self._failure, self._trace = None, b""
        self._transport.begin(is_followed)

    def abort(self, failure: str | None = None) -> None:
        if not self._transport.is_aborted:  # the first reason wins
            self._failure = failure
        self._transport.abort()

    def close(self) -> None:
        self._transport.close()

    def trace(self, context: TraceContext) -> None:
        lines = [f"traceparent: {context.traceparent}\r\n"]
        if context.tracestate is not None:
            lines.append(f"tracestate: {context.tracestate}\r\n")
        self._trace = "".join(lines).encode("ascii")

    def run(
        self,
        kind: TaskType,
        model: str,
        spec: Spec,
        on_chunk: OnChunk,
        without: frozenset[str] = frozenset(),
    ) -> Outcome:
        try:
            outcome: Outcome = self.reply(kind, model, spec, on_chunk, without)
        except CallFailed as failure:
            outcome = failure.outcome
        except httpx.TransportError as error:
            outcome = failure_of_error(self.name, self.address, error, self._silence_s)
        if self._transport.is_aborted:
            return Stopped() if self._failure is None else Failed(self._failure, Verdict.RETRY)
        return self.told(outcome) if isinstance(outcome, Failed) else outcome

    @abstractmethod
    def reply(
        self, kind: TaskType, model: str, spec: Spec, on_chunk: OnChunk, without: frozenset[str]
    ) -> Answered:
        """Make the call. Raises `CallFailed` or httpx's errors."""

    @abstractmethod
    def read_probe(self, get: GetPath) -> ProbeResult:
        """Probe the server. `get` returns the body at a path and raises as `reply` does."""

    def probe(self) -> ProbeResult:
        result = self._aside(PROBE_S, lambda fetch: self.read_probe(lambda path: fetch(path, None)))
        if isinstance(result, Failed):
            return ProbeResult(error=result.error, retry_after_s=result.retry_after_s)
        return result

    def request(self, path: str, body: Mapping[str, Any] | None, limit_s: float) -> BackendReply:
        return self._aside(limit_s, lambda fetch: fetch(path, body))

    def _aside(self, limit_s: float, work: Callable[[SendRequest], _T]) -> _T | Failed:
        """Run `work` on a separate connection: a call may be running on the warm one."""
        transport = ConnectionTransport(2 * limit_s, connect_s=2 * limit_s)
        timer = threading.Timer(limit_s, transport.abort)  # ends also slow, steady replies
        timer.daemon = True
        with contextlib.suppress(RuntimeError):  # a program that is exiting cannot start threads
            timer.start()
        try:
            return work(partial(self._fetch, transport))
        except CallFailed as failure:
            failed = failure.outcome
        except httpx.TransportError as error:
            failed = failure_of_error(self.name, self.address, error, limit_s)
            if transport.is_aborted:
                failed = Failed(f"no answer from {self.name} within {limit_s:g} s", Verdict.RETRY)
        finally:
            timer.cancel()
            transport.close()
        return self.told(failed)

    def _fetch(
        self, transport: ConnectionTransport, path: str, body: Mapping[str, Any] | None
    ) -> bytes:
        method = "GET" if body is None else "POST"
        content = None if body is None else msgspec.json.encode(body)
        response = transport.send(self._target(method, path), content)
        try:
            if response.is_success:
                return joined(self._pieces(response))
            failure = self.failure_of(response)
        finally:
            response.close()
        raise NotServed(failure) if response.status in (404, 405) else CallFailed(failure)

    @contextlib.contextmanager
    def post(self, path: str, body: dict[str, Any]) -> Iterator[Iterator[bytes]]:
        """POST `body`; yields the pieces of a successful answer, at most `MAX_REPLY` bytes."""
        try:
            content = msgspec.json.encode(body)
        except (TypeError, ValueError, RecursionError) as error:
            message = f"the task cannot be sent as JSON: {error}"
            raise CallFailed(Failed(message, Verdict.FINAL)) from error
        self.yield_control()  # it may be large, and so is what is sent
        response = self._transport.send(self._target("POST", path), content, self._trace)
        try:
            if not response.is_success:
                raise CallFailed(self.failure_of(response))
            yield self._pieces(response)
        finally:
            response.close()

    def upload(self, method: str, path: str) -> Upload:
        """Begin a request whose body is sent in pieces. Raises httpx's errors."""
        return self._transport.upload(self._new_target(method, path))

    def decode(self, text: bytes, halves: SurrogateJoiner | None = None) -> dict[str, Any]:
        """Decode a JSON object. Raises if it is an error; `halves` is the joiner of its reply."""
        halves = halves or SurrogateJoiner()
        self.weigh(text)
        try:
            value: dict[str, Any] = _OBJECT.decode(text)
            value = halves.mended(value) if halves.waiting else value
        except (ValueError, RecursionError) as error:
            value = self._lenient(text, halves, error)
        self.check(value.get("error"))
        if "detail" in value and value.keys().isdisjoint(_PIECE_FIELDS):  # FastAPI's errors
            self.check(value)
        return value

    def _lenient(self, text: bytes, halves: SurrogateJoiner, error: Exception) -> dict[str, Any]:
        with contextlib.suppress(ValueError, RecursionError):
            value = halves.mended(lenient(text))
            if isinstance(value, dict):
                return value
        raise self._invalid(error) from error

    def skim(self, text: bytes) -> dict[str, Any]:
        """The `PassedOnFields` of a reply with vectors. Raises if it is an error."""
        skimmed = self.parse_numbers(_SKIMMED, text)
        fields = msgspec.structs.asdict(skimmed)
        self.check(self.part(fields.pop("error")))
        return {name: self.part(value) for name, value in fields.items()}

    def failed(self, what: str, verdict: Verdict) -> CallFailed:
        return CallFailed(Failed(f"{self.name} {what}", verdict))

    def parse(self, decoder: msgspec.json.Decoder[_T], text: bytes) -> _T:
        """Decode `text`, unless it holds too many values."""
        self.weigh(text)
        return self.parse_numbers(decoder, text)

    def parse_numbers(self, decoder: msgspec.json.Decoder[_T], text: bytes) -> _T:
        """Decode what has been weighed, with `Raw` for fields that may have millions of numbers."""
        try:
            return decoder.decode(text)
        except (ValueError, RecursionError) as error:
            raise self._invalid(error) from error

    def part(self, raw: msgspec.Raw) -> Any:
        """Decode such a field, where it is a small one."""
        return self.parse(_ANYTHING, bytes(raw))

    def reply_of_vectors(self, pieces: Iterable[bytes]) -> bytes:
        """The complete reply, which may hold any number of numbers, but of nothing else."""
        whole = joined(pieces).strip()
        self.weigh(whole, math.inf)
        return whole

    def holds(self, text: bytes, *marks: bytes) -> bool:
        """Whether one of the marks is in `text`, which is searched in slices."""
        longest = max(map(len, marks))
        for start in range(0, len(text), _SLICE):
            if any(text.find(mark, start, start + _SLICE + longest) >= 0 for mark in marks):
                return True
            self.yield_control()
        return False

    def weigh(self, text: bytes, most_values: float = MOST_VALUES) -> None:
        """Refuse JSON with too many values: decoding cannot yield control."""
        if len(text) > MOST_PARTS:
            steps = weigh(text, "a line of the reply", "", most_values)
            try:
                run_steps(steps, self.yield_control)
            except Invalid as error:
                raise CallFailed(Failed(error.message, Verdict.FINAL)) from error

    def _invalid(self, error: Exception) -> CallFailed:
        return self.failed(f"sent invalid JSON: {error}", Verdict.RETRY)

    def check(self, error: Any) -> None:
        """Raise for an error with status 200: a runner that died, or an invalid request."""
        if error:
            upstream = upstream_of(error)
            message = f"{self.name} reported an error: {one_line(upstream.message)}"
            raise CallFailed(Failed(message, verdict_of_error(upstream), upstream=upstream))

    def _target(self, method: str, path: str) -> Target:
        target = self._targets.get((method, path))
        if target is None:
            target = self._targets[method, path] = self._new_target(method, path)
        return target

    def _new_target(self, method: str, path: str) -> Target:
        url = self._base.copy_with(path=self._base.path.rstrip("/") + path)
        return Target(method, url, self._headers)

    def _pieces(self, response: Response) -> Iterator[bytes]:
        """The decompressed body. At most `MAX_REPLY` bytes, before and after decompression."""
        sent = bounded(response, self.yield_control)
        coding = response.headers.get("content-encoding")
        return sent if coding is None else self._decoded(sent, coding)

    def _decoded(self, sent: Iterator[bytes], coding: str) -> Iterator[bytes]:
        try:
            yield from bounded(
                decoded(sent, coding.split(","), self.yield_control), self.yield_control
            )
        except Undecodable as error:
            raise self.failed(f"sent {error}", Verdict.RETRY) from error

    def failure_of(self, response: Response) -> Failed:
        body = b""
        with contextlib.suppress(httpx.TransportError, CallFailed):  # the status alone is enough
            for piece in self._pieces(response):
                body += piece
                if len(body) > _MAX_ERROR_BODY:
                    break
        return failure_of_status(
            self.name, response.status, response.headers, body, datetime.now(UTC)
        )

    def told(self, failed: Failed) -> Failed:
        """Make a failure fit to store and show: hide keys that the server repeats, cut text."""
        upstream = failed.upstream or Upstream(self._unnamed(failed.error))
        fields = msgspec.structs.asdict(upstream)
        upstream = Upstream(**{name: self._censored(value) for name, value in fields.items()})
        message = self._censored(failed.error)
        return msgspec.structs.replace(failed, error=message, upstream=upstream)

    def _unnamed(self, message: str) -> str:
        """Hide the server's address, which does not concern clients."""
        for name in (self.name, self.address):
            message = message.replace(name, "the model server")
        return message

    def _censored(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        for secret in self._secrets:
            value = value.replace(secret, "[key]")
        return cut(value, ERROR)


def bounded(
    pieces: Iterable[bytes], yield_control: YieldControl = never_yield, limit: int = MAX_REPLY
) -> Iterator[bytes]:
    """Pass the pieces on; raise `CallFailed` after `limit` bytes."""
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > limit:
            raise _too_long("the reply", limit)
        yield piece
        yield_control()


def lines(
    pieces: Iterable[bytes], yield_control: YieldControl = never_yield, limit: int = MAX_LINE
) -> Iterator[bytes]:
    """The non-blank lines of a stream, each as soon as it is complete."""
    held = bytearray()  # the start of a line
    mark = _BOM  # some servers start a stream with it
    for piece in pieces:
        if not (mark or held) and piece.endswith(b"\n") and len(piece) <= limit:
            line = piece.strip()  # most often a piece is one line
            if b"\n" not in line:
                if line:
                    yield line
                continue
        *ends, rest = piece.split(b"\n")
        for end in ends:
            if held:
                end = bytes(held) + end
                held.clear()
            if line := end.strip():
                if len(line) > limit:
                    raise _too_long("a line of the reply", limit)
                yield line.removeprefix(mark)
                mark = b""
                yield_control()
        held += rest
        if len(held) > limit:
            raise _too_long("a line of the reply", limit)
    if last := bytes(held).strip():
        yield last.removeprefix(mark)


def joined(pieces: Iterable[bytes]) -> bytes:
    """The complete reply, joined from its pieces."""
    return b"".join(pieces).removeprefix(_BOM)


def _too_long(what: str, limit: int) -> CallFailed:
    size = f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit >> 10} KiB"
    return CallFailed(Failed(f"{what} is longer than {size}", Verdict.FINAL))


def text_in(value: Any, name: str) -> str:
    """A text field of an object; `""` if it is missing or is not text."""
    field = value.get(name) if isinstance(value, dict) else None
    return field if isinstance(field, str) else ""


def object_in(value: Any, name: str) -> dict[str, Any]:
    field = value.get(name) if isinstance(value, dict) else None
    return field if isinstance(field, dict) else {}


def list_in(value: Any, name: str) -> list[Any]:
    field = value.get(name) if isinstance(value, dict) else None
    return field if isinstance(field, list) else []


def count_in(value: Any, name: str) -> int:
    """A whole number (tokens, nanoseconds); 0 if it is missing or is not one."""
    field = value.get(name) if isinstance(value, dict) else None
    return field if type(field) is int and 0 <= field <= _MOST else 0


def headers_of(url: httpx.URL, key: str) -> httpx.Headers:
    """The headers of each request to a model server, its credentials included."""
    headers = {
        "Host": url.netloc.decode("ascii"),
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "User-Agent": "ollama-queue",
    }
    if key:
        headers["Authorization"] = f"Bearer {key}"
    elif url.userinfo:
        login = base64.b64encode(f"{url.username}:{url.password}".encode())
        headers["Authorization"] = f"Basic {login.decode()}"
    return httpx.Headers(headers, encoding="utf-8")


def secrets_of(url: httpx.URL, key: str, headers: httpx.Headers) -> list[str]:
    """What no error may show, longest first: the Authorization header and its parts."""
    sent = headers.get("authorization", "")
    candidates = (sent[6:].strip(), key, url.password, *url.params.values())
    parts = [part for part in candidates if len(part) >= _SECRET_LENGTH]
    known = {sent, *parts} - {""}
    written = {msgspec.json.encode(secret).decode()[1:-1] for secret in known}
    return sorted(known | written, key=len, reverse=True)
