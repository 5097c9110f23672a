"""Turns the pieces of a chat completion into the events of a response, and its result.

These are the task's chunks and its stored result. They lack what is known only to who shows them:
ids, and the numbers of events (see `numbering`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from .request import ClientTool

_ENDS = {  # why a reply is incomplete
    "length": {"reason": "max_output_tokens"},
    "content_filter": {"reason": "content_filter"},
}
MESSAGE, REASONING = "message", "reasoning"
CALL, CUSTOM = "function_call", "custom_tool_call"


class OutputItem(Struct):
    """An item of the output as it grows: a message, what the model thought, or a call.

    `call_id` and `name` are a call's. `deltas` are the lengths of the pieces in which it arrived.
    """

    type: str
    text: str = ""
    call_id: str = ""
    name: str = ""
    namespace: str = ""
    logprobs: list[Any] = []
    deltas: list[int] = []

    def _called(self, status: str) -> dict[str, Any]:
        namespace = {"namespace": self.namespace} if self.namespace else {}
        call = {"call_id": self.call_id, "name": self.name, **namespace}
        return {"type": self.type, "status": status, **call}

    def shown(self, status: str) -> dict[str, Any]:
        match self.type:
            case "reasoning":
                part = {"type": "summary_text", "text": self.text}
                return {"type": self.type, "summary": [part]}
            case "function_call":
                return {**self._called(status), "arguments": self.text}
            case "custom_tool_call":
                return {**self._called(status), "input": self.text}
            case _:
                content = [_text_part(self.text, self.logprobs)]
                message = {"role": "assistant", "content": content}
                return {"type": self.type, "status": status, **message}


class ResponseReply:
    """The response so far. `tools` are those that the client knows by other names."""

    def __init__(self, tools: Mapping[str, ClientTool] | None = None) -> None:
        self._tools = tools or {}
        self._items: list[OutputItem] = []
        self._texts: list[list[str]] = []  # of each item, in pieces
        self._statuses: list[str] = []  # of the items that are complete
        self._at: dict[Any, int] = {}  # where the call of each index is
        self._finish = ""
        self._head: dict[str, Any] = {}
        self.usage: dict[str, Any] = {}
        self.has_begun = False

    @property
    def is_finished(self) -> bool:
        return self._finish != ""

    def take(self, piece: dict[str, Any]) -> list[dict[str, Any]]:
        """Add a piece of the chat completion. Returns the events that follow from it."""
        self.usage = _dict(piece.get("usage")) or self.usage
        for name in ("model", "service_tier", "system_fingerprint"):
            if piece.get(name) is not None:
                self._head[name] = piece[name]
        choices = piece.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return []
        self.has_begun = True
        self._finish = _str(choice.get("finish_reason")) or self._finish
        delta, events = _dict(choice.get("delta")), list[dict[str, Any]]()
        if thought := _str(delta.get("reasoning_content")) or _str(delta.get("reasoning")):
            events += self._grow(REASONING, thought)
        if text := _str(delta.get("content")) or _str(delta.get("refusal")):
            logprobs = _dict(choice.get("logprobs")).get("content")
            events += self._grow(MESSAGE, text, logprobs if isinstance(logprobs, list) else [])
        calls = delta.get("tool_calls")
        for place, call in enumerate(calls if isinstance(calls, list) else ()):
            events += self._call(place, _dict(call))
        return events

    def end(self) -> list[dict[str, Any]]:
        """The events that close the items, once the last piece has been taken."""
        events = [] if self._items else self._open(OutputItem(MESSAGE))
        return events + self._close("incomplete" if self._finish in _ENDS else "completed")

    def whole(self) -> dict[str, Any]:
        """The result, in the form of a response."""
        shown = zip(self._items, self._statuses, strict=True)
        return {
            "object": "response",
            "status": "incomplete" if self._finish in _ENDS else "completed",
            "incomplete_details": _ENDS.get(self._finish),
            **self._head,
            "output": [item.shown(status) for item, status in shown],
            "usage": _usage(self.usage) if self.usage else None,
            "deltas": [item.deltas for item in self._items],
        }

    def _grow(
        self, kind: str, text: str, logprobs: list[Any] | None = None
    ) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        if len(self._statuses) == len(self._items) or self._items[-1].type != kind:
            events = self._close("completed") + self._open(OutputItem(kind))
        return [*events, self._delta(len(self._items) - 1, text, logprobs or [])]

    def _call(self, place: int, piece: dict[str, Any]) -> list[dict[str, Any]]:
        """Add a piece of a call; some servers reuse an index for the next call, with a new id."""
        index = piece.get("index")
        index = index if type(index) is int else place
        function = _dict(piece.get("function"))
        name, call_id = _str(function.get("name")), _str(piece.get("id"))
        at, events = self._at.get(index), list[dict[str, Any]]()
        known = None if at is None else self._items[at].call_id
        if at is None or (name and call_id and known and call_id != known):
            if not name:
                return []  # nothing that could be called
            events = self._close("completed")
            at = self._at[index] = len(self._items)
            tool = self._tools.get(name) or ClientTool(name)
            kind = CUSTOM if tool.is_text else CALL
            events += self._open(OutputItem(kind, "", call_id, tool.name, tool.namespace))
        arguments = _str(function.get("arguments"))
        if not arguments:
            return events
        if at < len(self._statuses):  # it was closed: the result has all of it
            self._items[at].text += arguments if self._items[at].type == CALL else ""
            return events
        if self._items[at].type == CUSTOM:  # a piece of JSON: its text is known at the end
            self._texts[at].append(arguments)
            return events
        return [*events, self._delta(at, arguments, [])]

    def _open(self, item: OutputItem) -> list[dict[str, Any]]:
        self._items.append(item)
        self._texts.append([])
        return _opening(len(self._items) - 1, item)

    def _delta(self, index: int, text: str, logprobs: list[Any]) -> dict[str, Any]:
        item = self._items[index]
        self._texts[index].append(text)
        item.deltas.append(len(text))
        item.logprobs += logprobs
        return _growth(index, item.type, text, logprobs)

    def _close(self, status: str) -> list[dict[str, Any]]:
        """Close the item that is open, if one is."""
        if len(self._statuses) == len(self._items):
            return []
        index = len(self._items) - 1
        item = self._items[index]
        item.text = "".join(self._texts[index])
        events: list[dict[str, Any]] = []
        if item.type == CUSTOM:
            item.text = _input_of(item.text)
            events += [self._delta(index, item.text, [])] if item.text else []
        self._statuses.append(status)
        return events + _closing(index, item.shown(status))


def events_of(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of a stored result, as they were when it was made."""
    deltas = result.get("deltas") or []
    for index, shown in enumerate(result["output"]):
        item = _item(shown)
        yield from _opening(index, item)
        at = 0
        for length in deltas[index] if index < len(deltas) else [len(item.text)]:
            yield _growth(index, item.type, item.text[at : at + length], [])
            at += length
        yield from _closing(index, shown)


