"""What server and clients share: paths, the error format, and how errors map to statuses."""

import re
from collections.abc import Mapping
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
PULL = "/api/pull"
PUSH = "/api/push"
CREATE = "/api/create"
COPY = "/api/copy"
DELETE = "/api/delete"
# OpenAI's.
OPENAI = "/v1/"
MODELS = "/v1/models"
FILES = "/v1/files"
BATCHES = "/v1/batches"
RESPONSES = "/v1/responses"
# Anthropic's.
MESSAGES = "/v1/messages"
_ANTHROPICS = (f"{MESSAGES}/", "/api/event_logging/")  # to the second, Claude Code sends reports
_ANTHROPIC_CLIENT = "anthropic-version"  # a header that only Anthropic's clients send
FALLBACKS = "X-Queue-Fallback-Models"  # a request header of the doors of all three
_ADMIN = {PULL, PUSH, CREATE, COPY, DELETE}
_OLLAMAS = {CHAT, GENERATE, EMBED, EMBEDDINGS, TAGS, PS, VERSION, SHOW, *_ADMIN}
# The User-Agents of `Client` and `AsyncClient`, and of the command line.
CLIENT = "ollama-queue"
CLI = "ollama-queue-cli"
NDJSON = "application/x-ndjson"
CLIENT_GONE = 499  # the status of a request whose client has left
LONGEST_WAIT_S = 3600.0  # maximum of ?wait=


_BASE = re.compile(r"^/+(?:(api|v1)/+)?")


class TooLarge(Invalid):
    """The body exceeds the server's limit."""

    code = "too_large"


class UnknownCoding(Invalid):
    """The body has an unsupported Content-Encoding."""

    code = "unsupported_media_type"


class TaskFailed(QueueError):
    """The task behind a request did not complete; the request is answered with `status`.

    `upstream` is the model server's error, if it is meant for the client.
    """

    def __init__(
        self,
        message: str,
        status: int,
        upstream: Upstream | None = None,
        *,
        code: str = "task_failed",
    ) -> None:
        super().__init__(message)
        self.status, self.upstream, self.code = status, upstream, code


def failure_upstream(status: int | None, upstream: Upstream | None, fallback: str) -> TaskFailed:
    """The error for a model server's failure with this `status` (None if it sent none).

    Errors about the queue's own key are not passed to the client, nor are redirects. `fallback` is
    the message if the server's own was not kept.
    """
    if status in (401, 403, 407):
        return TaskFailed(f"the model server denied the queue access ({status})", 502)
    message = upstream.message if upstream else fallback
    if status is None:  # an error inside a reply, or one of the queue
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
# What a proxy answers if it reaches no server, or one that ends without an answer, or with none in
# time (RFC 9110, 15.6): the last two may have carried the request out.
_OF_PROXIES = {503: Unavailable, 502: OutcomeUnknown, 504: OutcomeUnknown}


class ErrorBody(msgspec.Struct, omit_defaults=True):
    """The error format of native routes: `{"error": {"code", "message", "field"}}`."""

    class Detail(msgspec.Struct, omit_defaults=True):
        code: str
        message: str
        field: str | None = None

    error: Detail


def tidy(path: str) -> str:
    """Remove the extra slashes that clients put at the start, at the end, and after a base such as
    `/v1/`. Others stay: an empty id must not turn a path into another one."""
    return _BASE.sub(lambda base: f"/{base[1]}/" if base[1] else "/", f"/{path}").rstrip("/") or "/"


def is_ollamas(path: str) -> bool:
    """Whether the path is, or is below, a route of Ollama's API, with its error format."""
    return path.startswith(BLOBS) or "/".join(path.split("/", 3)[:3]) in _OLLAMAS


def is_openais(path: str) -> bool:
    """Whether the path is below OpenAI's API, with its error format."""
    return f"{path}/".startswith(OPENAI)


def is_anthropics(path: str, headers: Mapping[str, str]) -> bool:
    """Whether a request is for Anthropic's API: by its path, or, below `/v1`, by its headers."""
    if f"{path}/".startswith(_ANTHROPICS):
        return True
    return is_openais(path) and is_anthropic_client(headers)


def is_anthropic_client(headers: Mapping[str, str]) -> bool:
    return _ANTHROPIC_CLIENT in headers


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
    """Decode a server's error; `Unavailable` if it is not in the queue's format."""
    wait = float(retry_after) if retry_after and retry_after.isdigit() else None
    try:
        detail = msgspec.json.decode(body, type=ErrorBody).error
    except msgspec.DecodeError:
        if status in _OF_PROXIES:
            why = f"no queue server answers behind the proxy, which says HTTP {status}"
            return _OF_PROXIES[status](why, retry_after_s=wait)
        return Unavailable(f"not a queue server: it answered HTTP {status}", retry_after_s=wait)
    return error_of(detail.code, detail.message, field=detail.field, retry_after_s=wait)


def error_of(code: str, message: str, **more: Any) -> QueueError:
    """The error for a code on the wire; `Unavailable` if unknown."""
    return _BY_CODE.get(code, Unavailable)(message, **more)


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)
