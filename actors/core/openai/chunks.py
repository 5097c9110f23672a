"""Pieces of replies in OpenAI's API."""

from typing import Any


def as_piece(reply: dict[str, Any]) -> dict[str, Any]:
    """Turn a complete chat reply into the single piece of a stream; pieces stay as they are."""
    choices = reply.get("choices")
    if not isinstance(choices, list) or not any(_is_whole(choice) for choice in choices):
        return reply
    deltas = [_delta(choice) if _is_whole(choice) else choice for choice in choices]
    return {**reply, "object": "chat.completion.chunk", "choices": deltas}


def is_count(piece: Any) -> bool:
    """Whether it is the last piece of a stream, with only token counts."""
    return isinstance(piece, dict) and not piece.get("choices") and bool(piece.get("usage"))


def _is_whole(choice: Any) -> bool:
    return isinstance(choice, dict) and isinstance(choice.get("message"), dict)


def _delta(choice: dict[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in choice.items() if name != "message"}
    delta = dict(choice["message"])
    if isinstance(delta.get("tool_calls"), list):
        delta["tool_calls"] = [
            {"index": index, **call} if isinstance(call, dict) else call
            for index, call in enumerate(delta["tool_calls"])
        ]
    return {**rest, "delta": delta}
