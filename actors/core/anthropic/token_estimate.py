"""Estimates how many tokens a prompt has, where no model server counts them."""

from collections.abc import Mapping
from typing import Any

import msgspec

_CHARACTERS = 4  # of a token, on average
_IMAGE = 1000  # tokens, roughly what vision models take


def estimate(payload: Mapping[str, Any]) -> int:
    """The estimated tokens of a chat task's payload, at least 1: a quarter of its characters."""
    text = payload.get("system")
    characters = len(text) if isinstance(text, str) else 0
    images = 0
    for message in payload.get("messages", ()):
        characters += sum(len(message.get(name, "")) for name in ("role", "content", "thinking"))
        images += len(message.get("images", ()))
        if "tool_calls" in message:
            characters += len(msgspec.json.encode(message["tool_calls"]))
    if "tools" in payload:
        characters += len(msgspec.json.encode(payload["tools"]))
    return max(1, characters // _CHARACTERS + images * _IMAGE)
