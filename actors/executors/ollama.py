"""Runs tasks on an Ollama server, in its own dialect."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ollama_queue.actors.core.outcomes import Failed, Verdict
from ollama_queue.actors.core.records import Spec, TaskType
from ollama_queue.actors.executors.calls import (
    HttpExecutor,
    OnChunk,
    lines,
    list_in,
    object_in,
    text_in,
)
from ollama_queue.actors.executors.failures import CallFailed

_PATHS = {
    TaskType.CHAT: "/api/chat",
    TaskType.GENERATE: "/api/generate",
    TaskType.EMBED: "/api/embed",
}


class OllamaExecutor(HttpExecutor):
    """Streams chat and generate whatever the task says: only so can it be watched and cut."""

    PROBE_PATH = "/api/version"

    def reply(self, kind: TaskType, model: str, spec: Spec, on_chunk: OnChunk) -> bytes:
        body = request_body(kind, model, spec)
        with self.post(_PATHS[kind], body) as pieces:
            if kind is TaskType.EMBED:
                whole = b"".join(pieces).strip()
                self.skim(whole)
                return whole
            assembly = ChatAssembly() if kind is TaskType.CHAT else Assembly()
            for line in lines(pieces):
                chunk = self.decode(line)
                assembly.take(chunk)
                on_chunk(chunk)
                if chunk.get("done") is True:
                    return msgspec.json.encode(assembly.whole(chunk))
        raise self.failed("ended its reply too early, without done: true", Verdict.RETRY)


def request_body(kind: TaskType, model: str, spec: Spec) -> dict[str, Any]:
    """What is sent: the payload as it is, but for what has a place of its own."""
    body = dict(spec.payload)
    options = body.pop("options", None) or {}
    if not isinstance(options, Mapping):
        raise CallFailed(Failed("payload.options must be an object", Verdict.FINAL))
    if options or spec.options:
        body["options"] = {**options, **spec.options}
    if kind is TaskType.CHAT and (system := body.pop("system", None)):
        body["messages"] = [{"role": "system", "content": system}, *body.get("messages", [])]
    body["model"] = model
    if kind is TaskType.EMBED:
        body.pop("stream", None)
    else:
        body["stream"] = True
    return body


class Assembly:
    """Puts the lines of a generate stream together as Ollama answers unstreamed."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._tool_calls: list[Any] = []
        self._logprobs: list[Any] = []

    def take(self, chunk: dict[str, Any]) -> None:
        self._add(text_in(chunk, "response"), chunk)
        self._logprobs += list_in(chunk, "logprobs")

    def whole(self, last: dict[str, Any]) -> dict[str, Any]:
        """The reply, with all fields of the last line."""
        reply = {**last, "response": "".join(self._text), **self._beside()}
        return {**reply, "logprobs": self._logprobs} if self._logprobs else reply

    def _add(self, text: str, part: dict[str, Any]) -> None:
        self._text.append(text)
        self._thinking.append(text_in(part, "thinking"))
        self._tool_calls += list_in(part, "tool_calls")

    def _beside(self) -> dict[str, Any]:
        """What comes beside the text, if any did."""
        parts = {"thinking": "".join(self._thinking), "tool_calls": self._tool_calls}
        return {name: value for name, value in parts.items() if value}


class ChatAssembly(Assembly):
    """The same of a chat stream, whose text is in messages."""

    def __init__(self) -> None:
        super().__init__()
        self._message: dict[str, Any] = {"role": "assistant"}

    def take(self, chunk: dict[str, Any]) -> None:
        message = object_in(chunk, "message")
        self._add(text_in(message, "content"), message)
        self._message.update(message)
        self._logprobs += list_in(chunk, "logprobs")

    def whole(self, last: dict[str, Any]) -> dict[str, Any]:
        self._message.pop("images", None)  # an echo of what was asked, and large
        message = {**self._message, "content": "".join(self._text), **self._beside()}
        reply = {**last, "message": message}
        return {**reply, "logprobs": self._logprobs} if self._logprobs else reply
