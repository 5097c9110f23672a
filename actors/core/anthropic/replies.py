"""A chat's reply, in Ollama's dialect, as a message of Anthropic's API."""

import re
from collections.abc import Mapping
from typing import Any

from .token_estimate import estimate

_IDS = re.compile(r"[A-Za-z0-9_-]{1,256}")  # those that Anthropic's API accepts back
_REASONS = {"length": "max_tokens", "content_filter": "refusal"}


def message_of(task_id: str, model: str, payload: Mapping[str, Any], result: Any) -> dict[str, Any]:
    """The message of a completed task, with its stored `result`: the same one each time."""
    reply = result if isinstance(result, Mapping) else {}
    reply_message = _object(reply, "message")
    blocks: list[dict[str, Any]] = []
    thinking, text = reply_message.get("thinking"), reply_message.get("content")
    if thinking and isinstance(thinking, str) and shows_thinking(payload):
        blocks.append(thinking_block(thinking))
    if text and isinstance(text, str):
        blocks.append({"type": "text", "text": text})
    for number, call in enumerate(calls_in(reply_message)):
        blocks.append(tool_block(call, task_id, number))
    reason, sequence = stop_of(reply, any(block["type"] == "tool_use" for block in blocks))
    return {
        **head(task_id, model),
        "content": blocks,
        "stop_reason": reason,
        "stop_sequence": sequence,
        "usage": usage_of(reply, payload),
    }


def head(task_id: str, model: str) -> dict[str, Any]:
    """The fields with which each message of a task begins."""
    return {"id": message_id(task_id), "type": "message", "role": "assistant", "model": model}


def message_id(task_id: str) -> str:
    return f"msg_{_suffix(task_id)}"


def request_id(task_id: str) -> str:
    """The id by which answers name the request that became this task."""
    return f"req_{_suffix(task_id)}"


def shows_thinking(payload: Mapping[str, Any]) -> bool:
    """Whether the client asked to see what the model thinks. Some models think unasked."""
    return "prefer_think" in payload


def thinking_block(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": ""}


def calls_in(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The functions that a message calls, each with the `id` of the call if it has one."""
    calls = message.get("tool_calls")
    read: list[Mapping[str, Any]] = []
    for call in calls if isinstance(calls, list) else ():
        function = _object(call, "function")
        if isinstance(function.get("name"), str):
            read.append({**function, "id": call.get("id")})
    return read


def tool_block(call: Mapping[str, Any], task_id: str, number: int) -> dict[str, Any]:
    """A call, the one with this `number` of its reply. It keeps the model server's own id."""
    call_id = call["id"]
    if not isinstance(call_id, str) or not _IDS.fullmatch(call_id):
        call_id = f"toolu_{_suffix(task_id)}_{number}"
    return {
        "type": "tool_use",
        "id": call_id,
        "name": call["name"],
        "input": dict(_object(call, "arguments")),
    }


def stop_of(reply: Mapping[str, Any], calls_tools: bool) -> tuple[str, str | None]:
    """Why the reply ended, and at which stop sequence, if the model server named it."""
    sequence = reply.get("stop_sequence")
    if calls_tools:
        return "tool_use", None
    if sequence and isinstance(sequence, str):
        return "stop_sequence", sequence
    reason = reply.get("done_reason")
    return _REASONS.get(reason, "end_turn") if isinstance(reason, str) else "end_turn", None


def usage_of(reply: Mapping[str, Any], payload: Mapping[str, Any]) -> dict[str, int]:
    """The tokens of a reply; those of the prompt are estimated if the server counted none."""
    return {
        "input_tokens": _count(reply, "prompt_eval_count") or estimate(payload),
        "output_tokens": _count(reply, "eval_count"),
    }


def _suffix(task_id: str) -> str:
    """The last 24 digits of a task's id, which contain its random ones."""
    return task_id.replace("-", "")[-24:]


def _object(value: Any, name: str) -> Mapping[str, Any]:
    field = value.get(name) if isinstance(value, Mapping) else None
    return field if isinstance(field, Mapping) else {}


def _count(reply: Mapping[str, Any], name: str) -> int:
    value = reply.get(name)
    return value if type(value) is int and value > 0 else 0
