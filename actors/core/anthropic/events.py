"""The events of a streamed message, made of the lines of a chat's stream in Ollama's dialect."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from .replies import calls_in, head, shows_thinking, stop_of, thinking_block, tool_block, usage_of
from .token_estimate import estimate

PING: dict[str, Any] = {"type": "ping"}
_HIDDEN = 32  # pieces of thinking that are not shown, after which a ping is sent


class MessageEvents:
    """Turns the lines of one task's stream into events, in the order of Anthropic's API."""

    def __init__(self, task_id: str, model: str, payload: Mapping[str, Any]) -> None:
        self._task_id, self._model, self._payload = task_id, model, payload
        self._shows_thinking = shows_thinking(payload)
        self._has_begun = False
        self._open: str | None = None  # the type of the block that is being sent
        self._index = -1  # of the block
        self._calls = self._hidden = 0

    def take(self, line: Any) -> Iterator[dict[str, Any]]:
        """The events for a line; none if it adds nothing that clients see."""
        line = line if isinstance(line, Mapping) else {}
        message = line.get("message")
        message = message if isinstance(message, Mapping) else {}
        if not self._has_begun:
            self._has_begun = True
            yield self._start()
        yield from self._grow("thinking", message.get("thinking"))
        yield from self._grow("text", message.get("content"))
        for call in calls_in(message):
            yield from self._call(call)
        if line.get("done") is True:
            yield from self._end(line)

    def _start(self) -> dict[str, Any]:
        empty: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None}
        usage = {"input_tokens": estimate(self._payload), "output_tokens": 0}
        start = {**head(self._task_id, self._model), **empty, "usage": usage}
        return {"type": "message_start", "message": start}

    def _grow(self, kind: str, text: Any) -> Iterator[dict[str, Any]]:
        if not text or not isinstance(text, str):
            return
        if kind == "thinking" and not self._shows_thinking:
            self._hidden += 1
            if self._hidden % _HIDDEN == 0:
                yield PING
            return
        if self._open != kind:
            empty = thinking_block("") if kind == "thinking" else {"type": "text", "text": ""}
            yield from self._begin(empty)
        yield self._delta({"type": f"{kind}_delta", kind: text})

    def _call(self, call: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        block = tool_block(call, self._task_id, self._calls)
        self._calls += 1
        arguments = msgspec.json.encode(block["input"]).decode()
        yield from self._begin({**block, "input": {}})
        yield self._delta({"type": "input_json_delta", "partial_json": arguments})
        yield from self._close()

    def _begin(self, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield from self._close()
        self._index += 1
        self._open = block["type"]
        yield {"type": "content_block_start", "index": self._index, "content_block": block}

    def _delta(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}

    def _close(self) -> Iterator[dict[str, Any]]:
        if self._open is not None:
            self._open = None
            yield {"type": "content_block_stop", "index": self._index}

    def _end(self, line: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        yield from self._close()
        reason, sequence = stop_of(line, self._calls > 0)
        yield {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": sequence},
            "usage": usage_of(line, self._payload),
        }
        yield {"type": "message_stop"}
