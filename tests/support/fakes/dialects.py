"""Responses of the fake model server in the formats of Ollama's and OpenAI's APIs."""

import json
from collections.abc import Callable, Sequence
from typing import Any

CREATED_AT = "2026-01-01T00:00:00Z"


class Ollama:
    """Lines of JSON."""

    content_type = "application/x-ndjson"

    def __init__(self, said: Callable[[str], dict[str, Any]]) -> None:
        self._said = said

    def framed(self, line: Any) -> bytes:
        return json.dumps(line).encode() + b"\n"

    def word(self, body: dict[str, Any], word: str) -> dict[str, Any]:
        start = {"model": body["model"], "created_at": CREATED_AT}
        return {**start, **self._said(word), "done": False}

    def end(self, body: dict[str, Any], count: int) -> list[Any]:
        times = {"total_duration": 5000, "load_duration": 1000, "eval_duration": 2000}
        counts = {"prompt_eval_count": 3, "eval_count": count}
        last = {"done": True, "done_reason": "stop", **times, **counts}
        return [{**self.word(body, ""), **last}]

    def whole(self, body: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
        return {**self.end(body, len(words))[0], **self._said("".join(words))}


class OpenAI:
    """Server-sent events."""

    content_type = "text/event-stream"

    def __init__(self, kind: str, piece: str, said: Callable[[str, str], dict[str, Any]]) -> None:
        self._kind, self._piece, self._said = kind, piece, said

    def framed(self, line: Any) -> bytes:
        return f"data: {line if isinstance(line, str) else json.dumps(line)}\n\n".encode()

    def word(self, body: dict[str, Any], word: str) -> dict[str, Any]:
        choice = {**self._said("delta", word), "finish_reason": None}
        return _event(self._piece, body, [choice])

    def end(self, body: dict[str, Any], count: int) -> list[Any]:
        choice = {**self._said("delta", ""), "finish_reason": "stop"}
        counts = {**_event(self._piece, body, []), "usage": _usage(count)}
        return [_event(self._piece, body, [choice]), counts, "[DONE]"]

    def whole(self, body: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
        choice = {**self._said("message", "".join(words)), "finish_reason": "stop"}
        return {**_event(self._kind, body, [choice]), "usage": _usage(len(words))}


Dialect = Ollama | OpenAI


def _event(kind: str, body: dict[str, Any], choices: list[Any]) -> dict[str, Any]:
    start = {"id": "cmpl-1", "object": kind, "created": 1767225600}
    return {**start, "model": body["model"], "choices": choices}


def _usage(count: int) -> dict[str, int]:
    return {"prompt_tokens": 3, "completion_tokens": count, "total_tokens": 3 + count}


def vectors(texts: str | list[str]) -> list[list[float]]:
    """The fake's embeddings of these texts."""
    return [[float(len(t)), 0.5] for t in ([texts] if isinstance(texts, str) else texts)]


def _ollama_vectors(body: dict[str, Any]) -> dict[str, Any]:
    reply = {"model": body["model"], "embeddings": vectors(body["input"])}
    return {**reply, "total_duration": 5000, "load_duration": 1000, "prompt_eval_count": 3}


def _openai_vectors(body: dict[str, Any]) -> dict[str, Any]:
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors(body["input"]))
    ]
    return {"object": "list", "model": body["model"], "data": data, "usage": _usage(0)}


def listings(models: Sequence[str], loaded: Sequence[str]) -> dict[str, Any]:
    """The list responses of a server with these models, by path."""
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "fake"} for name in models]
    return {
        "/api/tags": _ollama_list(models),
        "/api/ps": _ollama_list(loaded),
        "/v1/models": {"object": "list", "data": data},
    }


def _ollama_list(names: Sequence[str]) -> dict[str, Any]:
    full = [name if ":" in name else f"{name}:latest" for name in names]
    return {"models": [{"name": name, "model": name, "digest": f"of {name}"} for name in full]}


DIALECTS: dict[str, Dialect] = {
    "/api/chat": Ollama(lambda text: {"message": {"role": "assistant", "content": text}}),
    "/api/generate": Ollama(lambda text: {"response": text}),
    "/v1/chat/completions": OpenAI(
        "chat.completion",
        "chat.completion.chunk",
        lambda where, text: {"index": 0, where: {"content": text}},
    ),
    "/v1/completions": OpenAI(
        "text_completion", "text_completion", lambda _, text: {"index": 0, "text": text}
    ),
}
VECTORS = {"/api/embed": _ollama_vectors, "/v1/embeddings": _openai_vectors}
MODELS = ("m", "smollm2", "qwen3", "nomic-embed-text")
FACTS: dict[str, Any] = {"/api/version": {"version": "0.9.3"}, **listings(MODELS, ["m"])}
