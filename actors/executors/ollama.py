"""Runs tasks on an Ollama server, in Ollama's own dialect or in OpenAI's."""

import contextlib
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from ..core.model.model_names import model_name, spellings
from ..core.model.outcomes import Answered, Failed, ProbeResult, Verdict
from ..core.model.tasks import Dialect, Spec, TaskType
from ..core.openai.translation import PREFER_THINK
from ..core.text.plain_pieces import CHAT_LINE, GENERATE_LINE, plain
from .failures import CallFailed
from .http_executor import (
    GetPath,
    HttpExecutor,
    OnChunk,
    count_in,
    lines,
    list_in,
    object_in,
    text_in,
)
from .lenient_json import SurrogateJoiner
from .openai_passthrough import pass_on
from .stream_request import THINK, wishing

_PATHS = {
    TaskType.CHAT: "/api/chat",
    TaskType.GENERATE: "/api/generate",
    TaskType.EMBED: "/api/embed",
}


class Listed(msgspec.Struct):
    name: str
    digest: str = ""


class Listing(msgspec.Struct):
    """The answer of /api/tags and /api/ps; a list without entries may be null.

    Without a list, the server only imitates Ollama, and its models are unknown.
    """

    models: list[Listed] | msgspec.UnsetType | None = msgspec.UNSET

    @property
    def names(self) -> frozenset[str]:
        return frozenset(model_name(listed.name) for listed in self.models or ())

    @property
    def says(self) -> bool:
        return self.models is not msgspec.UNSET

    def other_names(self, loaded: "Listing") -> frozenset[str]:
        """Other names of loaded models: /api/ps lists copies of a model under one name only."""
        digests = {listed.digest for listed in loaded.models or ()} - {""}
        copies = (listed for listed in self.models or () if listed.digest in digests)
        return frozenset(model_name(listed.name) for listed in copies)


_LISTING = msgspec.json.Decoder(Listing)


class OllamaExecutor(HttpExecutor):
    """Always streams chat and generate: only then can a call be followed and aborted."""

    def read_probe(self, get: GetPath) -> ProbeResult:
        listing = self.parse(_LISTING, get("/api/tags"))
        # Old versions, and servers that imitate Ollama, may lack the other two.
        loaded, version = Listing(), ""
        with contextlib.suppress(CallFailed, httpx.TransportError):
            loaded = self.parse(_LISTING, get("/api/ps"))
        with contextlib.suppress(CallFailed, httpx.TransportError):
            version = text_in(self.decode(get("/api/version")), "version")
        in_memory = loaded.names | listing.other_names(loaded)
        models = listing.names if listing.says else None
        names = (listed.name.removesuffix(":latest") for listed in listing.models or ())
        spelled = spellings(names)
        return ProbeResult(
            version=version or None, models=models, loaded=in_memory, spelled=spelled
        )

    def reply(
        self, kind: TaskType, model: str, spec: Spec, on_chunk: OnChunk, without: frozenset[str]
    ) -> Answered:
        if spec.dialect is not Dialect.OLLAMA:
            return pass_on(self, "/v1", kind, model, spec, on_chunk, without)
        body = request_body(kind, model, spec)
        wishes = (THINK,) if PREFER_THINK in spec.payload else ()
        with wishing(self, _PATHS[kind], body, without, wishes) as (pieces, left):
            if kind is TaskType.EMBED:
                whole = self.reply_of_vectors(pieces)
                if self.holds(whole, b"[[]", b",[]", b", []"):
                    raise self.failed("sent an empty embedding", Verdict.RETRY)
                return answered(whole, self.skim(whole))
            assembly = ChatAssembly() if kind is TaskType.CHAT else GenerateAssembly()
            halves = SurrogateJoiner()
            for line in lines(pieces, self.yield_control):
                if not halves.waiting and assembly.take_plain(line):
                    on_chunk(line)
                    continue
                chunk = self.decode(line, halves)
                assembly.take(chunk)
                on_chunk(msgspec.json.encode(chunk))
                if chunk.get("done") is True:
                    whole = msgspec.json.encode(assembly.whole(chunk))
                    return replace(answered(whole, chunk), without=left)
        raise self.failed("ended its reply too early, without done: true", Verdict.CUT)


