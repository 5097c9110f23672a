"""What both ends of the wire share: addresses, the form of errors, and how they map to statuses."""

from typing import Any

import msgspec

from ollama_queue.actors.core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    OutcomeUnknown,
    QueueError,
    QueueFull,
    Unauthorized,
    Unavailable,
)

TASKS = "/api/tasks"
BATCH = "/api/tasks/batch"
BATCHES = "/api/batches"
CRONS = "/api/cron"
EVENTS = "/api/events"
SOCKET = "/ws"
STATUS = "/api/status"
HISTORY = "/api/history"
OPENAPI = "/openapi.json"
BACKENDS = "/api/backends"
PAUSE = "/api/pause"
RESUME = "/api/resume"
STATIC = "/static"
NDJSON = "application/x-ndjson"
LONGEST_WAIT_S = 3600.0  # of one request with ?wait=


class TooLarge(Invalid):
    """The body is larger than the server takes."""

    code = "too_large"


STATUS_OF: dict[type[QueueError], int] = {
    Invalid: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    QueueFull: 429,
    OutcomeUnknown: 503,
    Unavailable: 503,
}
_BY_CODE = {kind.code: kind for kind in STATUS_OF}


class ErrorBody(msgspec.Struct, omit_defaults=True):
    """`{"error": {"code", "message", "field"}}`, as native routes answer errors."""

    class Detail(msgspec.Struct, omit_defaults=True):
        code: str
        message: str
        field: str | None = None

    error: Detail


def error_body(error: QueueError) -> ErrorBody:
    return ErrorBody(ErrorBody.Detail(error.code, error.message, error.field))


def encode_error(error: QueueError) -> bytes:
    return msgspec.json.encode(error_body(error))


def decode_error(status: int, body: bytes, retry_after: str | None) -> QueueError:
    """The error that a server answered with; `Unavailable` for what is not the queue's own."""
    wait = float(retry_after) if retry_after and retry_after.isdigit() else None
    try:
        detail = msgspec.json.decode(body, type=ErrorBody).error
    except msgspec.DecodeError:
        return Unavailable(f"this is no queue: it answered HTTP {status}", retry_after_s=wait)
    return error_of(detail.code, detail.message, field=detail.field, retry_after_s=wait)


def error_of(code: str, message: str, **more: Any) -> QueueError:
    """The error that a code on the wire stands for."""
    return _BY_CODE.get(code, Unavailable)(message, **more)


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)
