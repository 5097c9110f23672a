"""Runs tasks on an OpenAI-compatible server (llama.cpp, vLLM, …); replies read as Ollama's."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from ..base.cooperation import cooperatively
from ..core.model.model_names import model_name, spellings
from ..core.model.outcomes import Answered, Failed, ProbeResult, Verdict
from ..core.model.tasks import Dialect, Spec, TaskType
from ..core.openai.translation import EFFORT, PREFER_THINK, Untranslatable, request_of
from ..core.text.plain_pieces import EVENT, plain
from .failures import CallFailed, NotServed
from .http_executor import GetPath, HttpExecutor, OnChunk, count_in, lines
from .lenient_json import SurrogateJoiner
from .openai_passthrough import pass_on
from .openai_reply import (
    DONE,
    Embeddings,
    ListedModel,
    ModelList,
    StreamedReply,
    payloads,
)
from .stream_request import STREAM, streamed

_MODELS = msgspec.json.Decoder(ModelList | list[ListedModel])
_EMBEDDINGS = msgspec.json.Decoder(Embeddings)
_VECTOR = msgspec.json.Decoder(list[float])


class OpenAIExecutor(HttpExecutor):
    """Translates Ollama's dialect both ways; refuses, unsent, what has no counterpart."""

    def read_probe(self, get: GetPath) -> ProbeResult:
        try:
            answer = self.parse(_MODELS, get("/models"))
        except NotServed:  # not every compatible server lists its models
            return ProbeResult()
        if isinstance(answer, ModelList):
            self.check(answer.error)
            answer = answer.data or []
        names = [model.id for model in answer]
        return ProbeResult(models=frozenset(map(model_name, names)), spelled=spellings(names))

    def reply(
        self, kind: TaskType, model: str, spec: Spec, on_chunk: OnChunk, without: frozenset[str]
    ) -> Answered:
        if spec.dialect is not Dialect.OLLAMA:
            return pass_on(self, "", kind, model, spec, on_chunk, without)
        try:
            path, body = request_of(kind, model, spec)
        except Untranslatable as error:
            raise CallFailed(Failed(str(error), Verdict.FINAL)) from error
        started = time.monotonic_ns()
        if kind is TaskType.EMBED:
            with self.post(path, body) as pieces:
                embeddings = self._embeddings(body, pieces)
            return answered(embeddings.as_ollama(model, time.monotonic_ns() - started), None)
        wishes = (EFFORT,) if PREFER_THINK in spec.payload else ()
        with streamed(self, path, body, without, wishes=wishes) as (pieces, left):
            reply = self._read(StreamedReply(kind, model), pieces, on_chunk, STREAM in left)
        ending, whole = self._ended(reply, time.monotonic_ns() - started)
        for line in ending:
            on_chunk(msgspec.json.encode(line))
        return replace(answered(whole, reply.spoken_s), without=left)

    def _embeddings(self, body: dict[str, Any], pieces: Iterator[bytes]) -> Embeddings:
        embeddings = self.parse_numbers(_EMBEDDINGS, self.reply_of_vectors(pieces))
        self.check(self.part(embeddings.error))
        sizes = [
            len(self.parse(_VECTOR, bytes(one.embedding)))
            for one in cooperatively(embeddings.data or (), self.yield_control)
        ]
        count = 1 if isinstance(body["input"], str) else len(body["input"])
        if len(sizes) != count:
            raise self.failed(f"sent {len(sizes)} embeddings instead of {count}", Verdict.RETRY)
        if not all(sizes):
            raise self.failed("sent an empty embedding", Verdict.RETRY)
        size = body.get("dimensions")
        wrong = {*sizes} - {size}
        if size is not None and wrong:
            message = f"sent embeddings of {max(wrong)} dimensions instead of {size}"
            raise self.failed(message, Verdict.FINAL)
        return embeddings

    def _read(
        self, reply: StreamedReply, pieces: Iterator[bytes], on_chunk: OnChunk, is_whole: bool
    ) -> StreamedReply:
        halves = SurrogateJoiner()
        for data in payloads(lines(pieces, self.yield_control)):
            if data == DONE and not reply.has_begun:
                raise self.failed("sent no reply before [DONE]", Verdict.RETRY)
            if data == DONE:
                return reply
            raw = None
            plain_event = None if halves.waiting else plain(EVENT, data)
            if plain_event is not None:
                raw = reply.take_plain(plain_event, _now(), time.monotonic())
            else:
                event = self.decode(data, halves)
                if event.get("object") == "error":  # vLLM's form, without an `error` field
                    self.check(event)
                line = reply.take(event, _now(), time.monotonic())
                raw = None if line is None else msgspec.json.encode(line)
            if raw is not None:
                on_chunk(raw)
        if not reply.is_finished and not (is_whole and reply.has_begun):
            raise self.failed("ended its reply too early, without [DONE]", Verdict.CUT)
        return reply

    def _ended(
        self, reply: StreamedReply, duration_ns: int
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        try:
            return reply.ending(_now(), duration_ns)
        except (ValueError, RecursionError) as error:
            message = f"sent a tool call whose arguments are not JSON: {error}"
            raise self.failed(message, Verdict.RETRY) from error


def answered(whole: dict[str, Any], reply_s: float | None) -> Answered:
    return Answered(
        msgspec.json.encode(whole),
        prompt_tokens=count_in(whole, "prompt_eval_count"),
        reply_tokens=count_in(whole, "eval_count"),
        reply_s=reply_s,
    )


def _now() -> datetime:
    return datetime.now(UTC)
