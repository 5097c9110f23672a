"""Translates a task in Ollama's dialect to an OpenAI request, without guessing."""

from collections.abc import Mapping
from typing import Any

from ..model.tasks import Dialect, NewTask, Spec, TaskType
from .conversation import (
    ABSENT,
    Conversation,
    Outline,
    Untranslatable,
    refuse,
)

__all__ = ["EFFORT", "PREFER_THINK", "Untranslatable", "hints", "request_of", "untranslatable"]

# `prefer_think` is `think` for models that can, and nothing for the others.
EFFORT, PREFER_THINK = "reasoning_effort", "prefer_think"
_OWN_OPTIONS = ("temperature", "top_p", "seed", "stop", "presence_penalty", "frequency_penalty")
# Not OpenAI's, but llama.cpp and vLLM accept them.
_EXTRA_OPTIONS = ("top_k", "min_p", "typical_p", "repeat_penalty", "repeat_last_n")
SAME_OPTIONS = frozenset((*_OWN_OPTIONS, *_EXTRA_OPTIONS))
LIMIT_OPTION = "num_predict"
TAKEN_OPTIONS = SAME_OPTIONS | {LIMIT_OPTION}
# Fields that control how Ollama sends replies and keeps models loaded, not what a model answers.
DROPPED = frozenset(("keep_alive", "stream"))
# Ollama's defaults. A server cuts or refuses a prompt that is too long, so nothing else can be
# requested; a model that was not told whether to think decides itself.
DEFAULTS = {"truncate": True, "shift": True, "raw": False, "think": False, PREFER_THINK: False}
_PLAIN_FIELDS = {
    TaskType.CHAT: DROPPED | {"messages", "system"},
    TaskType.GENERATE: DROPPED | {"prompt", "system"},
    TaskType.EMBED: DROPPED | {"input"},
}
_PLAIN_MESSAGE = frozenset(("role", "content"))
EFFORTS = {True: "medium", "low": "low", "medium": "medium", "high": "high"}


def request_of(kind: TaskType, model: str, spec: Spec) -> tuple[str, dict[str, Any]]:
    """The path and body of the request. Raises `Untranslatable`."""
    path, body = _request(kind, spec.payload, spec.options, Conversation())
    return path, {"model": model, **body}


def untranslatable(new: NewTask) -> Untranslatable | None:
    """The error that `request_of` would raise for this task, found without large values."""
    if _is_plain(new):
        return None
    try:
        _request(new.type, new.payload, new.options, Outline())
    except Untranslatable as error:
        return error
    return None


def hints(new: NewTask) -> list[str]:
    """The names of what an OpenAI-compatible server is not sent: `num_ctx`, `keep_alive`.

    All options but those it supports are hints: Ollama itself ignores an unknown option.
    """
    if new.dialect is not Dialect.OLLAMA:
        return []
    inner = new.payload.get("options")
    named = {**(inner if isinstance(inner, Mapping) else {}), **new.options}
    taken = frozenset[str]() if new.type is TaskType.EMBED else TAKEN_OPTIONS
    untaken = {name: value for name, value in named.items() if name not in taken}
    if "keep_alive" in new.payload:
        untaken["keep_alive"] = new.payload["keep_alive"]
    return [name for name, value in untaken.items() if value not in ABSENT]


def _is_plain(new: NewTask) -> bool:
    """Whether all fields are known to every server: true of most tasks, so checked first."""
    if not (new.payload.keys() <= _PLAIN_FIELDS[new.type] and new.options.keys() <= SAME_OPTIONS):
        return False
    if new.type is TaskType.EMBED:
        return True
    for message in new.payload.get("messages", ()):
        if not message.keys() <= _PLAIN_MESSAGE or message["role"] == "tool":
            return False
    return True


def _request(
    kind: TaskType, payload: Mapping[str, Any], own: Mapping[str, Any], talk: Conversation
) -> tuple[str, dict[str, Any]]:
    fields = _fields(payload)
    merged_options = {**fields.pop("options", {}), **own}
    options = {name: value for name, value in merged_options.items() if value not in ABSENT}
    if kind is TaskType.EMBED:
        path, body = "/embeddings", _embed(fields)
    elif kind is TaskType.GENERATE and ("raw" in fields or "suffix" in fields):
        path, body = "/completions", {**_completion(fields), **_options(options)}
    else:
        steered = _options(options)  # before the messages, which may be many
        messages = talk.of_messages(fields) if kind is TaskType.CHAT else talk.of_prompt(fields)
        path, body = "/chat/completions", {"messages": messages, **_shared(fields), **steered}
    refuse(fields, "")
    return path, body


def _fields(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload without dropped, empty and default fields."""
    fields = {
        name: value
        for name, value in payload.items()
        if name not in DROPPED and (value not in ABSENT or name in ("prompt", "messages"))
    }
    for name, default in DEFAULTS.items():
        if fields.get(name) is default:
            del fields[name]
    if not fields.get("logprobs", True):
        del fields["logprobs"]
    if fields.get("top_logprobs") == 0:
        del fields["top_logprobs"]
    if not isinstance(fields.get("options", {}), Mapping):
        raise Untranslatable("options", ": it must be an object")
    return fields


def _embed(fields: dict[str, Any]) -> dict[str, Any]:
    body = {"input": fields.pop("input", "")}
    if "dimensions" in fields:
        body["dimensions"] = fields.pop("dimensions")
    return body


def _completion(fields: dict[str, Any]) -> dict[str, Any]:
    """A raw completion, without a chat template."""
    fields.pop("raw", None)
    body = {"prompt": fields.pop("prompt", "")}
    if "suffix" in fields:
        body["suffix"] = fields.pop("suffix")
    if fields.pop("logprobs", False):  # in completions, a count
        body["logprobs"] = _whole(fields.pop("top_logprobs", 1), "top_logprobs")
    return body


def _shared(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a chat other than its messages."""
    body: dict[str, Any] = {
        name: fields.pop(name)
        for name in ("tools", "tool_choice", "logprobs", "top_logprobs")
        if name in fields
    }
    if "format" in fields:
        body["response_format"] = _response_format(fields.pop("format"))
    for name in (PREFER_THINK, "think"):
        if name in fields:
            body[EFFORT] = _effort(fields.pop(name), name)
    return body


def _response_format(format: Any) -> dict[str, Any]:
    if format == "json":
        return {"type": "json_object"}
    if isinstance(format, Mapping):
        return {"type": "json_schema", "json_schema": {"name": "reply", "schema": format}}
    raise Untranslatable("format", ": it must be json or a schema")


def _effort(think: Any, name: str) -> str:
    """The effort for a value of `think`. A preference for the most gets what all servers know."""
    if name == PREFER_THINK and think == "max":
        return "high"
    effort = EFFORTS.get(think) if think is True or isinstance(think, str) else None
    if effort is None:
        raise Untranslatable(name, ": it must be true, false, low, medium or high")
    return effort


def _options(options: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for name, value in options.items():
        if name in SAME_OPTIONS:
            body[name] = value
        elif name == LIMIT_OPTION and _whole(value, f"options.{name}") > 0:
            body["max_tokens"] = value  # otherwise no limit, which is the default
    return body


def _whole(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Untranslatable(where, ": it must be a whole number")
    return value
