"""The response object of a task, and the ids of both."""

import re
from collections.abc import Mapping
from typing import Any

from ..model.ids import instant_of
from ..model.tasks import Attempt, Status, Task

_ID = re.compile(r"resp_([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})")
_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc"}
_BY_EVENT = {
    "output_text": "msg",
    "content_part": "msg",
    "reasoning_summary_text": "rs",
    "function_call_arguments": "fc",
    "custom_tool_call_input": "ctc",
}
_STATUSES = {
    Status.RUNNING: "in_progress",
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}
# What a response repeats of its request, and what it says where the request does not.
_REPEATED: dict[str, Any] = {
    "previous_response_id": None,
    "instructions": None,
    "tools": [],
    "tool_choice": "auto",
    "truncation": "disabled",
    "parallel_tool_calls": True,
    "top_p": 1.0,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "top_logprobs": 0,
    "temperature": 1.0,
    "reasoning": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "store": True,
    "background": False,
    "service_tier": "default",
    "metadata": {},
    "user": None,
    "safety_identifier": None,
    "prompt_cache_key": None,
}


def response_id(task_id: str) -> str:
    """The id of a task's response: `resp_` and the task's id without its dashes."""
    return f"resp_{task_id.replace('-', '')}"


def task_id_of(response_id: str) -> str | None:
    """The id of a response's task; None for what is no id of a response."""
    matched = _ID.fullmatch(response_id)
    return "-".join(matched.groups()) if matched else None


class ResponseView:
    """A task's response, as its request, status and result are known.

    `payload` is the request, without `model` and `stream`.
    """

    def __init__(self, task_id: str, model: str, payload: Mapping[str, Any]) -> None:
        self.id = response_id(task_id)
        self._task_id, self._key = task_id, self.id.removeprefix("resp_")
        repeated = {
            name: default if payload.get(name) is None else payload[name]
            for name, default in _REPEATED.items()
        }
        if repeated["service_tier"] == "auto":
            repeated["service_tier"] = "default"
        text = payload.get("text") or {}
        form = text.get("format") or {"type": "text"}
        self.is_background = repeated["background"] is True
        self._start: dict[str, Any] = {
            "id": self.id,
            "object": "response",
            "created_at": instant_of(task_id) // 1_000_000,
            "completed_at": None,
            "status": "queued",
            "incomplete_details": None,
            "model": model,
            "output": [],
            "error": None,
            **repeated,
            "text": {**text, "format": form},
            "usage": None,
        }

    def waiting(self, status: str = "queued") -> dict[str, Any]:
        """The response of a task that has not ended: `queued` or `in_progress`."""
        return {**self._start, "status": status}

    def of(self, task: Task) -> dict[str, Any]:
        """The response as the task says, whatever its status."""
        if task.status is Status.PENDING:
            return self.waiting("in_progress" if task.attempt else "queued")
        response = self.waiting(_STATUSES[task.status])
        response["model"] = task.model_used or task.model
        if task.status is Status.COMPLETED and isinstance(task.result, dict):
            response |= self._completed(task.result)
        if task.completed_at is not None and response["status"] in ("completed", "incomplete"):
            response["completed_at"] = int(task.completed_at.timestamp())
        if task.status is Status.FAILED:
            response["error"] = error_of(task)
        return response

    def identified(self, event: dict[str, Any]) -> dict[str, Any]:
        """The event with the ids of the item that it is about."""
        index = event["output_index"]
        if "item" in event:
            return {**event, "item": self._named(index, event["item"])}
        kind = event["type"].split(".")[1]
        prefix = _BY_EVENT[kind]
        return {**event, "item_id": f"{prefix}_{self._key}_{index}"}

    def _completed(self, result: dict[str, Any]) -> dict[str, Any]:
        names = ("status", "incomplete_details", "usage", "model", "service_tier")
        fields = {name: result[name] for name in names if name in result}
        items = [self._named(*numbered) for numbered in enumerate(result.get("output") or ())]
        return {**fields, "output": items}

    def _named(self, index: int, item: dict[str, Any]) -> dict[str, Any]:
        named: dict[str, Any] = {"id": f"{_PREFIXES[item['type']]}_{self._key}_{index}", **item}
        if named.get("call_id") == "":  # the model server gave none
            named["call_id"] = f"call_{self._key}_{index}"
        return named


def response_of(task: Task) -> dict[str, Any]:
    """The response of a complete task that is one: with its payload, and its result if any."""
    return ResponseView(task.id, task.model, task.payload or {}).of(task)


def error_of(task: Task) -> dict[str, Any]:
    """Why a task failed: the model server's own message and code, if it gave any."""
    if task.error_code is not None:
        return {"code": task.error_code, "message": task.error or "the task expired"}
    last: Attempt | None = task.attempts[-1] if task.attempts else None
    upstream = last.upstream if last else None
    code = upstream.code if upstream and isinstance(upstream.code, str) else None
    message = upstream.message if upstream else task.error or "the task failed"
    return {"code": code or "server_error", "message": message}
