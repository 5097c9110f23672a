"""Runs tasks on an OpenAI-compatible server (llama.cpp, vLLM, …); replies read as Ollama's."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from ollama_queue.actors.core.outcomes import Failed, Verdict
from ollama_queue.actors.core.records import Spec, TaskType
from ollama_queue.actors.executors.calls import HttpExecutor, OnChunk, lines
from ollama_queue.actors.executors.failures import CallFailed
from ollama_queue.actors.executors.openai_reply import (
    DONE,
    Embeddings,
    StreamedReply,
    payloads,
)
from ollama_queue.actors.executors.translation import Untranslatable, request_of

_EMBEDDINGS = msgspec.json.Decoder(Embeddings)


class OpenAIExecutor(HttpExecutor):
    """Translates both ways; what has no counterpart is refused before anything is sent."""

    PROBE_PATH = "/models"
    PROBE_IS_OPTIONAL = True  # not every compatible server lists its models

    def reply(self, kind: TaskType, model: str, spec: Spec, on_chunk: OnChunk) -> bytes:
        try:
            path, body = request_of(kind, model, spec)
        except Untranslatable as error:
            raise CallFailed(Failed(str(error), Verdict.FINAL)) from error
        started = time.monotonic_ns()
        with self.post(path, body) as pieces:
            if kind is TaskType.EMBED:
                return self._embeddings(model, b"".join(pieces))
            reply = self._streamed(StreamedReply(kind, model), pieces, on_chunk)
        last, whole = self._ended(reply, time.monotonic_ns() - started)
        on_chunk(last)
        return msgspec.json.encode(whole)

    def _embeddings(self, model: str, answer: bytes) -> bytes:
        embeddings = self.parse(_EMBEDDINGS, answer)
        self.check(embeddings.error)
        if embeddings.data is None:
            raise self.failed("sent no embeddings", Verdict.RETRY)
        return msgspec.json.encode(embeddings.as_ollama(model))

    def _streamed(
        self, reply: StreamedReply, pieces: Iterator[bytes], on_chunk: OnChunk
    ) -> StreamedReply:
        for data in payloads(lines(pieces)):
            if data == DONE:
                return reply
            line = reply.take(self.decode(data), _now())
            if line is not None:
                on_chunk(line)
        if not reply.is_finished:
            raise self.failed("ended its reply too early, without [DONE]", Verdict.RETRY)
        return reply

    def _ended(
        self, reply: StreamedReply, duration_ns: int
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        try:
            return reply.last(_now(), duration_ns)
        except (ValueError, RecursionError) as error:
            words = f"sent a tool call whose arguments are not JSON: {error}"
            raise self.failed(words, Verdict.RETRY) from error


def _now() -> datetime:
    return datetime.now(UTC)
