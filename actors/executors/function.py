"""Runs tasks on a function in place of a model server, for users' tests."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Struct

from ..core.activity.tracing import TraceContext
from ..core.model.errors import Invalid, cut
from ..core.model.limits import ERROR
from ..core.model.outcomes import (
    BackendReply,
    Failed,
    Outcome,
    ProbeResult,
    Stopped,
    Verdict,
)
from ..core.model.tasks import Dialect, Spec, TaskType, Upstream
from .ollama import ChatAssembly, GenerateAssembly, answered


class ModelCall(Struct, frozen=True):
    """What one attempt of a task asks of a model.

    `payload` has the fields given to `chat_task`, `generate_task` or `embed_task`, such as
    `messages`, `prompt` or `input`, `format` and `tools`; `options` and `metadata` are the task's.
    """

    type: TaskType
    model: str
    payload: dict[str, Any] = {}
    options: dict[str, Any] = {}
    metadata: dict[str, Any] = {}

    @property
    def prompt(self) -> str:
        """The text to answer: the prompt, a chat's last message, or the first text to embed."""
        match self.type:
            case TaskType.CHAT:
                messages = self.payload.get("messages") or [{}]
                content = messages[-1].get("content")
            case TaskType.GENERATE:
                content = self.payload.get("prompt")
            case TaskType.EMBED:
                content = self.payload.get("input")
                content = content[0] if isinstance(content, list) and content else content
        return content if isinstance(content, str) else ""


OneVector = Annotated[list[float], msgspec.Meta(min_length=1)]
SeveralVectors = Annotated[list[OneVector], msgspec.Meta(min_length=1)]

Answer = str | Iterable[str] | Mapping[str, Any] | Sequence[float] | Sequence[Sequence[float]]
"""What a function may return: text, pieces of text, a complete reply in Ollama's form, vectors."""

AnswerFunction = Callable[[ModelCall], Answer]


class FunctionExecutor:
    """An `Executor` over a function, which can be abandoned but not interrupted."""

    def __init__(self, function: AnswerFunction) -> None:
        self._function = function
        self._left_with: Outcome | None = None

    def begin(self, is_followed: Callable[[], bool] = lambda: True) -> None:
        self._left_with = None

    def abort(self, failure: str | None = None) -> Outcome:
        if self._left_with is None:
            self._left_with = Stopped() if failure is None else Failed(failure, Verdict.RETRY)
        return self._left_with

    def trace(self, context: TraceContext) -> None:
        """Nothing: a function is called in this process."""

    def run(
        self,
        kind: TaskType,
        model: str,
        spec: Spec,
        on_chunk: Callable[[bytes], None],
        without: frozenset[str] = frozenset(),
    ) -> Outcome:
        call = ModelCall(kind, model, spec.payload, spec.options, spec.metadata)
        try:
            return self._left_with or self._call(call, spec.dialect, on_chunk)
        except Invalid as error:
            return _failed(error, Verdict.FINAL)
        except Exception as error:
            return _failed(error, Verdict.RETRY)
        except BaseException as error:  # such as a test that exits: retrying would not help
            return _failed(error, Verdict.FINAL)

    def _call(
        self, call: ModelCall, dialect: Dialect, on_chunk: Callable[[bytes], None]
    ) -> Outcome:
        for event in _events_of(call, dialect, self._function(call)):
            if self._left_with is not None:
                return self._left_with
            if not isinstance(event, bytes):
                return event
            on_chunk(event)
        raise AssertionError("an outcome comes last")

    def probe(self) -> ProbeResult:
        return ProbeResult(version="function")

    def request(self, path: str, body: Mapping[str, Any] | None, limit_s: float) -> BackendReply:
        return Failed("an InMemoryQueue has no model server", Verdict.FINAL, status=404)

    def close(self) -> None:
        pass


def _failed(error: BaseException, verdict: Verdict) -> Failed:
    message = cut(str(error) or type(error).__name__, ERROR)
    return Failed(message, verdict, upstream=Upstream(message))


def _events_of(call: ModelCall, dialect: Dialect, answer: Any) -> Iterator[bytes | Outcome]:
    """Turn a function's return value into the lines a model server would send, and the outcome.

    Raises `Invalid`.
    """
    if isinstance(answer, Mapping):
        reply = dict(answer)
        result = _encoded(reply)
        if call.type is not TaskType.EMBED:
            yield result
        yield answered(result, reply)
    elif dialect is not Dialect.OLLAMA:
        raise Invalid("for a task in OpenAI's dialect the function must return the whole reply")
    elif call.type is TaskType.EMBED:
        reply = {"model": call.model, "embeddings": _vectors(answer)}
        yield answered(_encoded(reply), reply)
    else:
        yield from _said(call, answer)


def _encoded(reply: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(reply)
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"the function must return valid JSON data: {error}") from None


def _vectors(answer: Any) -> list[list[float]]:
    try:
        return msgspec.convert(answer, SeveralVectors)
    except msgspec.ValidationError:
        pass
    try:
        return [msgspec.convert(answer, OneVector)]
    except msgspec.ValidationError:
        raise Invalid(
            f"for an embed task the function must return numbers, not {_kind(answer)}"
        ) from None


def _said(call: ModelCall, answer: Any) -> Iterator[bytes | Outcome]:
    if not isinstance(answer, Iterable):
        raise Invalid(f"the function must return text, not {_kind(answer)}")
    assembly = ChatAssembly() if call.type is TaskType.CHAT else GenerateAssembly()
    count = 0
    for piece in [answer] if isinstance(answer, str) else answer:
        if not isinstance(piece, str):
            raise Invalid(f"the function must return text, not {_kind(piece)}")
        count += 1
        line = _line(call, piece)
        assembly.take(line)
        yield msgspec.json.encode(line)
    last = {**_line(call, ""), "done": True, "done_reason": "stop", "eval_count": count}
    assembly.take(last)
    yield msgspec.json.encode(last)
    yield answered(msgspec.json.encode(assembly.whole(last)), last)


def _line(call: ModelCall, words: str) -> dict[str, Any]:
    """A line of a stream."""
    text: dict[str, Any] = {"response": words}
    if call.type is TaskType.CHAT:
        text = {"message": {"role": "assistant", "content": words}}
    created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {"model": call.model, "created_at": created, **text, "done": False}


def _kind(value: object) -> str:
    return type(value).__name__