def _item(shown: dict[str, Any]) -> OutputItem:
    match shown["type"]:
        case "reasoning":
            return OutputItem(REASONING, shown["summary"][0]["text"])
        case "function_call":
            return _call_of(CALL, shown["arguments"], shown)
        case "custom_tool_call":
            return _call_of(CUSTOM, shown["input"], shown)
        case _:
            return OutputItem(MESSAGE, shown["content"][0]["text"])


def _call_of(kind: str, text: str, shown: dict[str, Any]) -> OutputItem:
    namespace = shown.get("namespace", "")
    return OutputItem(kind, text, shown["call_id"], shown["name"], namespace)


def _opening(index: int, item: OutputItem) -> list[dict[str, Any]]:
    start = item.shown("in_progress")
    match item.type:
        case "reasoning":
            start["summary"] = []
        case "function_call":
            start["arguments"] = ""
        case "custom_tool_call":
            start["input"] = ""
        case _:
            start["content"] = []
    added = {"type": "response.output_item.added", "output_index": index, "item": start}
    if item.type != MESSAGE:
        return [added]
    part = {"type": "response.content_part.added", "output_index": index, "content_index": 0}
    return [added, {**part, "part": _text_part("", [])}]


def _growth(index: int, kind: str, text: str, logprobs: list[Any]) -> dict[str, Any]:
    match kind:
        case "reasoning":
            place = {"output_index": index, "summary_index": 0}
            return {"type": "response.reasoning_summary_text.delta", **place, "delta": text}
        case "function_call":
            kind = "response.function_call_arguments.delta"
            return {"type": kind, "output_index": index, "delta": text}
        case "custom_tool_call":
            kind = "response.custom_tool_call_input.delta"
            return {"type": kind, "output_index": index, "delta": text}
        case _:
            place = {"output_index": index, "content_index": 0}
            said = {"delta": text, "logprobs": logprobs}
            return {"type": "response.output_text.delta", **place, **said}


def _closing(index: int, item: dict[str, Any]) -> list[dict[str, Any]]:
    at = {"output_index": index}
    done = {"type": "response.output_item.done", **at, "item": item}
    match item["type"]:
        case "reasoning":
            kind, text = "response.reasoning_summary_text.done", item["summary"][0]["text"]
            return [{"type": kind, **at, "summary_index": 0, "text": text}, done]
        case "function_call":
            call = {"name": item["name"], "arguments": item["arguments"]}
            return [{"type": "response.function_call_arguments.done", **at, **call}, done]
        case "custom_tool_call":
            kind = "response.custom_tool_call_input.done"
            return [{"type": kind, **at, "input": item["input"]}, done]
        case _:
            part, place = item["content"][0], {**at, "content_index": 0}
            said = {"text": part["text"], "logprobs": part["logprobs"]}
            return [
                {"type": "response.output_text.done", **place, **said},
                {"type": "response.content_part.done", **place, "part": part},
                done,
            ]


def _input_of(arguments: str) -> str:
    """The text for a custom tool in the arguments of its function."""
    try:
        given = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return arguments
    text = given.get("input") if isinstance(given, dict) else given
    return text if isinstance(text, str) else arguments


def _text_part(text: str, logprobs: list[Any]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _usage(counts: dict[str, Any]) -> dict[str, Any]:
    """Token counts of a chat completion, under their names in a response."""
    given, made = _count(counts, "prompt_tokens"), _count(counts, "completion_tokens")
    cached = _count(_dict(counts.get("prompt_tokens_details")), "cached_tokens")
    thought = _count(_dict(counts.get("completion_tokens_details")), "reasoning_tokens")
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": given + made,
    }


def _count(counts: dict[str, Any], name: str) -> int:
    value = counts.get(name)
    return value if type(value) is int and value >= 0 else 0


def _str(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
