"""From a task in Ollama's dialect to a request in OpenAI's, without guessing: pure."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ollama_queue.actors.core.records import Spec, TaskType

_OWN_OPTIONS = ("temperature", "top_p", "seed", "stop", "presence_penalty", "frequency_penalty")
# Not OpenAI's, but llama.cpp and vLLM take them.
_EXTRA_OPTIONS = ("top_k", "min_p", "typical_p", "repeat_penalty", "repeat_last_n")
_SAME_OPTIONS = frozenset((*_OWN_OPTIONS, *_EXTRA_OPTIONS))
# Fields that steer how Ollama sends and keeps things in memory, not what the model answers.
_DROPPED = frozenset(("keep_alive", "stream"))
_EFFORTS = ("low", "medium", "high")
_IMAGES = {"iVBORw0KGgo": "png", "/9j/": "jpeg", "R0lGOD": "gif", "UklGR": "webp"}
# As in Ollama's own requests, an empty field is one that is not there.
_ABSENT: tuple[Any, ...] = (None, "", [], {})


class Untranslatable(ValueError):
    """A field has no counterpart; the message names it."""

    def __init__(self, field: str, why: str = "") -> None:
        super().__init__(f"{field} cannot be sent to an OpenAI-compatible server{why}")


def request_of(kind: TaskType, model: str, spec: Spec) -> tuple[str, dict[str, Any]]:
    """The path and the body of the request. Raises `Untranslatable`."""
    fields = _fields(spec.payload)
    options = {**(fields.pop("options", None) or {}), **spec.options}
    if kind is TaskType.EMBED:
        path, body = "/embeddings", _embed(fields)
        _refuse(options, "options.")
    elif kind is TaskType.GENERATE and ("raw" in fields or "suffix" in fields):
        path, body = "/completions", {**_completion(fields), **_options(options)}
    else:
        ask = _chat_messages(fields) if kind is TaskType.CHAT else _prompt_messages(fields)
        path, body = "/chat/completions", {"messages": ask, **_shared(fields), **_options(options)}
    _refuse(fields, "")
    if kind is not TaskType.EMBED:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return path, {"model": model, **body}


def _fields(payload: Mapping[str, Any]) -> dict[str, Any]:
    """What of the payload means something."""
    fields = {
        name: value
        for name, value in payload.items()
        if name not in _DROPPED and (value not in _ABSENT or name in ("prompt", "messages"))
    }
    # Too long a prompt is cut by the server or refused by it: nothing here can be asked for.
    for name, default in (("truncate", True), ("raw", False), ("think", False)):
        if fields.get(name) is default:
            del fields[name]
    if not fields.get("logprobs", True):
        del fields["logprobs"]
    if fields.get("top_logprobs") == 0:
        del fields["top_logprobs"]
    if not isinstance(fields.get("options", {}), Mapping):
        raise Untranslatable("payload.options", ": it must be an object")
    return fields


def _refuse(left: Mapping[str, Any], prefix: str) -> None:
    """What nobody took has no counterpart."""
    for name, value in left.items():
        if value is not None:
            raise Untranslatable(f"{prefix}{name}")


def _embed(fields: dict[str, Any]) -> dict[str, Any]:
    body = {"input": fields.pop("input", "")}
    if "dimensions" in fields:
        body["dimensions"] = fields.pop("dimensions")
    return body


def _completion(fields: dict[str, Any]) -> dict[str, Any]:
    """A prompt that no chat template is to touch."""
    fields.pop("raw", None)
    body = {"prompt": fields.pop("prompt", "")}
    if "suffix" in fields:
        body["suffix"] = fields.pop("suffix")
    return body


def _shared(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a chat beside its messages."""
    body: dict[str, Any] = {
        name: fields.pop(name) for name in ("tools", "logprobs", "top_logprobs") if name in fields
    }
    if "format" in fields:
        body["response_format"] = _response_format(fields.pop("format"))
    if "think" in fields:
        effort = fields.pop("think")
        if effort not in _EFFORTS:
            raise Untranslatable(f"think={msgspec.json.encode(effort).decode()}")
        body["reasoning_effort"] = effort
    return body


