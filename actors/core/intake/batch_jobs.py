"""Checks what a user asks of a batch from a file, and each line of the file."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from msgspec import Struct

from ..access.keys import fits_model
from ..anthropic import requests as messages
from ..anthropic.replies import message_of
from ..model import limits
from ..model.errors import Invalid
from ..model.model_names import model_name
from ..model.tasks import BatchJob, Dialect, NewTask, Priority, Task, TaskType
from ..openai.requests import ENDPOINTS as OPENAI
from ..openai.requests import task_fields
from ..responses.response import response_of
from .submission import check_fallbacks, new_task, parse_priority
from .uploads import EXPIRES_S

MOST_PAIRS, MOST_KEY, MOST_VALUE = 16, 64, 512  # of metadata
MOST_ID = 512  # characters of a custom_id
MOST_WINDOW = timedelta(days=30)
_WINDOW = re.compile(r"([1-9]\d{0,4})([hd])", re.ASCII)
_KNOWN = ("input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after")
_LINE = frozenset({"custom_id", "method", "url", "body"})


class BatchEndpoint(Struct, frozen=True):
    """An endpoint whose requests may be lines of a batch: the fields of the task for a body, and
    the body of the answer for a completed task; None if that is its result as it is."""

    fields: Callable[[Mapping[str, Any]], dict[str, Any]]
    reply: Callable[[Task], Any] | None = None


def _response_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    if body.get("background"):
        raise Invalid("a line cannot run in the background: all do", field="body.background")
    payload = {name: value for name, value in body.items() if name not in ("model", "stream")}
    model = {"model": body["model"]} if "model" in body else {}
    return {"type": TaskType.CHAT, "dialect": Dialect.RESPONSES, **model, "payload": payload}


def _message_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    steps = messages.task_fields(body)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            fields: dict[str, Any] = end.value
            return fields


def _message_reply(task: Task) -> dict[str, Any]:
    model = task.model_used or task.model
    return message_of(task.id, model, task.payload or {}, task.result)


ENDPOINTS = {
    **{path: BatchEndpoint(partial(task_fields, kind)) for path, kind in OPENAI.items()},
    "/v1/responses": BatchEndpoint(_response_fields, response_of),
    "/v1/messages": BatchEndpoint(_message_fields, _message_reply),
}


def new_job(
    body: Mapping[str, Any],
    tenant: str | None,
    now: datetime,
    fallback_models: Sequence[str] | None = None,
) -> BatchJob:
    """The job that a request asks for. Raises `Invalid`, naming the field."""
    for name in body:
        if name not in _KNOWN:
            known = ", ".join(_KNOWN)
            raise Invalid(
                f"{name} is not a field of a batch; its fields are {known}", field=str(name)
            )
    endpoint = body.get("endpoint")
    if not isinstance(endpoint, str) or endpoint not in ENDPOINTS:
        raise Invalid(f"endpoint must be one of {', '.join(ENDPOINTS)}", field="endpoint")
    metadata = _metadata(body.get("metadata"))
    if fallback_models:
        check_fallbacks(OPENAI.get(endpoint, TaskType.CHAT), "", fallback_models)
    return BatchJob(
        input_file_id=_file(body.get("input_file_id")),
        endpoint=endpoint,
        completion_window=str(body.get("completion_window")),
        expires_at=now + _window(body.get("completion_window")),
        priority=_priority(metadata),
        tenant=tenant,
        fallback_models=None if fallback_models is None else list(fallback_models),
        metadata=metadata,
        output_expires_s=_expiry(body.get("output_expires_after")),
    )


def _file(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise Invalid("input_file_id must be the id of an uploaded file", field="input_file_id")
    limits.check_text(value, "input_file_id")
    return value


def _window(value: object) -> timedelta:
    matched = _WINDOW.fullmatch(value) if isinstance(value, str) else None
    span = timedelta()
    if matched is not None:
        count = int(matched[1])
        span = timedelta(hours=count) if matched[2] == "h" else timedelta(days=count)
    if not timedelta() < span <= MOST_WINDOW:
        raise Invalid(
            "completion_window must be a number of hours or days, such as 24h or 7d, "
            f"at most {MOST_WINDOW.days}d",
            field="completion_window",
        )
    return span


def _metadata(value: object) -> dict[str, str]:
    if value is None:
        return {}
    is_flat = isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
    if not isinstance(value, dict) or not is_flat:
        raise Invalid("metadata must be an object of strings", field="metadata")
    if len(value) > MOST_PAIRS:
        raise Invalid(f"metadata may have at most {MOST_PAIRS} fields", field="metadata")
    for name, text in value.items():
        limits.check_text(name, "metadata", MOST_KEY)
        limits.check_text(text, f"metadata.{name}", MOST_VALUE)
    return value


def _priority(metadata: Mapping[str, str]) -> int:
    if "priority" not in metadata:
        return Priority.LOW
    try:
        return parse_priority(metadata["priority"])
    except Invalid as error:
        raise Invalid(f"metadata.{error.message}", field="metadata.priority") from None


def _expiry(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, dict) or value.get("anchor") != "created_at":
        raise Invalid(
            "output_expires_after must be an object with anchor created_at, and seconds",
            field="output_expires_after",
        )
    seconds = value.get("seconds")
    if type(seconds) is not int or seconds not in EXPIRES_S:
        raise Invalid(
            f"output_expires_after.seconds must be from {EXPIRES_S[0]} to {EXPIRES_S[-1]}",
            field="output_expires_after.seconds",
        )
    return seconds


# --- lines --------------------------------------------------------------------------------------


class LineRefused(Invalid):
    """A line of a batch's file is wrong: `code` says how."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message, field=param)
        self.code = code


