"""Turns what a user wrote into a checked `NewTask`: full form, flat form, and functions."""

import re
from collections.abc import Generator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Unpack, cast

import msgspec
from msgspec.structs import replace

from ..activity.tracing import TraceContext, read_parent, read_state
from ..messages import Submit
from ..model import limits
from ..model.errors import Invalid
from ..model.ids import canonical, digest, key_digest
from ..model.model_names import RUNNER_OPTIONS, fallback_fault
from ..model.tasks import Dialect, NewTask, Priority, Spec, Task, TaskType
from ..openai.translation import untranslatable
from ..responses.request import chat_request
from ..text.strict_json import checking_written, too_deep
from ..webhooks.targets import target_fault
from . import arguments
from .arguments import AnyTask
from .task_fields import ChatFields, EmbedFields, GenerateFields

# The fields of Ollama's endpoints other than model and options. In the flat form they may be at the
# top of a task; inside `payload` any field passes through, so that a field that Ollama adds
# tomorrow needs no release of ours.
_SHARED = ("keep_alive", "truncate", "shift")
_TALK = (
    *_SHARED,
    *("stream", "format", "think", "prefer_think", "system", "logprobs", "top_logprobs"),
)
PAYLOAD_FIELDS = {
    TaskType.CHAT: frozenset((*_TALK, "messages", "tools", "tool_choice")),
    TaskType.GENERATE: frozenset(
        (*_TALK, "prompt", "suffix", "template", "context", "raw", "images")
    ),
    TaskType.EMBED: frozenset((*_SHARED, "input", "dimensions")),
}
PAUSE_BYTES = 16 << 10  # a smaller task is checked without pauses
_REQUIRED = {TaskType.CHAT: "messages", TaskType.GENERATE: "prompt", TaskType.EMBED: "input"}
_NAMED = {kind: f"{'an' if kind is TaskType.EMBED else 'a'} {kind} task" for kind in TaskType}
_TYPES = ", ".join(TaskType)
_KINDS: dict[str, TaskType] = {kind.value: kind for kind in TaskType}
_MOST_ELEMENTS = 16  # before a prompt
_OPENING = re.compile(r"\s{0,8}<([\w-]{1,64})>")
_NAMES = {level.name.lower(): int(level) for level in Priority}
_TASK_FIELDS = frozenset(NewTask.__struct_fields__)
# Clients send back complete tasks (the original's Go client always does): fields that the queue
# sets are ignored. As in Go, null is an empty list or object.
_SET_BY_QUEUE = frozenset(Task.__struct_fields__) - _TASK_FIELDS
_EMPTY_IF_NULL = ("options", "metadata", "tags")
_SPLIT = ("type", "payload")


def chat_task(
    model: str, messages: Sequence[Mapping[str, Any]], **fields: Unpack[ChatFields]
) -> NewTask:
    """Make a chat task. Any task accepts `priority` (`low normal high critical`, or 1 to 15),
    `options`, `max_retries`, `timeout_s` (seconds per attempt), `scheduled_at`, `deadline` (a time
    after which it fails if it has not ended), `start_within` (seconds within which it must start),
    `backend`, `remote_execution`, `tenant`, `tags`, `metadata`, `keep_alive`, `truncate`, `shift`;
    chat and completion `fallback_models`, `system`, `format`, `think`, `prefer_think`, `stream`,
    `logprobs`, `top_logprobs`; chat `tools` and `tool_choice`. With `prefer_think`, a model that
    cannot think answers without; `tool_choice` is OpenAI's, and not known to Ollama.

    Raises `Invalid`, naming the field.
    """
    return new_task({"type": "chat", "model": model, "messages": list(messages), **fields})


def generate_task(model: str, prompt: str, **fields: Unpack[GenerateFields]) -> NewTask:
    """Make a completion task. `fields` are those of `chat_task` but those for tools, and `suffix`,
    `template`, `context`, `raw`, `images`. Raises `Invalid`, naming the field."""
    return new_task({"type": "generate", "model": model, "prompt": prompt, **fields})


def embed_task(model: str, input: str | Sequence[str], **fields: Unpack[EmbedFields]) -> NewTask:
    """Make an embedding task. `fields` are those of `chat_task` that any task accepts, and
    `dimensions`. Raises `Invalid`, naming the field."""
    value = input if isinstance(input, str) else list(input)
    return new_task({"type": "embed", "model": model, "input": value, **fields})


