"""The lines of a batch's output and error files, in OpenAI's form."""

from typing import Any

import msgspec
from msgspec import Struct

from ..messages.replies import StoredTask
from ..model.tasks import Attempt, BatchJob, BatchUsage, Record, Status

_AUTH = (401, 403, 407)  # about the queue's own key: not for its clients
_NOT_RUN = {
    "batch_expired": "the batch's completion window ended before this request was carried out",
    "batch_cancelled": "the batch was cancelled before this request was carried out",
    "task_cancelled": "the task of this request was cancelled",
    "not_finished": "the task of this request was queued again when the batch ended",
}


class _SpecMetadata(Struct):
    """The only part of a spec that is needed here."""

    metadata: dict[str, Any] = {}


class _Reply(Struct):
    """The only part of a reply that is counted."""

    usage: Any = None


_metadata_of = msgspec.json.Decoder(_SpecMetadata).decode
_reply_of = msgspec.json.Decoder(_Reply).decode


def output_line(task: StoredTask, body: bytes) -> bytes:
    """The line of a completed task; `body` answers its request."""
    answer = _response(task.record, 200, msgspec.Raw(body))
    return _line(task, {"response": answer, "error": None})


def error_line(task: StoredTask, job: BatchJob) -> bytes:
    """The line of a task that has no reply."""
    record = task.record
    if record.status is Status.FAILED:
        status, body = failure(record)
        return _line(task, {"response": _response(record, status, body), "error": None})
    code = "not_finished"
    if record.status is Status.CANCELLED and job.cancelling_at is not None:
        code = "batch_cancelled"
    elif record.status is Status.CANCELLED:
        code = "batch_expired" if job.expired_at is not None else "task_cancelled"
    return _line(task, {"response": None, "error": {"code": code, "message": _NOT_RUN[code]}})


def failure(record: Record) -> tuple[int, dict[str, Any]]:
    """The status and body with which a failed task's request is answered."""
    last: Attempt | None = record.attempts[-1] if record.attempts else None
    message = record.error or "the task failed"
    if last is None:  # no server had its model
        return 404, _error("invalid_request_error", message, "model_not_found", "model")
    status, upstream = last.status, last.upstream
    if status in _AUTH:
        return 502, _error("api_error", f"the model server denied the queue access ({status})")
    status = 502 if status is None or status < 400 else status
    kind = "invalid_request_error" if status < 500 else "api_error"
    if upstream is None:
        return status, _error(kind, message)
    return status, _error(
        upstream.type or kind, upstream.message, upstream.code or "task_failed", upstream.param
    )


def usage_of(result: bytes) -> BatchUsage:
    """The tokens of a reply; 0 where it does not say."""
    try:
        usage = _reply_of(result).usage
    except msgspec.DecodeError:
        return BatchUsage()
    return BatchUsage(
        input=_count(usage, "prompt_tokens") or _count(usage, "input_tokens"),
        cached=_detail(usage, ("prompt_tokens_details", "input_tokens_details"), "cached_tokens"),
        output=_count(usage, "completion_tokens") or _count(usage, "output_tokens"),
        reasoning=_detail(
            usage, ("completion_tokens_details", "output_tokens_details"), "reasoning_tokens"
        ),
    )


def _count(value: Any, name: str) -> int:
    count = value.get(name) if isinstance(value, dict) else None
    return count if type(count) is int and 0 < count < 1 << 53 else 0


def _detail(usage: Any, groups: tuple[str, ...], name: str) -> int:
    return max(_count(usage.get(group), name) for group in groups) if type(usage) is dict else 0


def _error(
    kind: str, message: str, code: str | int = "task_failed", param: str | None = None
) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _response(record: Record, status: int, body: Any) -> dict[str, Any]:
    return {"status_code": status, "request_id": record.id, "body": body}


def _line(task: StoredTask, rest: dict[str, Any]) -> bytes:
    custom_id = _metadata_of(task.spec).metadata.get("custom_id")
    name = f"batch_req_{task.record.id.replace('-', '')}"
    return msgspec.json.encode({"id": name, "custom_id": custom_id, **rest}) + b"\n"
