"""Rates and budgets: what they let pass, at any times."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from ollama_queue.actors.core.access.meters import (
    Failures,
    TokenBucket,
    next_day,
    next_month,
    read_rate,
)
from ollama_queue.actors.core.model.access_keys import TenantUsage

STEPS = st.lists(st.floats(0, 100, allow_nan=False), max_size=60)
SPANS = st.sampled_from([1.0, 60.0, 3600.0])
NOWS = st.lists(st.floats(0, 4e9), min_size=1, max_size=30)


@given(count=st.integers(1, 50), per_s=SPANS, steps=STEPS)
def test_no_span_lets_more_pass_than_a_full_bucket_and_what_flows_in(
    count: int, per_s: float, steps: list[float]
) -> None:
    bucket, now = TokenBucket(count, per_s, 0.0), 0.0
    passed: list[float] = []
    for step in steps:
        now += step
        if not bucket.take(now):
            passed.append(now)

    for first in range(len(passed)):
        for last in range(first, len(passed)):
            span = passed[last] - passed[first]
            assert last - first + 1 <= count + span * count / per_s + 1e-6


@given(count=st.integers(1, 50), per_s=SPANS, takes=st.integers(0, 99))
def test_who_waits_as_told_gets_through(count: int, per_s: float, takes: int) -> None:
    bucket = TokenBucket(count, per_s, 0.0)
    for _ in range(takes):
        bucket.take(0.0)

    wait = bucket.take(0.0)

    assert (wait == 0.0) == (takes < count)
    if wait:
        assert bucket.take(wait + 1e-6) == 0.0


def test_a_clock_that_goes_back_fills_nothing() -> None:
    bucket = TokenBucket(1, 1.0, 100.0)

    assert bucket.take(100.0) == 0.0
    assert bucket.take(50.0) > 0


@given(nows=NOWS, tokens=st.integers(0, 1000))
def test_counts_are_those_of_the_newest_day_and_its_month(nows: list[float], tokens: int) -> None:
    usage = TenantUsage()
    days: list[int] = []
    for now in nows:
        usage = usage.at(now).plus(1, tokens)
        days.append(max([int(now // 86_400), *days]))  # a clock may go back

    def month(day: int) -> tuple[int, int]:
        date = datetime.fromtimestamp(day * 86_400, UTC)
        return date.year, date.month

    today = days[-1]
    assert usage.day_requests == days.count(today)
    assert usage.month_requests == sum(month(day) == month(today) for day in days)
    assert usage.day_tokens == tokens * usage.day_requests
    assert usage.month_tokens == tokens * usage.month_requests


@given(now=st.floats(0, 4e9))
def test_a_budget_begins_anew_with_the_next_day_and_month(now: float) -> None:
    used = TenantUsage().at(now).plus(3, 5)

    day, month = used.at(next_day(now)), used.at(next_month(now))

    assert now < next_day(now) <= now + 86_400
    assert now < next_month(now) <= now + 31 * 86_400
    assert (day.day_requests, day.day_tokens) == (0, 0)
    assert (month.month_requests, month.month_tokens) == (0, 0)


def test_rates_are_written_as_documented() -> None:
    assert [read_rate(each) for each in ("10/s", " 100/m ", "1000/h")] == [
        (10, 1.0),
        (100, 60.0),
        (1000, 3600.0),
    ]
    assert not any(map(read_rate, ("", "10", "0/s", "-1/s", "1.5/s", "10/d", "10 / s", "١/s")))


@given(st.lists(st.tuples(st.integers(0, 3000), st.floats(0, 10)), max_size=300))
def test_failures_are_delayed_each_longer_and_few_addresses_are_kept(
    failed: list[tuple[int, float]],
) -> None:
    failures, now = Failures(most=10), 0.0
    for address, step in failed:
        now += step
        assert 0.0 <= failures.note(str(address), now) <= 4.0
        assert len(failures) <= 10

    delays = [failures.note("same", now) for _ in range(20)]
    assert delays == sorted(delays)
    assert delays[:5] == [0.0] * 5 and delays[-1] == 4.0
    assert failures.note("same", now + 301) == 0.0
