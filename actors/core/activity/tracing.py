"""Trace context (W3C Trace Context, level 1): what a request's headers say of its trace."""

import re
from collections.abc import Mapping
from hashlib import sha256

from msgspec import Struct

MOST_STATE = 512  # characters of `tracestate`; the recommendation wants no more to be passed on
MOST_MEMBERS = 32
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE = re.compile(r"[\x20-\x7e\t]*")


class TraceContext(Struct, frozen=True):
    """The trace that a task belongs to: `traceparent`, and the vendors' `tracestate` or None."""

    traceparent: str
    tracestate: str | None = None


def read_parent(value: str) -> str | None:
    """A `traceparent` in version 00; None if it is not valid, which is to be ignored (section 3.2).

    Of a later version, the parts that are known are taken (section 3.2.4).
    """
    match = _PARENT.fullmatch(value.strip())
    if match is None:
        return None
    version, trace, parent, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest):
        return None
    if not int(trace, 16) or not int(parent, 16):
        return None
    sampled = int(flags, 16) & 1  # the only flag of version 00
    return f"00-{trace}-{parent}-{sampled:02x}"


def read_state(value: str | None) -> str | None:
    """A `tracestate`; None without one, or if it is too long or malformed, to be dropped."""
    text = (value or "").strip()
    if not text or len(text) > MOST_STATE or not _STATE.fullmatch(text):
        return None
    members = [member for member in text.split(",") if member.strip()]
    if len(members) > MOST_MEMBERS or not all("=" in member for member in members):
        return None
    return text


def trace_of(traceparent: str | None, tracestate: str | None) -> TraceContext | None:
    """The context in these headers; None if there is none, or it is not valid."""
    parent = None if traceparent is None else read_parent(traceparent)
    return None if parent is None else TraceContext(parent, read_state(tracestate))


def span_id(task_id: str, part: str) -> str:
    """The id of a span of a task: 16 hexadecimal digits, the same whoever computes it."""
    return sha256(f"{task_id}/{part}".encode()).hexdigest()[:16]


def child_of(traceparent: str, task_id: str, attempt: int) -> str:
    """The `traceparent` for the call of an attempt: a child in the same trace."""
    trace, _, flags = traceparent[3:].split("-")
    return f"00-{trace}-{span_id(task_id, str(attempt))}-{flags}"


def is_export_configured(environ: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's environment variables name where spans go."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return any(environ.get(name) for name in names)
