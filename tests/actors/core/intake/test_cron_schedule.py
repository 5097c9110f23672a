"""When crons are due: what is accepted, what is refused and why, time zones and their jumps."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from ollama_queue import Invalid
from ollama_queue.actors.core.intake.cron_schedule import ALIASES, check, next_after, upcoming
from tests.support.servers.real_models import ROOT

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)  # a Thursday


def faces(expr: str, count: int, start: datetime = NOON, timezone: str = "UTC") -> list[str]:
    zone = ZoneInfo(timezone)
    return [f"{at.astimezone(zone):%m-%d %H:%M}" for at in upcoming(expr, timezone, start, count)]


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ("* * * * *", ["01-01 12:01", "01-01 12:02"]),
        ("0 * * * *", ["01-01 13:00", "01-01 14:00"]),
        ("0 9 * * 1-5", ["01-02 09:00", "01-05 09:00"]),
        ("30 8 * * 1", ["01-05 08:30", "01-12 08:30"]),
        ("*/15 * * * *", ["01-01 12:15", "01-01 12:30"]),
        ("5/20 * * * *", ["01-01 12:05", "01-01 12:25"]),
        ("10-50/20 * * * *", ["01-01 12:10", "01-01 12:30", "01-01 12:50", "01-01 13:10"]),
        ("0 22-1 * * *", ["01-01 22:00", "01-01 23:00", "01-02 00:00", "01-02 01:00"]),
        ("0 0 * * 0", ["01-04 00:00", "01-11 00:00"]),
        ("0 0 * * 7", ["01-04 00:00", "01-11 00:00"]),
        ("0 0 * * 5-7", ["01-02 00:00", "01-03 00:00", "01-04 00:00", "01-09 00:00"]),
        ("0 0 * * 7-1", ["01-04 00:00", "01-05 00:00", "01-11 00:00"]),
        ("0 0 * * Sat-Sun", ["01-03 00:00", "01-04 00:00", "01-10 00:00"]),
        ("0 0 * * mon,WED", ["01-05 00:00", "01-07 00:00"]),
        ("0 0 1 feb,nov-dec *", ["02-01 00:00", "11-01 00:00", "12-01 00:00", "02-01 00:00"]),
        ("  0   0 1 1 * ", ["01-01 00:00"]),
        ("@hourly", ["01-01 13:00", "01-01 14:00"]),
        ("@daily", ["01-02 00:00", "01-03 00:00"]),
        ("@weekly", ["01-04 00:00", "01-11 00:00"]),
        ("@Monthly", ["02-01 00:00", "03-01 00:00"]),
        ("@yearly", ["01-01 00:00"]),
    ],
)
def test_when_it_is_due(expr: str, expected: list[str]) -> None:
    assert faces(expr, len(expected)) == expected


def test_day_of_month_or_day_of_week() -> None:
    assert faces("0 0 10 * 1", 4) == ["01-05 00:00", "01-10 00:00", "01-12 00:00", "01-19 00:00"]
    assert faces("0 0 * * 1", 2) == ["01-05 00:00", "01-12 00:00"]
    assert faces("0 0 10 * */1", 2) == ["01-10 00:00", "02-10 00:00"]


# By vixie cron's rule: of a day field that begins with `*` both must fit, else either will do.
DAYS = {
    "*/2 * 1": lambda day, week: day % 2 == 1 and week == 1,
    "1-31/2 * 1": lambda day, week: day % 2 == 1 or week == 1,
    "1 * */2": lambda day, week: day == 1 and week % 2 == 0,
    "1 * 0-6/2": lambda day, week: day == 1 or week % 2 == 0,
    "*/10 * */3": lambda day, week: day in (1, 11, 21, 31) and week in (0, 3, 6),
    "*,5 * 1": lambda day, week: week == 1,
    "1,* * 1": lambda day, week: True,
    "*/1 * 5": lambda day, week: week == 5,
    "13 * 5": lambda day, week: day == 13 or week == 5,
    "13 * *": lambda day, week: day == 13,
    "* * *": lambda day, week: True,
    "*/7 feb 7": lambda day, week: day in (1, 8, 15, 22, 29) and week == 0,
}


@pytest.mark.parametrize("days", DAYS)
def test_both_day_fields_must_fit_where_one_begins_with_a_star(days: str) -> None:
    is_due = DAYS[days]
    months = (2,) if "feb" in days else range(1, 13)
    year = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(365)]
    expected = [at for at in year if at.month in months and is_due(at.day, at.isoweekday() % 7)]

    found, at = [], datetime(2025, 12, 31, 23, 59, tzinfo=UTC)
    while (at := next_after(f"0 0 {days}", "UTC", at) or year[-1]) < year[-1]:
        found.append(at)

    assert found == expected[: len(found)]
    assert len(found) >= len(expected) - 1


def test_a_leap_day_at_a_weekend_is_waited_for_and_a_day_that_never_fits_refused() -> None:
    assert [at.year for at in upcoming("0 0 29 2 */6", "UTC", NOON, 2)] == [2032, 2048]
    with pytest.raises(Invalid, match="never occurs"):
        check("0 0 30 2 */2")


def test_a_leap_day_is_waited_for() -> None:
    assert [at.year for at in upcoming("0 0 29 2 *", "UTC", NOON, 3)] == [2028, 2032, 2036]


@pytest.mark.parametrize(
    ("expr", "words"),
    [
        ("0 9 * *", "has 4 fields, it must have five: minute, hour, day of month, month, day"),
        ("0 0 9 * * 1", "has 6 fields"),
        ("", "has 0 fields"),
        ("hourly", "has 1 field, "),
        ("60 * * * *", "minute '60': it must be 0 to 59"),
        ("* 24 * * *", "hour '24': it must be 0 to 23"),
        ("* * 0 * *", "day of month '0': it must be 1 to 31"),
        ("* * * 13 *", "month '13': it must be 1 to 12, or jan and so on"),
        ("* * * * 8", "day of week '8': it must be 0 to 7, or sun and so on"),
        ("* * * * monday", "day of week 'monday'"),
        ("*/0 * * * *", "minute '*/0': a step must be 1 to 59"),
        ("*/60 * * * *", "minute '*/60': a step must be 1 to 59"),
        ("*/ * * * *", "minute '*/': a step"),
        ("1,,2 * * * *", "minute '1,,2'"),
        ("1- * * * *", "minute '1-'"),
        ("-1 * * * *", "minute '-1'"),
        ("1-2-3 * * * *", "minute '1-2-3'"),
        ("\u0661 * * * *", "minute"),
        ("R * * * *", "minute 'r'"),
        ("H H * * *", "minute 'h'"),
        ("R(0-9) * * * *", "minute 'r(0-9)'"),
        ("0 0 L * *", "day of month 'l'"),
        ("0 0 1W * *", "day of month '1w'"),
        ("0 0 ? * *", "day of month '?'"),
        ("0 0 * * 5#2", "day of week '5#2'"),
        ("@reboot", "@reboot is not an alias; the aliases are @hourly, @daily"),
        ("@every 5m", "has 2 fields"),
        ("0 0 31 2 *", "'0 0 31 2 *' never occurs"),
        ("0 0 31 feb,apr,jun *", "never occurs"),
        (5, "it must be a string of five fields"),
        (None, "it must be a string of five fields"),
    ],
)
def test_what_is_refused_and_why(expr: object, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        check(expr)

    assert refused.value.field == "cron_expr"
    assert refused.value.message.startswith("cron_expr: ")
    assert words in refused.value.message


@pytest.mark.parametrize("name", ["", "Mars/Base", "Europe", "../etc/passwd", 5, None, "a\0b"])
def test_an_unknown_time_zone_is_refused(name: object) -> None:
    with pytest.raises(Invalid, match="is not a time zone, write a name such as UTC") as refused:
        check("* * * * *", name)
    assert refused.value.field == "timezone"


@pytest.mark.parametrize("count", [0, 101, True, 2.0])
def test_a_count_has_bounds(count: int) -> None:
    with pytest.raises(Invalid, match="count must be"):
        upcoming("* * * * *", "UTC", NOON, count)


def test_no_time_is_left_at_the_end_of_the_calendar() -> None:
    assert next_after("* * * * *", "UTC", datetime(9999, 12, 31, 23, 59, tzinfo=UTC)) is None


# --- daylight saving ------------------------------------------------------------------------------


def test_a_skipped_time_is_due_once_after_the_jump() -> None:
    """New York, 2026-03-08: 02:00 to 03:00 does not happen."""
    before = datetime(2026, 3, 8, 5, tzinfo=UTC)
    assert faces("30 2 * * *", 2, before, "America/New_York") == ["03-08 03:00", "03-09 02:30"]
    assert faces("*/20 2 * * *", 2, before, "America/New_York") == ["03-08 03:00", "03-09 02:00"]
    assert faces("0 2,3 * * *", 2, before, "America/New_York") == ["03-08 03:00", "03-09 02:00"]


def test_a_repeated_hour_runs_once() -> None:
    """New York, 2026-11-01: 01:00 to 02:00 happens twice."""
    before = datetime(2026, 11, 1, 4, 59, tzinfo=UTC)
    half = list(upcoming("*/30 * * * *", "America/New_York", before, 5))
    assert [f"{at:%H:%M}" for at in half] == ["05:00", "05:30", "07:00", "07:30", "08:00"]
    daily = list(upcoming("30 1 * * *", "America/New_York", before, 2))
    assert [f"{at:%d %H:%M}" for at in daily] == ["01 05:30", "02 06:30"]
    within = datetime(2026, 11, 1, 6, 10, tzinfo=UTC)  # the second 01:10
    assert next_after("30 1 * * *", "America/New_York", within) == daily[1]


def test_a_whole_day_may_be_skipped() -> None:
    """Samoa had no 2011-12-30."""
    before = datetime(2011, 12, 30, 9, 30, tzinfo=UTC)  # the 29th, 23:30
    assert faces("0 12 * * *", 2, before, "Pacific/Apia") == ["12-31 00:00", "12-31 12:00"]


# --- properties -----------------------------------------------------------------------------------


def numbers(low: int, high: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """A field as text, with the values that it means."""
    value = st.integers(low, high)
    one = value.map(lambda n: (str(n), frozenset({n})))
    span = st.tuples(value, value).map(
        lambda pair: (f"{min(pair)}-{max(pair)}", frozenset(range(min(pair), max(pair) + 1)))
    )
    step = st.integers(2, high).map(lambda n: (f"*/{n}", frozenset(range(low, high + 1, n))))
    some = st.lists(one | span, min_size=1, max_size=3).map(
        lambda parts: (",".join(p[0] for p in parts), frozenset().union(*(p[1] for p in parts)))
    )
    every = st.just(("*", frozenset(range(low, high + 1))))
    return one | span | step | some | every


FIELDS = st.tuples(numbers(0, 59), numbers(0, 23), numbers(1, 31), numbers(1, 12), numbers(0, 6))
INSTANTS = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(
    lambda face: face.replace(tzinfo=UTC)
)
ZONES = st.sampled_from(
    ["UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"]
)


def fits(face: datetime, fields: tuple[tuple[str, frozenset[int]], ...]) -> bool:
    minute, hour, day, month, weekday = fields
    by_date, by_day = face.day in day[1], face.isoweekday() % 7 in weekday[1]
    has_star = day[0].startswith("*") or weekday[0].startswith("*")
    by_days = by_date and by_day if has_star else by_date or by_day
    return face.minute in minute[1] and face.hour in hour[1] and face.month in month[1] and by_days


def accepted(fields: tuple[tuple[str, frozenset[int]], ...]) -> str:
    """The expression, unless it never occurs."""
    expr = " ".join(text for text, _ in fields)
    try:
        check(expr)
    except Invalid as refused:
        assert "never occurs" in refused.message
        reject()
    return expr


@given(FIELDS, INSTANTS, ZONES)
def test_each_time_is_later_and_fits(fields, start: datetime, timezone: str) -> None:
    expr, zone = accepted(fields), ZoneInfo(timezone)
    at = start
    for _ in range(3):
        found = next_after(expr, timezone, at)
        assert found is not None
        assert found > at
        assert (found.second, found.microsecond, found.tzinfo) == (0, 0, UTC)
        face = found.astimezone(zone)
        jumped = face.utcoffset() != (found - timedelta(seconds=1)).astimezone(zone).utcoffset()
        assert jumped or fits(face, fields)
        at = found


@given(FIELDS, INSTANTS)
def test_no_time_is_left_out(fields, start: datetime) -> None:
    """Of the minutes of the next hours none fits before the one that was found."""
    found = next_after(accepted(fields), "UTC", start)
    assert found is not None
    minute = start.replace(second=0, microsecond=0) + timedelta(minutes=1)
    while minute < min(found, start + timedelta(hours=6)):
        assert not fits(minute, fields)
        minute += timedelta(minutes=1)


@given(st.text(max_size=30) | st.from_regex(r"[0-9*/,\-a-zA-Z@# ]{1,20}", fullmatch=True))
def test_whatever_is_written_is_accepted_or_refused(text: str) -> None:
    try:
        check(text)
    except Invalid:
        return
    assert next_after(text, "UTC", NOON) is not None


def test_every_alias_works() -> None:
    for alias in ALIASES:
        check(alias)


def test_croniter_is_not_loaded_for_nothing() -> None:
    module = "ollama_queue.actors.core.intake.cron_schedule"
    program = f"import sys, {module}; print('croniter' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
