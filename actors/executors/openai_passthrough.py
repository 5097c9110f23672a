"""Passes tasks in OpenAI's dialects to any server that speaks it.

All but requests for responses are passed on unchanged; these become chat completions.
"""

import time
from collections.abc import Iterator
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from ..core.model.errors import Invalid
from ..core.model.outcomes import Answered, Failed, Verdict
from ..core.model.tasks import Dialect, Spec, TaskType
from ..core.openai.chunks import as_piece
from ..core.responses.reply import ResponseReply
from ..core.responses.request import ClientTool, chat_request, client_tools
from ..core.text.plain_pieces import EVENT, plain
from .failures import CallFailed
from .http_executor import NOTHING, HttpExecutor, OnChunk, count_in, lines
from .lenient_json import SurrogateJoiner
from .openai_reply import DONE, payloads
from .openai_whole_reply import WholeReply
from .stream_request import STREAM, streamed

_PATHS = {
    TaskType.CHAT: "/chat/completions",
    TaskType.GENERATE: "/completions",
    TaskType.EMBED: "/embeddings",
}


class Vectors(msgspec.Struct):
    """The fields read from embeddings, which are passed on unchanged."""

    data: msgspec.Raw = msgspec.Raw()
    usage: msgspec.Raw = NOTHING
    error: msgspec.Raw = NOTHING


_VECTORS = msgspec.json.Decoder(Vectors)


def pass_on(
    executor: HttpExecutor,
    base: str,
    kind: TaskType,
    model: str,
    spec: Spec,
    on_chunk: OnChunk,
    without: frozenset[str],
) -> Answered:
    """Make the call at `base`, the path of the server's OpenAI API. Raises as `reply` does.

    It is always streamed, like all calls, and its tokens are counted if the server allows it.
    """
    is_response = spec.dialect is Dialect.RESPONSES
    payload = _chat_request(spec.payload) if is_response else spec.payload
    path, body = base + _PATHS[kind], {**payload, "model": model}
    if kind is TaskType.EMBED:
        body.pop("stream", None)
        return _embeddings(executor, path, body)
    try:
        with streamed(executor, path, body, without) as (pieces, left):
            reader: _ReplyReader = _CompletionReader(kind, on_chunk)
            if is_response:
                reader = _ResponseReader(client_tools(spec.payload.get("tools")), on_chunk)
            answered = _read(executor, pieces, reader, is_whole=STREAM in left)
        return replace(answered, without=left)
    except RecursionError as error:
        raise executor.failed("nested its reply too deeply", Verdict.FINAL) from error


def _chat_request(payload: dict[str, Any]) -> dict[str, Any]:
    try:
        return chat_request(payload)
    except Invalid as error:  # it was submitted to an earlier version
        raise CallFailed(Failed(error.message, Verdict.FINAL)) from error


def _embeddings(executor: HttpExecutor, path: str, body: dict[str, Any]) -> Answered:
    with executor.post(path, body) as pieces:
        whole = executor.reply_of_vectors(pieces)
    vectors = executor.parse_numbers(_VECTORS, whole)
    executor.check(executor.part(vectors.error))
    if bytes(memoryview(vectors.data)[:1]) != b"[":
        raise executor.failed("sent no embeddings", Verdict.RETRY)
    if executor.holds(whole, b'"embedding":[]', b'"embedding": []'):
        raise executor.failed("sent an empty embedding", Verdict.RETRY)
    return Answered(whole, prompt_tokens=count_in(executor.part(vectors.usage), "prompt_tokens"))


class _ReplyReader(Protocol):
    """Reads the pieces of a reply, and passes on what followers of the task get of them."""

    @property
    def reply(self) -> WholeReply | ResponseReply: ...

    def take(self, piece: dict[str, Any]) -> bool:
        """Take a piece; whether it contains output."""

    def take_plain(self, data: bytes) -> bool:
        """Take a piece that need not be decoded completely; False for any other."""

    def end(self) -> None:
        """Take the end of the reply."""


class _CompletionReader:
    """The chunks and the result are the server's own."""

    def __init__(self, kind: TaskType, on_chunk: OnChunk) -> None:
        self.reply, self._on_chunk = WholeReply(kind), on_chunk

    def take(self, piece: dict[str, Any]) -> bool:
        has_output = self.reply.take(piece)
        self._on_chunk(msgspec.json.encode(piece))
        return has_output

    def take_plain(self, data: bytes) -> bool:
        event = plain(EVENT, data)
        if event is None or not self.reply.take_plain(event):
            return False
        self._on_chunk(data)
        return True

    def end(self) -> None:
        pass


class _ResponseReader:
    """The chunks and the result of a chat completion are those of a response."""

    def __init__(self, tools: dict[str, ClientTool], on_chunk: OnChunk) -> None:
        self.reply, self._on_chunk = ResponseReply(tools), on_chunk

    def take(self, piece: dict[str, Any]) -> bool:
        events = self.reply.take(piece)
        for event in events:
            self._on_chunk(msgspec.json.encode(event))
        return bool(events)

    def take_plain(self, data: bytes) -> bool:
        return False

    def end(self) -> None:
        for event in self.reply.end():
            self._on_chunk(msgspec.json.encode(event))


def _read(
    executor: HttpExecutor, pieces: Iterator[bytes], reader: _ReplyReader, *, is_whole: bool
) -> Answered:
    """Read the reply; `is_whole`: it was not streamed, so that nothing marks its end."""
    reply, take, take_plain = reader.reply, reader.take, reader.take_plain
    spoke: list[float] = []  # times of the first and the last output
    has_ended = False
    halves = SurrogateJoiner()
    for data in payloads(lines(pieces, executor.yield_control)):
        if data == DONE:
            has_ended = True
            break
        if not halves.waiting and take_plain(data):
            spoke[1:] = [time.monotonic()]
            continue
        event = executor.decode(data, halves)
        if event.get("object") == "error":  # vLLM's form, without an `error` field
            executor.check(event)
        piece = as_piece(event)
        if take(piece):
            spoke[1:] = [time.monotonic()]
    if has_ended and not reply.has_begun:
        raise executor.failed("sent no reply before [DONE]", Verdict.RETRY)
    if not has_ended and not reply.is_finished and not (is_whole and reply.has_begun):
        raise executor.failed("ended its reply too early, without [DONE]", Verdict.CUT)
    reader.end()
    return Answered(
        msgspec.json.encode(reply.whole()),
        prompt_tokens=count_in(reply.usage, "prompt_tokens"),
        reply_tokens=count_in(reply.usage, "completion_tokens"),
        reply_s=spoke[-1] - spoke[0] or None if spoke else None,
    )