def draft(new: AnyTask, idempotency_key: str | None = None, *, listed: bool = False) -> Submit:
    """Run `drafting` without pauses."""
    steps = drafting(new, idempotency_key, listed=listed)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast(Submit, end.value)


def drafting(
    new: AnyTask,
    idempotency_key: str | None = None,
    *,
    listed: bool = False,
    trace: TraceContext | None = None,
) -> Generator[None, None, Submit]:
    """Check a task again, however it was made, and encode it for the scheduler. A large task takes
    a while: it pauses between steps.

    `trace` is that of the request, for a task without its own. Also determines whether only Ollama
    can run it, whatever the backends: others may be added. Raises `Invalid`, also for what JSON
    cannot represent (NaN, lone surrogates) or for too deep nesting.
    """
    idempotency_key = arguments.key(idempotency_key)
    with arguments.reading("new"):
        task = arguments.task(new)
        facts = msgspec.structs.asdict(task) if isinstance(task, NewTask) else task
        new = new_task(facts)
    if trace is not None and new.traceparent is None:
        new = replace(new, traceparent=trace.traceparent, tracestate=trace.tracestate)
    try:
        spec = encode_spec(new)
        is_large = len(spec) > PAUSE_BYTES
        if is_large:
            yield
        parts = {"payload": new.payload, "options": new.options, "metadata": new.metadata}
        yield from checking_written(spec, parts)
        if is_large:
            yield
        msgspec.msgpack.encode((new.model, new.tenant, new.tags))
        only = for_ollama_only(new)
        if idempotency_key is None:
            return Submit(new, spec, ollama_only=only, listed=listed)
        written = canonical(new)
        if is_large:
            yield
        key, body = key_digest(new.tenant, idempotency_key), digest(written)
        return Submit(new, spec, key, body, ollama_only=only, listed=listed)
    except RecursionError:
        raise too_deep("the task", "payload") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise Invalid(f"the task cannot be written as JSON: {error}", field="payload") from None


def encode_spec(new: NewTask) -> bytes:
    return msgspec.json.encode(
        Spec(new.payload, new.options, new.metadata, new.dialect, new.tracestate)
    )


def for_ollama_only(new: NewTask) -> tuple[str, str] | None:
    """The field that only Ollama supports, and why; None if any server can run the task."""
    refused = untranslatable(new) if new.dialect is Dialect.OLLAMA else None
    return None if refused is None else (refused.field, str(refused))


def new_task(raw: Any) -> NewTask:
    """Check a task from JSON or a caller, in full or flat form.

    Raises `Invalid` with one sentence that names the field and says what is expected.
    """
    check_object(raw)
    kind = _task_type(raw)
    if "model" not in raw:
        raise Invalid("model is missing: name a model, such as qwen3", field="model")
    payload, rest = _payload(kind, raw)
    rest["priority"] = parse_priority(rest.get("priority", Priority.NORMAL))
    _times(rest)
    try:
        task = msgspec.convert({**rest, "type": kind, "payload": payload}, NewTask)
    except msgspec.ValidationError as error:
        raise _named(error) from None
    except (UnicodeError, RecursionError, OverflowError) as error:
        raise Invalid(f"the task cannot be written as JSON: {error}", field="task") from None
    _check(task)
    return task


def check_object(raw: Any) -> None:
    """Raise `Invalid` for JSON that is not an object."""
    if type(raw) is not dict and not isinstance(raw, Mapping):  # the latter takes a while
        raise Invalid("a task must be a JSON object", field="task")


def own_key(raw: Any) -> str | None:
    """The `id` that a client gave its task: its idempotency key, unless it sends another."""
    own = raw.get("id") if isinstance(raw, Mapping) else None
    return own if isinstance(own, str) and own else None


def parse_priority(value: object) -> int:
    """Parse a level's name, or a whole number from 1 to 15. Raises `Invalid`."""
    if isinstance(value, str):
        digits = str.__str__(value).strip()
        named = _NAMES.get(digits.lower())
        if named is not None:
            return named
        value = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 3 else value
    if isinstance(value, int) and not isinstance(value, bool):
        value = int.__index__(value)
        if 1 <= value <= 15:
            return value
    raise Invalid(
        "priority must be low, normal, high, critical or a whole number from 1 to 15",
        field="priority",
    )


