"""Checks what a caller asks of history and usage."""

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from ..activity.audit import AuditQuery
from ..activity.reports import HistoryQuery, UsageQuery
from ..activity.spans import Dimension, Resolution, Span
from ..model import limits
from ..model.errors import Invalid
from . import arguments
from .submission import parse_time

USAGE_S = 30 * 86400.0  # how far back usage goes unless `since` says
BY_HOURS_S = 7 * 86400.0  # usage since then is counted in hours, any older in days

E = TypeVar("E", bound=StrEnum)


def history_query(span: object, by: object, tenant: object, now: float) -> HistoryQuery:
    """Raises `Invalid`, naming the argument. `now` is in seconds since 1970."""
    dimension = None if by is None else _member(Dimension, by, "by")
    return HistoryQuery(_member(Span, span, "span"), now, dimension, checked_tenant(tenant))


def usage_query(since: object, until: object, by: object, tenant: object, now: float) -> UsageQuery:
    """Widened to whole hours of UTC, or to whole days if it begins over 7 days ago.

    Raises `Invalid`, naming the argument.
    """
    begin = _instant(since, "since", now - USAGE_S)
    end = _instant(until, "until", now)
    if end < begin:
        raise Invalid("until must not be before since", field="until")
    resolution = Resolution.HOUR if begin >= now - BY_HOURS_S else Resolution.DAY
    seconds = resolution.minutes * 60
    first, last = int(begin // seconds), int(end // seconds)
    if end % seconds == 0 and last > first:  # up to midnight is not the next day
        last -= 1
    return UsageQuery(resolution, first, last, _dimensions(by), checked_tenant(tenant))


def audit_query(
    who: object,
    action: object,
    target: object,
    since: object,
    until: object,
    limit: object,
    cursor: object,
    tenant: object,
) -> AuditQuery:
    """Raises `Invalid`, naming the argument."""
    before = None
    if cursor is not None:
        text = _checked_text(cursor, "cursor")
        if text is None or not (text.isascii() and text.isdigit() and len(text) < 20):
            raise Invalid("cursor must be that of a page", field="cursor")
        before = min(int(text), (1 << 63) - 1)
    return AuditQuery(
        limit=arguments.whole(limit, "limit", 1, 1000),
        before=before,
        who=_checked_text(who, "who"),
        action=_checked_text(action, "action"),
        target=_checked_text(target, "target"),
        since=None if since is None else parse_time(since, "since"),
        until=None if until is None else parse_time(until, "until"),
        tenant=checked_tenant(tenant),
    )


def checked_tenant(tenant: object) -> str | None:
    return _checked_text(tenant, "tenant")


def _checked_text(value: object, name: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise Invalid(f"{name} must be a string", field=name)
    plain = str.__str__(value)
    limits.check_text(plain, name)
    return arguments.unicode(plain, name)


def _dimensions(by: object) -> tuple[Dimension, ...]:
    if by is None:
        return ()
    with arguments.reading("by"):
        names = str.__str__(by).split(",") if isinstance(by, str) else by
        if not isinstance(names, Collection) or len(names) > len(Dimension):
            raise Invalid(f"by must be some of {', '.join(Dimension)}", field="by")
        return tuple(dict.fromkeys(_member(Dimension, name, "by") for name in names))


def _member(kind: type[E], value: object, name: str) -> E:
    for member in kind:
        if isinstance(value, str) and str.__str__(value) == member.value:
            return member
    raise Invalid(f"{name} must be one of {', '.join(kind)}", field=name)


def _instant(value: object, name: str, default: float) -> float:
    if value is None:
        return default
    time: datetime = parse_time(value, name)
    return time.timestamp()