def answered(reply: bytes, end: dict[str, Any]) -> Answered:
    """The outcome, with the figures that Ollama adds to the end of a reply (in nanoseconds)."""
    return Answered(
        reply,
        prompt_tokens=count_in(end, "prompt_eval_count"),
        reply_tokens=count_in(end, "eval_count"),
        reply_s=count_in(end, "eval_duration") / 1e9 or None,
        load_s=count_in(end, "load_duration") / 1e9 or None,
    )


def request_body(kind: TaskType, model: str, spec: Spec) -> dict[str, Any]:
    """The request body: the payload as it is, plus model, options, system message and stream.

    `prefer_think` becomes `think`, which is left out of another request if the model cannot.
    """
    body = dict(spec.payload)
    options = body.pop("options", None) or {}
    if not isinstance(options, Mapping):
        raise CallFailed(Failed("payload.options must be an object", Verdict.FINAL))
    if options or spec.options:
        body["options"] = {**options, **spec.options}
    if (wish := body.pop(PREFER_THINK, None)) is not None:
        body.setdefault(THINK, wish)
    if kind is TaskType.CHAT and (system := body.pop("system", None)):
        body["messages"] = [{"role": "system", "content": system}, *body.get("messages", [])]
    body["model"] = model
    if kind is TaskType.EMBED:
        body.pop("stream", None)
    else:
        body["stream"] = True
    return body


class GenerateAssembly:
    """Joins the lines of a generate stream into the reply that Ollama sends unstreamed."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._tool_calls: list[Any] = []
        self._logprobs: list[Any] = []

    def take(self, chunk: dict[str, Any]) -> None:
        self._add(text_in(chunk, "response"), chunk)
        self._logprobs += list_in(chunk, "logprobs")

    def take_plain(self, line: bytes) -> bool:
        """Take a line with nothing but text. Returns False for any other."""
        piece = plain(GENERATE_LINE, line)
        if piece is None or piece.done:
            return False
        self._text.append(piece.response)
        if piece.thinking is not UNSET:
            self._thinking.append(piece.thinking)
        return True

    def whole(self, last: dict[str, Any]) -> dict[str, Any]:
        """The complete reply, with all fields of the last line."""
        reply = {**last, "response": "".join(self._text), **self._beside()}
        return {**reply, "logprobs": self._logprobs} if self._logprobs else reply

    def _add(self, text: str, part: dict[str, Any]) -> None:
        self._text.append(text)
        self._thinking.append(text_in(part, "thinking"))
        self._tool_calls += list_in(part, "tool_calls")

    def _beside(self) -> dict[str, Any]:
        """Thinking and tool calls, if there were any."""
        parts = {"thinking": "".join(self._thinking), "tool_calls": self._tool_calls}
        return {name: value for name, value in parts.items() if value}


class ChatAssembly(GenerateAssembly):
    """Does the same for a chat stream, whose text is in messages."""

    def __init__(self) -> None:
        super().__init__()
        self._message: dict[str, Any] = {"role": "assistant"}

    def take(self, chunk: dict[str, Any]) -> None:
        message = object_in(chunk, "message")
        self._add(text_in(message, "content"), message)
        self._message.update(message)
        self._logprobs += list_in(chunk, "logprobs")

    def take_plain(self, line: bytes) -> bool:
        piece = plain(CHAT_LINE, line)
        if piece is None or piece.done:
            return False
        message = piece.message
        self._message["role"] = message.role
        self._text.append(message.content)
        if message.thinking is not UNSET:
            self._message["thinking"] = message.thinking
            self._thinking.append(message.thinking)
        return True

    def whole(self, last: dict[str, Any]) -> dict[str, Any]:
        self._message.pop("images", None)  # an echo of the request, and large
        message = {**self._message, "content": "".join(self._text), **self._beside()}
        reply = {**last, "message": message}
        return {**reply, "logprobs": self._logprobs} if self._logprobs else reply