def parse_time(value: object, field: str) -> datetime:
    """Parse an RFC 3339 time with a zone, as UTC. Raises `Invalid`."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC)
    except Exception:  # out of range, or whatever a foreign tzinfo raises
        pass
    raise Invalid(f"{field} must be a time with a zone, such as 2026-12-25T10:00:00Z", field=field)


def parse_seconds(value: float | None, field: str, most: float = limits.TIMEOUT_S) -> float:
    """Check for seconds above 0, at most `most`. Raises `Invalid`."""
    if value is None or not 0 < value <= most:
        days = f"{most:.0f} ({most / 86400:.0f} days)"
        raise Invalid(f"{field} must be seconds above 0, at most {days}", field=field)
    return value


def title_of(task: NewTask) -> str:
    """The first 120 characters of the prompt, on one line."""
    payload = task.payload
    is_response = task.dialect is Dialect.RESPONSES
    prompt: Any = payload.get("input" if is_response else _REQUIRED[task.type], "")
    if task.type is TaskType.CHAT and not isinstance(prompt, str):
        user_messages = [message for message in prompt if _of(message, "role") == "user"] or prompt
        prompt = _of(user_messages[-1], "content")
    if type(prompt) is list and prompt:
        prompt = prompt[0]
    if isinstance(prompt, dict):  # a part of a message in OpenAI's form
        prompt = _of(prompt, "text")
    if type(prompt) is not str:
        return ""
    if prompt.startswith("<"):
        prompt = _behind_elements(prompt)
    title = " ".join(prompt[:160].split())
    if len(title) < limits.TITLE and len(prompt) > 160:  # many blanks
        title = " ".join(prompt[:480].split())
    return title[: limits.TITLE]


def _behind_elements(prompt: str) -> str:
    """What follows the XML elements at the start of a prompt, such as reminders and documents: the
    question. The prompt itself if nothing does."""
    start = 0
    for _ in range(_MOST_ELEMENTS):
        opening = _OPENING.match(prompt, start)
        closing = f"</{opening[1]}>" if opening else ""
        end = prompt.find(closing, opening.end()) if opening else -1
        if end < 0:
            break
        start = end + len(closing)
    rest = prompt[start : start + 480]
    return rest if rest.strip() else prompt


def _of(message: Any, name: str) -> Any:
    """A text, list or dict in a message. Actors call this: it runs no code of callers' classes."""
    value = dict.get(message, name) if isinstance(message, dict) else None
    return value if type(value) in (str, list, dict) else None


def _task_type(raw: Mapping[str, Any]) -> TaskType:
    if "type" not in raw:
        raise Invalid(f"type is missing: it must be one of {_TYPES}", field="type")
    named = raw["type"]
    kind = _KINDS.get(named) if isinstance(named, str) else None
    if kind is None:
        raise Invalid(f"type must be one of {_TYPES}", field="type")
    return kind


