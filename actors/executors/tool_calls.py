"""Joins tool calls from the pieces that an OpenAI-compatible server sends: pure."""

from typing import Any

import msgspec

from .http_executor import object_in, text_in

_ARGUMENTS = msgspec.json.Decoder(dict[str, Any] | None)


class ToolCall:
    """One call, as received so far."""

    def __init__(self) -> None:
        self.id = self.name = self.arguments = ""

    def is_another(self, call_id: str, name: str) -> bool:
        """Whether a piece starts another call.

        Some servers give all calls of a reply the same index, each complete and with its own id.
        Others invent a new id for each piece of a call; these pieces do not name the function.
        """
        return bool(self.name and name and self.id and call_id and self.id != call_id)

    def take(self, call_id: str, function: dict[str, Any]) -> None:
        self.id = self.id or call_id
        self.name = self.name or text_in(function, "name")
        arguments = function.get("arguments")
        if isinstance(arguments, dict):  # an object, not a JSON text
            arguments = msgspec.json.encode(arguments).decode()
        self.arguments += arguments if isinstance(arguments, str) else ""

    def as_ollama(self, index: int) -> dict[str, Any]:
        """The call in Ollama's form. Raises ValueError or RecursionError for bad arguments."""
        arguments = _ARGUMENTS.decode(self.arguments or "{}") or {}
        function = {"index": index, "name": self.name, "arguments": arguments}
        return {**({"id": self.id} if self.id else {}), "function": function}


class ToolCalls:
    """The calls of one reply, in the order in which they started."""

    def __init__(self) -> None:
        self._calls: list[ToolCall] = []
        self._at: dict[int, ToolCall] = {}

    def take(self, deltas: list[Any]) -> None:
        for place, delta in enumerate(deltas):
            raw_index = delta.get("index") if isinstance(delta, dict) else None
            index = raw_index if isinstance(raw_index, int) else place
            call_id, function = text_in(delta, "id"), object_in(delta, "function")
            call = self._at.get(index)
            if call is None or call.is_another(call_id, text_in(function, "name")):
                call = self._at[index] = ToolCall()
                self._calls.append(call)
            call.take(call_id, function)

    def as_ollama(self) -> list[dict[str, Any]]:
        """The calls in Ollama's form. Raises as `ToolCall.as_ollama` does."""
        return [call.as_ollama(index) for index, call in enumerate(self._calls)]
