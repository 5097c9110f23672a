"""Turns HTTP statuses and httpx errors into a `Failed`, with a sentence and a verdict."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import httpx
import msgspec

from ..core.model.outcomes import Failed, Verdict
from ..core.model.tasks import Upstream
from .permanent_errors import is_permanent

# How Ollama, LiteLLM, vLLM and OpenAI report a model that they do not have.
_NO_MODEL = re.compile(r"\bmodel\b.*\b(not found|does not exist)\b", re.IGNORECASE)


MAX_FIELD = 256  # characters of a type, code or param
MAX_TEXT = 64 << 10  # characters of a message that are searched: more than are shown


class CallFailed(Exception):
    """Carries a call's failure up to `run`."""

    def __init__(self, outcome: Failed) -> None:
        super().__init__(outcome.error)
        self.outcome = outcome


class NotServed(CallFailed):
    """The server does not have the requested path (404, 405)."""


def failure_of_status(
    who: str, status: int, headers: Mapping[str, str], body: bytes, now: datetime
) -> Failed:
    """The failure for an answer that is not 2xx."""
    verdict = verdict_of_status(status)
    wait_s = None
    if verdict in (Verdict.RETRY, Verdict.REFUSED):
        told_at = _date(headers.get("date", "")) or now  # by the server's clock, like the date
        wait_s = retry_after_s(headers.get("retry-after", ""), told_at)
    upstream = server_error(body) or Upstream(_phrase(status))
    message = one_line(upstream.message)
    if status == 404 and (_NO_MODEL.search(message) or b"model_not_found" in body):
        verdict = Verdict.NO_MODEL
    if status == 500 and is_permanent(message):
        verdict, wait_s = Verdict.FINAL, None
    return Failed(f"{who} answered {status}: {message}", verdict, wait_s, status, upstream)


def verdict_of_status(status: int) -> Verdict:
    match status:
        case 503:
            return Verdict.REFUSED
        case 408 | 425 | 429 | 500:
            return Verdict.RETRY
        case _:
            return Verdict.RETRY if status > 501 else Verdict.FINAL


def verdict_of_error(upstream: Upstream) -> Verdict:
    """The verdict for an error in an answer with status 200: some servers put a status in it."""
    if type(upstream.code) is int and 400 <= upstream.code < 500:
        return verdict_of_status(upstream.code)
    return Verdict.FINAL if is_permanent(one_line(upstream.message)) else Verdict.RETRY


def failure_of_error(who: str, url: str, error: httpx.TransportError, silence_s: float) -> Failed:
    """The failure of a call without a complete answer."""
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout():
            return Failed(f"no connection to {url}: {error}", Verdict.REFUSED)
        case httpx.TimeoutException():
            return Failed(f"no byte from {who} for {silence_s:g} s", Verdict.CUT)
        case httpx.LocalProtocolError():
            return Failed(f"cannot send the request to {who}: {error}", Verdict.FINAL)
        case _:
            return Failed(f"the connection to {who} broke: {error}", Verdict.CUT)


def retry_after_s(value: str, now: datetime) -> float | None:
    """Read a Retry-After header, seconds or a date, as seconds from `now`; None for others."""
    try:
        seconds = float(value)
    except ValueError:
        then = _date(value)
        if then is None:
            return None
        seconds = (then - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _date(value: str) -> datetime | None:
    """Parse an HTTP date. It is GMT, even if written as `-0000` and thus parsed without a zone."""
    try:
        parsed = parsedate_to_datetime(value)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def server_error(body: bytes) -> Upstream | None:
    """The error in a body: Ollama's or OpenAI's form, or else its text."""
    try:
        answer = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        text = body.decode("utf-8", "replace").strip()
        # Do not show a proxy's HTML page as a message.
        return None if not text or text.startswith("<") else Upstream(text)
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if isinstance(answer, dict) and answer.get("error"):
        return upstream_of(answer["error"])
    return upstream_of(answer) if answer else None


def upstream_of(error: Any) -> Upstream:
    """Read an `error` field: text, or an object with a message or a detail, and OpenAI's fields."""
    more: dict[str, Any] = {}
    if isinstance(error, dict):
        more = {name: _field(error.get(name)) for name in ("type", "code", "param")}
        named = (error.get(name) for name in ("message", "detail"))
        error = next((text for text in named if isinstance(text, str)), error)
    text = error if isinstance(error, str) else msgspec.json.encode(error).decode()
    return Upstream(text.strip()[:MAX_TEXT], **more)


def _field(value: Any) -> Any:
    """A short text or a number as it is; None for anything else."""
    if isinstance(value, str):
        return value[:MAX_FIELD]
    return value if type(value) is int and abs(value) < 1 << 53 else None


def one_line(text: str) -> str:
    return " ".join(text.split())


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason given"
