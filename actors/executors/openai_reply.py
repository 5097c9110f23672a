"""Puts an OpenAI-compatible server's reply together in the shape of Ollama's: pure."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from ollama_queue.actors.core.records import TaskType
from ollama_queue.actors.executors.calls import list_in, object_in, text_in

DONE = b"[DONE]"


class Model(msgspec.Struct):
    id: str


class Models(msgspec.Struct):
    """The answer to a listing of models; some servers send the bare list."""

    data: list[Model] | None = None
    error: Any = None


class Embedding(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class Usage(msgspec.Struct):
    prompt_tokens: int | None = None


class Embeddings(msgspec.Struct):
    """The answer to an embeddings request, as far as it is used."""

    data: list[Embedding] | None = None
    usage: Usage | None = None
    error: Any = None

    def as_ollama(self, model: str) -> dict[str, Any]:
        ordered = sorted(self.data or [], key=lambda one: one.index)
        reply = {"model": model, "embeddings": [one.embedding for one in ordered]}
        count = self.usage.prompt_tokens if self.usage else None
        return reply if count is None else {**reply, "prompt_eval_count": count}


def payloads(lines: Iterator[bytes]) -> Iterator[bytes]:
    """What the events of a stream carry, or the one object of a server that does not stream."""
    for line in lines:
        if line.startswith(b"data:"):
            yield line[5:].strip()
        elif line.startswith(b"error:"):  # llama.cpp before 2025 says so
            yield b'{"error":%s}' % line[6:].strip()
        elif line.startswith(b"{"):
            yield b"\n".join((line, *lines))


class StreamedReply:
    """Gathers the events of one reply. `take` turns each into a line of Ollama's stream."""

    def __init__(self, kind: TaskType, model: str) -> None:
        self._kind, self._model = kind, model
        self._finish = ""
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._calls: dict[int, dict[str, str]] = {}
        self._logprobs: list[Any] = []
        self._usage: dict[str, Any] = {}
        self._spoke: tuple[float, float] | None = None  # when it first said something, and last

    @property
    def is_finished(self) -> bool:
        return self._finish != ""

    @property
    def spoken_s(self) -> float | None:
        """How long the model generated, as far as two pieces of a reply can tell."""
        first, last = self._spoke or (0.0, 0.0)
        return last - first or None

    def take(self, event: dict[str, Any], now: datetime, tick: float) -> dict[str, Any] | None:
        """The line that `event` is, or None if it says nothing new.

        `tick` is a steady clock's time in seconds.
        """
        self._usage = object_in(event, "usage") or self._usage
        choice = next(iter(list_in(event, "choices")), None)
        self._finish = text_in(choice, "finish_reason") or self._finish
        said = object_in(choice, "delta") or object_in(choice, "message")
        text = text_in(said, "content") or text_in(choice, "text")
        thinking = text_in(said, "reasoning_content") or text_in(said, "reasoning")
        logprobs = list_in(object_in(choice, "logprobs"), "content")
        self._text.append(text)
        self._thinking.append(thinking)
        self._logprobs += logprobs
        calls = list_in(said, "tool_calls")
        self._take_calls(calls)
        if text or thinking or calls:
            self._spoke = (self._spoke or (tick, tick))[0], tick
        if not (text or thinking):
            return None
        line = {**self._dated(now), **self._worded(text, thinking), "done": False}
        return {**line, "logprobs": logprobs} if logprobs else line

    def last(self, now: datetime, duration_ns: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The last line of the stream, and the whole reply. Raises ValueError for broken calls."""
        calls = self._tool_calls()
        start = self._dated(now)
        end = self._ending(duration_ns)
        whole = {
            **start,
            **self._worded("".join(self._text), "".join(self._thinking), calls),
            **end,
        }
        if self._logprobs:
            whole["logprobs"] = self._logprobs
        return {**start, **self._worded("", "", calls), **end}, whole

    def _take_calls(self, deltas: list[Any]) -> None:
        for place, delta in enumerate(deltas):
            index = delta.get("index") if isinstance(delta, dict) else None
            call = self._calls.setdefault(
                index if isinstance(index, int) else place, {"id": "", "name": "", "arguments": ""}
            )
            function = object_in(delta, "function")
            call["id"] = call["id"] or text_in(delta, "id")
            call["name"] = call["name"] or text_in(function, "name")
            call["arguments"] += text_in(function, "arguments")

    def _tool_calls(self) -> list[dict[str, Any]]:
        return [
            {
                **({"id": call["id"]} if call["id"] else {}),
                "function": {
                    "index": index,
                    "name": call["name"],
                    "arguments": _ARGUMENTS.decode(call["arguments"] or "{}"),
                },
            }
            for index, call in sorted(self._calls.items())
        ]

    def _dated(self, now: datetime) -> dict[str, Any]:
        at = now.astimezone(UTC).isoformat().replace("+00:00", "Z")
        return {"model": self._model, "created_at": at}

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
        # Ollama has no word of its own for an end at a tool call.
        reason = "stop" if self._finish in ("", "tool_calls", "function_call") else self._finish
        counts = {
            "prompt_eval_count": self._usage.get("prompt_tokens"),
            "eval_count": self._usage.get("completion_tokens"),
        }
        known = {name: count for name, count in counts.items() if count is not None}
        return {"done": True, "done_reason": reason, **known, "total_duration": duration_ns}


_ARGUMENTS = msgspec.json.Decoder(dict[str, Any])
