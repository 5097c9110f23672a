"""Checks what a caller asks of history and usage."""

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

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


def checked_tenant(tenant: object) -> str | None:
    if tenant is None:
        return None
    if not isinstance(tenant, str):
        raise Invalid("tenant must be a string", field="tenant")
    plain = str.__str__(tenant)
    limits.check_text(plain, "tenant")
    return arguments.unicode(plain, "tenant")


def _dimensions(by: object) -> tuple[Dimension, ...]:
    if by is None:
        return ()
    names = by.split(",") if isinstance(by, str) else by
    if not isinstance(names, Collection) or len(names) > len(Dimension):
        raise Invalid(f"by must be some of {', '.join(Dimension)}", field="by")
    return tuple(dict.fromkeys(_member(Dimension, name, "by") for name in names))


def _member(kind: type[E], value: object, name: str) -> E:
    for member in kind:
        if isinstance(value, str) and value == member.value:
            return member
    raise Invalid(f"{name} must be one of {', '.join(kind)}", field=name)


def _instant(value: object, name: str, default: float) -> float:
    if value is None:
        return default
    time: datetime = parse_time(value, name)
    return time.timestamp()