class LineChecks(Struct):
    """Turns the lines of a batch's file into tasks."""

    endpoint: str
    priority: int
    tenant: str | None
    seen: set[str] = set()  # custom ids
    allowed_models: Sequence[str] = ()  # patterns; empty: all
    backend: str | None = None
    fallback_models: Sequence[str] | None = None

    def task(self, line: Any) -> NewTask:
        """The task for a line. Raises `Invalid`, in most cases `LineRefused`."""
        if not isinstance(line, dict):
            raise LineRefused("invalid_json_line", "the line must be a JSON object")
        for name in line:
            if name not in _LINE:
                known = ", ".join(sorted(_LINE))
                message = f"{name} is not a field of a line; its fields are {known}"
                raise LineRefused("unknown_parameter", message, str(name))
        custom_id = line.get("custom_id")
        if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= MOST_ID:
            message = f"custom_id must be a string of 1 to {MOST_ID} characters"
            raise LineRefused("invalid_custom_id", message, "custom_id")
        if custom_id in self.seen:
            message = f"custom_id {custom_id!r} is that of an earlier line"
            raise LineRefused("duplicate_custom_id", message, "custom_id")
        if line.get("method") != "POST":
            raise LineRefused("invalid_method", "method must be POST", "method")
        if line.get("url") != self.endpoint:
            message = f"url must be {self.endpoint}, the batch's endpoint"
            raise LineRefused("invalid_url", message, "url")
        body = line.get("body")
        if not isinstance(body, dict):
            raise LineRefused("invalid_request", "body must be an object", "body")
        if body.get("stream"):
            raise LineRefused("invalid_request", "a line cannot be streamed", "body.stream")
        self.seen.add(custom_id)
        fields = ENDPOINTS[self.endpoint].fields(body)
        task = new_task(
            {
                **fields,
                "priority": self.priority,
                "tenant": self.tenant,
                "backend": self.backend,
                "fallback_models": self._fallbacks(fields.get("model")),
                "metadata": {"custom_id": custom_id},
            }
        )
        if self.allowed_models and not fits_model(task.model, self.allowed_models):
            message = f"the API key does not allow the model {task.model}"
            raise LineRefused("model_not_allowed", message, "body.model")
        return task

    def _fallbacks(self, model: object) -> list[str] | None:
        """The batch's fallbacks without the line's own model."""
        if self.fallback_models is None:
            return None
        own = model_name(model) if isinstance(model, str) else None
        return [name for name in self.fallback_models if model_name(name) != own]