def _response_format(wanted: Any) -> dict[str, Any]:
    if wanted == "json":
        return {"type": "json_object"}
    if isinstance(wanted, Mapping):
        return {"type": "json_schema", "json_schema": {"name": "reply", "schema": wanted}}
    raise Untranslatable("format", ": it must be json or a schema")


def _options(options: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for name, value in options.items():
        if value is None:
            continue
        if name in _SAME_OPTIONS:
            body[name] = value
        elif name != "num_predict":
            raise Untranslatable(f"options.{name}")
        elif not isinstance(value, int) or isinstance(value, bool):
            raise Untranslatable("options.num_predict", ": it must be a whole number")
        elif value > 0:  # 0 and below mean no limit, as does no max_tokens
            body["max_tokens"] = value
    return body


def _prompt_messages(fields: dict[str, Any]) -> list[dict[str, Any]]:
    content = _content(fields.pop("prompt", ""), fields.pop("images", []), "images")
    return [*_system(fields), {"role": "user", "content": content}]


def _chat_messages(fields: dict[str, Any]) -> list[dict[str, Any]]:
    calls = _Calls()
    return [
        *_system(fields),
        *(
            _message(message, f"messages[{index}]", calls)
            for index, message in enumerate(fields.pop("messages", []))
        ),
    ]


def _system(fields: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "system", "content": fields.pop("system")}] if "system" in fields else []


class _Calls:
    """The tool calls that no result has been given for, to tie results to calls by id."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []
        self._numbers: Iterator[int] = itertools.count()

    def made(self, calls: Any, where: str) -> list[dict[str, Any]]:
        if not isinstance(calls, list):
            raise Untranslatable(where, ": it must be a list")
        return [self._translate(call, f"{where}[{index}]") for index, call in enumerate(calls)]

    def answered(self, call_id: Any, name: Any, where: str) -> str:
        """The id of the call that a result belongs to: the one given, or the first that fits."""
        for known in self._open:
            if known[0] == call_id or (not call_id and name in (None, "", known[1])):
                self._open.remove(known)
                return known[0]
        if call_id:
            return str(call_id)
        raise Untranslatable(f"{where} without a tool call before it")

    def _translate(self, call: Any, where: str) -> dict[str, Any]:
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise Untranslatable(where, ": it must be an object with a function and its name")
        name, arguments = function["name"], function.get("arguments") or {}
        number = next(self._numbers)
        call_id = str(call.get("id") or f"call_{number}")
        self._open.append((call_id, name))
        text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        return {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}


def _message(message: Mapping[str, Any], where: str, calls: _Calls) -> dict[str, Any]:
    left = {name: value for name, value in message.items() if value not in _ABSENT}
    role = left.pop("role", "")
    content = _content(left.pop("content", ""), left.pop("images", []), f"{where}.images")
    translated = {"role": role, "content": content}
    if "name" in left:
        translated["name"] = left.pop("name")
    if "thinking" in left:
        translated["reasoning_content"] = left.pop("thinking")
    if "tool_calls" in left:
        translated["tool_calls"] = calls.made(left.pop("tool_calls"), f"{where}.tool_calls")
    if role == "tool":
        call_id, name = left.pop("tool_call_id", None), left.pop("tool_name", None)
        translated["tool_call_id"] = calls.answered(call_id, name, where)
    _refuse(left, f"{where}.")
    return translated


def _content(text: Any, images: Any, where: str) -> Any:
    if not images:
        return text
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise Untranslatable(where, ": they must be a list of base64 texts")
    said = [{"type": "text", "text": text}] if text else []
    return [*said, *({"type": "image_url", "image_url": {"url": _data_url(i)}} for i in images)]


def _data_url(image: str) -> str:
    if image.startswith("data:"):
        return image
    kinds = (kind for start, kind in _IMAGES.items() if image.startswith(start))
    return f"data:image/{next(kinds, 'png')};base64,{image}"