def _payload(kind: TaskType, raw: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a task into payload and other fields; in the flat form both are at the top."""
    payload: dict[str, Any] = {}
    if "payload" in raw:
        if not isinstance(raw["payload"], Mapping):
            raise Invalid("payload must be an object", field="payload")
        payload = dict(raw["payload"])
    rest: dict[str, Any] = {}
    for name, value in raw.items():
        if name in _TASK_FIELDS:
            if name not in _SPLIT and not (value is None and name in _EMPTY_IF_NULL):
                rest[name] = value
        elif name in _SET_BY_QUEUE:
            continue
        elif name not in PAYLOAD_FIELDS[kind]:
            raise Invalid(f"{name} is not a field of {_NAMED[kind]}", field=str(name))
        elif name in payload:
            raise Invalid(f"{name} is set both inside and outside payload", field=str(name))
        else:
            payload[name] = value
    return payload, rest


def _times(rest: dict[str, Any]) -> None:
    for name in ("scheduled_at", "deadline"):
        if rest.get(name) is not None:
            rest[name] = parse_time(rest[name], name)


def _check(task: NewTask) -> None:
    if not task.model.strip():
        raise Invalid("model must name a model, such as qwen3", field="model")
    if task.max_retries is not None and not 0 <= task.max_retries <= 100:
        raise Invalid("max_retries must be a whole number from 0 to 100", field="max_retries")
    if task.timeout_s is not None:
        parse_seconds(task.timeout_s, "timeout_s")
    if task.start_within is not None:
        parse_seconds(task.start_within, "start_within", limits.START_WITHIN_S)
    if task.deadline and task.scheduled_at and task.deadline <= task.scheduled_at:
        raise Invalid("deadline must be later than scheduled_at", field="deadline")
    if task.backend is not None and not task.backend.removeprefix("tag:").strip():
        raise Invalid("backend must be a backend's name, or tag:NAME", field="backend")
    if task.traceparent is not None or task.tracestate is not None:
        _check_trace(task)
    if task.fallback_models:
        check_fallbacks(task.type, task.model, task.fallback_models)
    if task.callback_url is not None:
        wanted = target_fault(task.callback_url)
        if wanted is not None:
            raise Invalid(f"callback_url must be {wanted}", field="callback_url")
    _check_sizes(task)
    if task.dialect is not Dialect.OLLAMA and task.options:
        raise Invalid("options must be empty: in OpenAI's dialect payload has all", field="options")
    if task.dialect is Dialect.RESPONSES:
        if task.type is not TaskType.CHAT:
            raise Invalid("type must be chat in the dialect responses", field="type")
        chat_request(task.payload)
        return
    required = _REQUIRED[task.type]
    if required not in task.payload:
        raise Invalid(f"{required} is missing: {_NAMED[task.type]} needs it", field=required)
    if task.dialect is Dialect.OLLAMA or task.type is TaskType.CHAT:
        _CHECKS[task.type](task.payload[required])
    else:
        _check_texts_or_tokens(required, task.payload[required])


def _check_sizes(task: NewTask) -> None:
    """Check all but the payload, which the limit of bodies bounds: lists and events repeat them."""
    limits.check_text(task.model, "model")
    if task.tenant:
        limits.check_text(task.tenant, "tenant")
    if task.backend:
        limits.check_text(task.backend, "backend")
    if task.tags:
        limits.check_texts(task.tags, "tags", limits.TAGS, limits.TAG)
    if task.metadata:
        limits.check_size(task.metadata, "metadata", limits.METADATA)
    for options in (task.options, task.payload.get("options")):
        if options and isinstance(options, Mapping):
            for name in options.keys() & RUNNER_OPTIONS:
                limits.check_size(options[name], f"options.{name}", limits.OPTION)


def check_fallbacks(kind: TaskType, model: str, fallbacks: Sequence[str]) -> None:
    """Raise `Invalid` if models may not stand in for the one of a task."""
    field = "fallback_models"
    if kind is TaskType.EMBED:
        why = "vectors of different models cannot be compared"
        raise Invalid(f"{field} must be empty for an embed task: {why}", field=field)
    fault = fallback_fault(model, fallbacks)
    if fault is not None:
        index, wanted = fault
        field = field if index is None else f"{field}[{index}]"
        raise Invalid(f"{field} must be {wanted}", field=field)


def _check_messages(messages: object) -> None:
    if not isinstance(messages, list) or not messages:
        raise Invalid("messages must be a list of at least one message", field="messages")
    for index, message in enumerate(messages):
        is_object = type(message) is dict or isinstance(message, Mapping)
        if not is_object or not isinstance(message.get("role"), str):
            raise Invalid(
                f"messages[{index}] must be an object with a role and a content",
                field=f"messages[{index}]",
            )


def _check_prompt(prompt: object) -> None:
    if not isinstance(prompt, str):
        raise Invalid("prompt must be a string", field="prompt")


def _check_input(value: object) -> None:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise Invalid("input must be a string or a list of at least one string", field="input")


def _check_texts_or_tokens(name: str, value: object) -> None:
    if not isinstance(value, str) and not (isinstance(value, list) and value):
        raise Invalid(f"{name} must be a string, or a list of strings or tokens", field=name)


_CHECKS = {
    TaskType.CHAT: _check_messages,
    TaskType.GENERATE: _check_prompt,
    TaskType.EMBED: _check_input,
}


def _named(error: msgspec.ValidationError) -> Invalid:
    """Turn msgspec's `Expected int, got str - at $.a.b` into `a.b: Expected int, got str`."""
    what, _, where = str(error).partition(" - at `")
    path = where.rpartition("$.")[2].rstrip("`")
    if path:
        return Invalid(f"{path}: {what[0].lower()}{what[1:]}", field=path)
    return Invalid(f"the task is wrong: {what[0].lower()}{what[1:]}", field="task")


def _check_trace(task: NewTask) -> None:
    """A header that is not valid is ignored, but a field is what somebody wrote."""
    if task.traceparent is None or read_parent(task.traceparent) != task.traceparent:
        raise Invalid(
            "traceparent must be as in 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            field="traceparent",
        )
    if task.tracestate is not None and read_state(task.tracestate) != task.tracestate:
        raise Invalid("tracestate must be a list of key=value, 512 characters", field="tracestate")
