"""Converts an OpenAI-compatible server's reply to Ollama's form: pure."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

from ..core.model.tasks import TaskType
from ..core.text.plain_pieces import (
    PlainChatLine,
    PlainDelta,
    PlainEvent,
    PlainGenerateLine,
    PlainLine,
    PlainMessage,
)
from .http_executor import NOTHING, count_in, list_in, object_in, text_in
from .lenient_json import SurrogateJoiner, lenient
from .tool_calls import ToolCalls

DONE = b"[DONE]"
_NO_DELTA = PlainDelta()


class ListedModel(msgspec.Struct):
    id: str


class ModelList(msgspec.Struct):
    """The answer to a listing of models; some servers send only the list."""

    data: list[ListedModel] | None = None
    error: Any = None


class Embedding(msgspec.Struct):
    embedding: msgspec.Raw  # numbers, which are passed on as they are
    index: int = 0


class Usage(msgspec.Struct):
    prompt_tokens: int | None = None


class Embeddings(msgspec.Struct):
    """The fields used of the answer to an embeddings request."""

    data: list[Embedding] | None = None
    usage: Usage | None = None
    error: msgspec.Raw = NOTHING

    def as_ollama(self, model: str, duration_ns: int) -> dict[str, Any]:
        ordered = sorted(self.data or [], key=lambda one: one.index)
        vectors = [one.embedding for one in ordered]
        reply = {"model": model, "embeddings": vectors, "total_duration": duration_ns}
        count = self.usage.prompt_tokens if self.usage else None
        return reply if count is None else {**reply, "prompt_eval_count": count}


def payloads(lines: Iterator[bytes]) -> Iterator[bytes]:
    """The data of a stream's events, or the single object of a server that does not stream."""
    is_error = False
    for line in lines:
        if line.startswith(b"data:"):
            data = line[5:].strip()
            if is_error and data != DONE:
                yield _as_error(data)
            elif data not in (b"", b"null"):  # llama.cpp sends it between the prompts of a list
                yield data
            is_error = False
        elif line.startswith(b"event:"):
            is_error = line[6:].strip() == b"error"
        elif line.startswith(b"error:"):  # llama.cpp before 2025 sends errors like this
            yield b'{"error":%s}' % line[6:].strip()
        elif line.startswith(b"{"):
            yield b"\n".join((line, *lines))


def _as_error(data: bytes) -> bytes:
    """Convert the data of an event named `error`, an object or plain text, to the usual form."""
    try:
        body = lenient(data)
    except (ValueError, RecursionError):
        body = data.decode("utf-8", "replace")
    if isinstance(body, dict) and body.get("error"):
        return data
    return msgspec.json.encode(
        {"error": SurrogateJoiner().mended(body) or "an error without a message"}
    )


