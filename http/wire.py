"""What both ends of the wire share: addresses, the form of errors, and how they map to statuses."""

import re
from typing import Any

import msgspec

from ..actors.core.model.errors import (
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
from ..actors.core.model.tasks import Upstream

Json = dict[str, Any]
"""A JSON object."""

STATIC = "/static"
# Ollama's own API.
CHAT = "/api/chat"
GENERATE = "/api/generate"
EMBED = "/api/embed"
EMBEDDINGS = "/api/embeddings"
TAGS = "/api/tags"
PS = "/api/ps"
VERSION = "/api/version"
SHOW = "/api/show"
BLOBS = "/api/blobs/"
ADMIN = {
    "/api/pull": "POST",
    "/api/push": "POST",
    "/api/create": "POST",
    "/api/copy": "POST",
    "/api/delete": "DELETE",
}
# OpenAI's.
OPENAI = "/v1/"
MODELS = "/v1/models"
_OLLAMAS = {CHAT, GENERATE, EMBED, EMBEDDINGS, TAGS, PS, VERSION, SHOW, *ADMIN}
NDJSON = "application/x-ndjson"
LONGEST_WAIT_S = 3600.0  # of one request with ?wait=


_BASE = re.compile(r"^/+(?:(api|v1)/+)?")


class TooLarge(Invalid):
    """The body is larger than the server takes."""

    code = "too_large"


class UnknownCoding(Invalid):
    """The body is compressed in a way that the server does not know."""

    code = "unsupported_media_type"


class TaskFailed(QueueError):
    """The task that was to answer a request has come to another end, which is this `status`.

    `upstream` is what the model server said of it, where it is for the client.
    """

    code = "task_failed"

    def __init__(self, message: str, status: int, upstream: Upstream | None = None) -> None:
        super().__init__(message)
        self.status, self.upstream = status, upstream


def failure_upstream(status: int | None, upstream: Upstream | None, fallback: str) -> TaskFailed:
    """The answer where a model server gave this `status`, or none (None), and said this.

    What it thinks of the queue's own key is not for the client, nor is a redirection. `fallback`
    is the message of a server whose own was not kept.
    """
    if status in (401, 403, 407):
        return TaskFailed(f"the model server does not let the queue in ({status})", 502)
    message = upstream.message if upstream else fallback
    if status is None:  # it said so inside a reply, or it is the queue that says it
        return TaskFailed(message, 502, upstream)
    if status < 400:
        return TaskFailed(message, 502)
    return TaskFailed(message, status, upstream)


STATUS_OF: dict[type[QueueError], int] = {
    Invalid: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    UnknownCoding: 415,
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


def tidy(path: str) -> str:
    """The path that is meant: clients put slashes before it, at its end, and behind a base such as
    `/v1/`. Others stay, since an id that is empty must not make another address."""
    return _BASE.sub(lambda base: f"/{base[1]}/" if base[1] else "/", f"/{path}").rstrip("/") or "/"


def is_ollamas(path: str) -> bool:
    """A route of Ollama's API, or one below it: clients read its form of errors."""
    return path.startswith(BLOBS) or "/".join(path.split("/", 3)[:3]) in _OLLAMAS


def is_openais(path: str) -> bool:
    """The same of OpenAI's."""
    return f"{path}/".startswith(OPENAI)


def status_of(error: QueueError) -> int:
    if isinstance(error, TaskFailed):
        return error.status
    kinds = (STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)
    return next(kinds, 500)


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
        return Unavailable(f"not a queue server: it answered HTTP {status}", retry_after_s=wait)
    return error_of(detail.code, detail.message, field=detail.field, retry_after_s=wait)


def error_of(code: str, message: str, **more: Any) -> QueueError:
    """The error that a code on the wire stands for."""
    return _BY_CODE.get(code, Unavailable)(message, **more)


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)
