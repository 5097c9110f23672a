"""The items of a request's input: as messages of a chat, and as they are listed."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..model.errors import Invalid

_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
CALLS = ("function_call", "custom_tool_call")
OUTPUTS = ("function_call_output", "custom_tool_call_output")
_PREFIXES = {"reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc"}  # of ids
_SCHEMES = ("data:", "https://", "http://")


def messages_of(instructions: str | None, given: Any) -> list[dict[str, Any]]:
    """The messages of the chat. Raises `Invalid`, naming the item's field."""
    messages: list[dict[str, Any]] = []
    if instructions:
        messages.append({"role": "system", "content": instructions})
    thinking = ""  # of the reasoning items just before
    for index, item in enumerate(_items(given)):
        place = f"input[{index}]"
        kind = _kind(item, place)
        if kind == "reasoning":
            thinking += _thinking(item, place)
            continue
        if kind in CALLS:
            _assistant(messages, thinking).setdefault("tool_calls", []).append(_call(item, place))
        elif kind in OUTPUTS:
            output = _content(item, "output", place)
            call_id = _text(item, "call_id", place)
            messages.append({"role": "tool", "tool_call_id": call_id, "content": output})
        else:
            role, content = _role(item, place), _content(item, "content", place)
            if role == "assistant" and messages and messages[-1].get("content", "") is None:
                messages[-1]["content"] = content  # beside its calls
            elif role == "system" and _is_joined(messages, content):
                messages[-1]["content"] += f"\n\n{content}"
            else:
                messages.append({"role": role, "content": content})
            if role == "assistant":
                _think(messages[-1], thinking)
        thinking = ""
    return messages


def listed(given: Any, response_id: str) -> Iterator[dict[str, Any]]:
    """The items of a checked input, each complete and with an id."""
    key = response_id.partition("_")[2]
    for index, item in enumerate(_items(given)):
        kind = _kind(item, f"input[{index}]")
        prefix = "out" if kind in OUTPUTS else _PREFIXES.get(kind, "msg")
        whole: dict[str, Any] = {"id": f"{prefix}_{key}_in{index}", "type": kind}
        if kind != "reasoning":
            whole["status"] = "completed"
        whole |= {name: value for name, value in item.items() if value is not None}
        if kind == "message" and isinstance(whole.get("content"), str):
            part: dict[str, Any] = {"type": "input_text", "text": whole["content"]}
            if whole["role"] == "assistant":
                part = {**part, "type": "output_text", "annotations": []}
            whole["content"] = [part]
        yield whole


def _items(given: Any) -> list[Any]:
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise Invalid("input must be a text, or a list of at least one item", field="input")
    return given


def _kind(item: Any, place: str) -> str:
    if not isinstance(item, Mapping):
        raise Invalid(f"{place} must be an object", field=place)
    kind = item.get("type") or ("message" if "role" in item else None)
    if not isinstance(kind, str):
        raise Invalid(f"{place}.type is missing", field=f"{place}.type")
    if kind not in ("message", "reasoning", *CALLS, *OUTPUTS):
        raise Invalid(f"{place}: unknown input item type: {kind}", field=f"{place}.type")
    return kind


def _role(item: Mapping[str, Any], place: str) -> str:
    role = item.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        known = ", ".join(_ROLES)
        raise Invalid(f"{place}.role must be one of {known}", field=f"{place}.role")
    return _ROLES[role]


def _is_joined(messages: list[dict[str, Any]], content: Any) -> bool:
    """Whether a system message continues the last one: many templates take only one."""
    last = messages[-1] if messages else {"role": ""}
    texts = isinstance(content, str) and isinstance(last.get("content"), str)
    return last["role"] == "system" and texts


def _assistant(messages: list[dict[str, Any]], thinking: str) -> dict[str, Any]:
    """The message that a call belongs to: the assistant's last one, or a new one."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    _think(messages[-1], thinking)
    return messages[-1]


def _think(message: dict[str, Any], thinking: str) -> None:
    """Add what the model thought, under the names that Ollama and others read."""
    if thinking:
        for name in ("reasoning", "reasoning_content"):
            message[name] = message.get(name, "") + thinking


def function_name(namespace: str, name: str) -> str:
    """The name of the function for a tool in a namespace."""
    return f"{namespace}__{name}" if namespace else name


def _call(item: Mapping[str, Any], place: str) -> dict[str, Any]:
    namespace = item.get("namespace")
    prefix = namespace if isinstance(namespace, str) else ""
    function = {"name": function_name(prefix, _text(item, "name", place))}
    if item.get("type") == "custom_tool_call":
        given = {"input": _text(item, "input", place)}
        function["arguments"] = msgspec.json.encode(given).decode()
    else:
        function["arguments"] = _text(item, "arguments", place)
    return {"id": _text(item, "call_id", place), "type": "function", "function": function}


def _text(item: Mapping[str, Any], name: str, place: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise Invalid(f"{place}.{name} must be a string", field=f"{place}.{name}")
    return value


def _thinking(item: Mapping[str, Any], place: str) -> str:
    parts = item.get("summary") or item.get("content") or []
    if not isinstance(parts, list):
        raise Invalid(f"{place}.summary must be a list", field=f"{place}.summary")
    texts = [part.get("text") for part in parts if isinstance(part, Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _content(item: Mapping[str, Any], name: str, place: str) -> Any:
    """A text, or a list of texts and images where there are images."""
    content, place = item.get(name), f"{place}.{name}"
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise Invalid(f"{place} must be a text, or a list of parts", field=place)
    parts = [_part(part, f"{place}[{index}]") for index, part in enumerate(content)]
    if any(part["type"] != "text" for part in parts):
        return parts
    return "\n".join(part["text"] for part in parts)


def _part(part: Any, place: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(kind, str):
        raise Invalid(f"{place} must be an object with a type", field=place)
    if kind in _TEXTS:
        return {"type": "text", "text": _text(part, _TEXTS[kind], place)}
    if kind != "input_image":
        raise Invalid(
            f"{place} is {kind}: only text and images are supported", field=f"{place}.type"
        )
    url = part.get("image_url")
    if not isinstance(url, str) or not url.startswith(_SCHEMES):
        raise Invalid(
            f"{place}.image_url must be the image itself, as data:image/png;base64,…",
            field=f"{place}.image_url",
        )
    image: dict[str, Any] = {"url": url}
    if part.get("detail") is not None:
        image["detail"] = _text(part, "detail", place)
    return {"type": "image_url", "image_url": image}
