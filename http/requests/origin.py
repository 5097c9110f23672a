"""Where a request comes from, for the audit log."""

from ...actors.core.activity.audit import NOBODY, Origin
from ...actors.core.activity.tracing import TraceContext, trace_of
from .. import wire
from .exchange import current

DOORS = {wire.CLIENT: "client", wire.CLI: "cli"}  # by User-Agent


def origin_of_request() -> Origin:
    """The origin of the request being handled; the program's own if there is none."""
    try:
        exchange = current()
    except LookupError:
        return Origin()
    headers, caller = exchange.headers, exchange.caller
    door = DOORS.get(headers.get("user-agent", ""), "http")
    if headers.get("sec-fetch-site") == "same-origin":
        door = "page"
    return Origin(caller.name or NOBODY, door, exchange.address, caller.tenant)


def trace_of_request() -> TraceContext | None:
    """The trace that the request being handled says it belongs to."""
    try:
        headers = current().headers
    except LookupError:
        return None
    parent = headers.get("traceparent")
    return None if parent is None else trace_of(parent, headers.get("tracestate"))
