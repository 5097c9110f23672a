"""When a cron is due: five fields or an alias, in a time zone.

Fields are parsed here, so that errors can name them, and passed to croniter as plain lists.
croniter counts in local time without a zone; daylight saving time is handled here: a time that is
skipped is due at the jump, one that occurs twice is due the first time.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from ..model import limits
from ..model.errors import Invalid

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_BEGIN = datetime(2000, 1, 1)
MOST_TIMES = 100


class _Field(Struct, frozen=True):
    name: str
    low: int
    high: int
    names: Mapping[str, int] = {}


class Lists(NamedTuple):
    """An expression in which each field is a list of numbers, or `*`.

    `both_days`: both the day of month and the day of week must match, not just either.
    """

    text: str
    both_days: bool


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    _Field("day of week", 0, 6, {name: number for number, name in enumerate(_DAYS)}),
)


def check(expr: object, timezone: object = "UTC") -> None:
    """Raise `Invalid`, with a reason that names the field, if it is not a cron expression."""
    if not isinstance(expr, str):
        raise _wrong("it must be a string of five fields, such as 0 9 * * 1-5")
    limits.check_text(expr, "cron_expr", limits.CRON_EXPR)
    zone_of(timezone)
    if _next_on_the_face(_lists(expr), _BEGIN) is None:
        raise _wrong(f"{expr!r} never occurs: none of its months has such a day")


def next_after(expr: str, timezone: str, instant: datetime) -> datetime | None:
    """The first time after `instant` (aware), in UTC; None if there is none.

    Raises `Invalid` as `check` does.
    """
    zone, lists = zone_of(timezone), _lists(expr)
    face = _next_on_the_face(lists, instant.astimezone(zone).replace(tzinfo=None))
    while face is not None:
        candidate = _instant_of(face, zone)
        if (
            candidate > instant
        ):  # in the second of two equal hours, the times of the first come again
            return candidate
        face = _next_on_the_face(lists, face)
    return None


def upcoming(expr: str, timezone: str, instant: datetime, count: int = 5) -> Iterator[datetime]:
    """The next `count` times after `instant`, or fewer if there are no more. Raises `Invalid`.

    It raises at once; a rare time takes some milliseconds to find.
    """
    check(expr, timezone)
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_TIMES:
        raise Invalid(f"count must be a whole number from 1 to {MOST_TIMES}", field="count")
    return islice(_times(expr, timezone, instant), count)


def _times(expr: str, timezone: str, instant: datetime) -> Iterator[datetime]:
    due = next_after(expr, timezone, instant)
    while due is not None:
        yield due
        due = next_after(expr, timezone, due)


# --- local time ---------------------------------------------------------------------------------


def _next_on_the_face(lists: Lists, face: datetime) -> datetime | None:
    from croniter import CroniterError  # takes 50 ms, so only with crons

    counting = copy.copy(_counter(lists))
    counting.set_current(face, force=True)
    try:
        face_time: datetime = counting.get_next()
    except (CroniterError, OverflowError):
        return None
    return face_time


@lru_cache(maxsize=1024)
def _counter(lists: Lists) -> Any:
    """A counter to copy, not to advance: parsing takes five times as long as counting."""
    from croniter import croniter

    return croniter(lists.text, _BEGIN, ret_type=datetime, day_or=not lists.both_days)


def _instant_of(face: datetime, zone: tzinfo) -> datetime:
    instant = face.replace(tzinfo=zone).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == face:
        return instant
    # The clock never shows this time: find the instant of the jump, somewhere before `instant`.
    early, late = face.replace(tzinfo=zone, fold=1).astimezone(UTC), instant
    before = early.astimezone(zone).utcoffset()
    while late - early > timedelta(seconds=1):
        middle = early + (late - early) // 2
        if middle.astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late.replace(microsecond=0)


def zone_of(name: object) -> tzinfo:
    """The time zone with this name. Raises `Invalid`."""
    if name == "UTC":  # works without a zone database
        return UTC
    if isinstance(name, str):
        limits.check_text(name, "timezone")
        with suppress(ZoneInfoNotFoundError, ValueError, TypeError, AttributeError, OSError):
            return ZoneInfo(name)
    raise Invalid(
        f"timezone: {name!r} is not a time zone, write a name such as UTC or Europe/Berlin",
        field="timezone",
    )


# --- parsing ------------------------------------------------------------------------------------


def _lists(expr: str) -> Lists:
    fields = expr.strip().lower().split()
    if len(fields) == 1 and fields[0].startswith("@"):
        if fields[0] not in ALIASES:
            raise _wrong(f"{fields[0]} is not an alias; the aliases are {', '.join(ALIASES)}")
        fields = ALIASES[fields[0]].split()
    if len(fields) != len(_FIELDS):
        names = ", ".join(field.name for field in _FIELDS)
        count = f"{len(fields)} field{'' if len(fields) == 1 else 's'}"
        raise _wrong(f"{expr!r} has {count}, it must have five: {names}")
    text = " ".join(_list(field, word) for field, word in zip(_FIELDS, fields, strict=True))
    # Vixie cron's DOM_STAR and DOW_STAR: a field that starts with a star, whatever follows.
    return Lists(text, fields[2].startswith("*") or fields[4].startswith("*"))


def _list(field: _Field, word: str) -> str:
    if word in ("*", "*/1"):
        return "*"
    values: set[int] = set()
    for part in word.split(","):
        values.update(_values(field, part, word))
    return ",".join(map(str, sorted(values)))


def _values(field: _Field, part: str, word: str) -> list[int]:
    """`*`, a value or a range, each with or without a step."""
    span, slash, step = part.partition("/")
    first, dash, last = span.partition("-")
    every = _number(step, 1, field.high, word, field, "a step") if slash else 1
    if span == "*":
        low, high = field.low, field.high
    else:
        low = _value(field, first, word)
        high = _value(field, last, word) if dash else field.high if slash else low
    if field is _FIELDS[-1] and low == 7 and high != 7:
        low = 0
    values = list(range(low, high + 1))
    if low > high:  # around the end, such as sat-sun or 22-2
        values = [*range(low, field.high + 1), *range(field.low, high + 1)]
    return [0 if field is _FIELDS[-1] and value == 7 else value for value in values[::every]]


def _value(field: _Field, text: str, word: str) -> int:
    if text in field.names:
        return field.names[text]
    sunday = 1 if field is _FIELDS[-1] else 0  # 7 is allowed as well
    return _number(text, field.low, field.high + sunday, word, field, "it")


def _number(text: str, low: int, high: int, word: str, field: _Field, what: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else -1
    if low <= number <= high:
        return number
    names = f", or {next(iter(field.names))} and so on" if field.names and what == "it" else ""
    forms = " (values, ranges a-b, lists a,b and steps */n)"
    raise _wrong(f"{field.name} {word!r}: {what} must be {low} to {high}{names}{forms}")


def _wrong(reason: str) -> Invalid:
    return Invalid(f"cron_expr: {reason}", field="cron_expr")