class StreamedReply:
    """Collects the events of one reply. `take` turns each into a line of Ollama's stream."""

    def __init__(self, kind: TaskType, model: str) -> None:
        self._kind, self._model = kind, model
        self._finish = self._stop = ""
        self.has_begun = False
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._calls = ToolCalls()
        self._logprobs: list[Any] = []
        self._usage: dict[str, Any] = {}
        self._timings: dict[str, Any] = {}  # llama.cpp's, in milliseconds
        self._spoke: tuple[float, float] | None = None  # times of the first and the last output

    @property
    def is_finished(self) -> bool:
        return self._finish != ""

    @property
    def spoken_s(self) -> float | None:
        """How long the model generated, as measured between the first and the last piece."""
        first, last = self._spoke or (0.0, 0.0)
        return last - first or None

    def take(self, event: dict[str, Any], now: datetime, tick: float) -> dict[str, Any] | None:
        """The line for `event`, or None if it adds nothing to the reply.

        `tick` is the time of a monotonic clock, in seconds.
        """
        self._usage = object_in(event, "usage") or self._usage
        self._timings = object_in(event, "timings") or self._timings
        choice = next(iter(list_in(event, "choices")), None)
        self.has_begun = self.has_begun or choice is not None
        self._finish = text_in(choice, "finish_reason") or self._finish
        # At which stop sequence it ended, as vLLM and SGLang name it.
        self._stop = text_in(choice, "stop_reason") or text_in(choice, "matched_stop") or self._stop
        delta = object_in(choice, "delta") or object_in(choice, "message")
        text = text_in(delta, "content") or text_in(delta, "refusal") or text_in(choice, "text")
        thinking = text_in(delta, "reasoning_content") or text_in(delta, "reasoning")
        piece_logprobs = object_in(choice, "logprobs")
        logprobs = list_in(piece_logprobs, "content") or _older_logprobs(piece_logprobs)
        self._text.append(text)
        self._thinking.append(thinking)
        self._logprobs += logprobs
        calls = list_in(delta, "tool_calls")
        self._calls.take(calls)
        if text or thinking or calls:
            self._spoke = (self._spoke or (tick, tick))[0], tick
        if not (text or thinking or logprobs):
            return None
        line = {**self._dated(now), **self._worded(text, thinking), "done": False}
        return {**line, "logprobs": logprobs} if logprobs else line

    def take_plain(self, event: PlainEvent, now: datetime, tick: float) -> bytes | None:
        """As `take`, the line being encoded, for an event with nothing but text."""
        (choice,) = event.choices
        self.has_begun = True
        delta = choice.delta or _NO_DELTA
        text = delta.content or choice.text or ""
        thinking = delta.reasoning_content or delta.reasoning or ""
        if not (text or thinking):
            return None
        self._text.append(text)
        self._thinking.append(thinking)
        self._spoke = (self._spoke or (tick, tick))[0], tick
        at, beside = _as_text(now), thinking or UNSET
        line: PlainLine
        if self._kind is TaskType.GENERATE:
            line = PlainGenerateLine(self._model, at, text, False, beside)
        else:
            line = PlainChatLine(self._model, at, PlainMessage("assistant", text, beside), False)
        return msgspec.json.encode(line)

    def ending(
        self, now: datetime, duration_ns: int
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The last lines of the stream, and the complete reply.

        Raises ValueError or RecursionError for tool calls whose arguments are not JSON.
        """
        calls = self._calls.as_ollama()
        start, end = self._dated(now), self._ending(duration_ns)
        lines = [{**start, **self._worded("", "", calls), "done": False}] if calls else []
        message = self._worded("".join(self._text), "".join(self._thinking), calls)
        beside = {"logprobs": self._logprobs} if self._logprobs else {}
        return [*lines, {**start, **self._worded("", ""), **end}], {
            **start,
            **message,
            **beside,
            **end,
        }

    def _dated(self, now: datetime) -> dict[str, Any]:
        return {"model": self._model, "created_at": _as_text(now)}

    def _worded(
        self, text: str, thinking: str, calls: list[dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        beside: dict[str, Any] = {"thinking": thinking} if thinking else {}
        if calls:
            beside["tool_calls"] = calls
        if self._kind is TaskType.GENERATE:
            return {"response": text, **beside}
        return {"message": {"role": "assistant", "content": text, **beside}}

    def _ending(self, duration_ns: int) -> dict[str, Any]:
        # Ollama has no reason of its own for an end at a tool call.
        reason = "stop" if self._finish in ("", "tool_calls", "function_call") else self._finish
        figures = {
            "prompt_eval_count": count_in(self._usage, "prompt_tokens"),
            "prompt_eval_duration": self._timed_ns("prompt_ms"),
            "eval_count": count_in(self._usage, "completion_tokens"),
            "eval_duration": self._timed_ns("predicted_ms") or round((self.spoken_s or 0) * 1e9),
        }
        known = {name: figure for name, figure in figures.items() if figure}
        ending = {"done": True, "done_reason": reason, "total_duration": duration_ns, **known}
        return {**ending, "stop_sequence": self._stop} if self._stop else ending

    def _timed_ns(self, name: str) -> int:
        """A duration that the server measured, in nanoseconds; 0 if it did not."""
        span = self._timings.get(name)
        if isinstance(span, bool) or not isinstance(span, int | float):
            return 0
        return round(span * 1e6) if 0 <= span < 1e9 else 0


def _as_text(now: datetime) -> str:
    return now.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _older_logprobs(logprobs: dict[str, Any]) -> list[dict[str, Any]]:
    """Convert a completion's logprobs, which are parallel lists with one entry per token."""
    tokens, values = list_in(logprobs, "tokens"), list_in(logprobs, "token_logprobs")
    others = itertools.chain(list_in(logprobs, "top_logprobs"), itertools.repeat(None))
    return [
        {"token": token, "logprob": value, **_top(other)}
        for token, value, other in zip(tokens, values, others, strict=False)
    ]


def _top(other: Any) -> dict[str, Any]:
    if not isinstance(other, dict):
        return {}
    return {"top_logprobs": [{"token": token, "logprob": p} for token, p in other.items()]}
