"""History counts each event once; rows add up, percentiles are close, names are bounded."""

import math
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_queue.actors.core.activity import reports
from ollama_queue.actors.core.activity.distribution import Distribution
from ollama_queue.actors.core.activity.history import PACE_S, History
from ollama_queue.actors.core.activity.reports import HistoryQuery, Row, UsageQuery
from ollama_queue.actors.core.activity.spans import Dimension, Resolution, Span
from ollama_queue.actors.core.activity.tallies import MOST_KINDS, OTHER, Kind, KindTally, Tallies
from ollama_queue.actors.core.model.events import EventRecord
from ollama_queue.actors.core.model.stats import Period
from ollama_queue.actors.core.model.tasks import ErrorCode, Record, Status, TaskType
from ollama_queue.actors.core.plan.settle import utc

BEGIN = 1_700_000_040.0  # a minute's first second
ENDS = {
    "task_completed": Status.COMPLETED,
    "task_failed": Status.FAILED,
    "task_cancelled": Status.CANCELLED,
}


def event(name: str, seconds: float, **facts: Any) -> EventRecord:
    """Something that happened so many seconds after `BEGIN`."""
    at = utc(BEGIN + seconds)
    made = {
        "id": "a",
        "type": TaskType.GENERATE,
        "model": "m",
        "priority": 5,
        "max_retries": 3,
        "created_at": at,
        "queued_at": at,
        "status": ENDS.get(name, Status.PENDING),
        **facts,
    }
    return EventRecord(name, Record(**made), at, seq=1)


def start(seconds: float, waited: float, attempt: int = 1) -> EventRecord:
    at = utc(BEGIN + seconds)
    queued = at - timedelta(seconds=waited)
    return event("task_started", seconds, queued_at=queued, started_at=at, attempt=attempt)


def completion(seconds: float, ran: float, **facts: Any) -> EventRecord:
    at = utc(BEGIN + seconds)
    started = at - timedelta(seconds=ran)
    return event("task_completed", seconds, started_at=started, completed_at=at, **facts)


def after(*events: EventRecord) -> History:
    history = History()
    for each in events:
        history.take(each)
    return history


def rows(history: History) -> list[Row]:
    return [(part.minute, list(part.tallies)) for part in history.unsaved()]


def last_hour(history: History, seconds: float, **more: Any) -> list[Period]:
    query = HistoryQuery(Span.HOUR, BEGIN + seconds, **more)
    return reports.history(rows(history), query)


def counts(period: Period) -> dict[str, int]:
    names = (
        "submitted",
        "started",
        "completed",
        "failed",
        "cancelled",
        "retried",
        "tokens",
        "expired",
    )
    return {name: getattr(period, name) for name in names if getattr(period, name)}


def test_each_event_counts_in_its_minute() -> None:
    history = after(
        event("task_submitted", 0),
        event("task_submitted", 59.9),
        event("task_submitted", 60),
        event("task_completed", 61, tokens=7),
        event("task_completed", 62, tokens=5),
        event("task_failed", 63, tokens=99, error_code=ErrorCode.EXPIRED),
        event("task_cancelled", 64),
        event("task_retrying", 65),
    )

    periods = last_hour(history, 130)
    assert [counts(period) for period in periods] == [
        {"submitted": 2},
        {
            "submitted": 1,
            "completed": 2,
            "failed": 1,
            "cancelled": 1,
            "retried": 1,
            "tokens": 12,
            "expired": 1,
        },
        {},
    ]
    assert [period.at for period in periods] == [utc(BEGIN + 60 * n) for n in range(3)]
    assert periods[1].throughput == 4


def test_what_was_handed_over_is_not_handed_over_again() -> None:
    history = after(event("task_submitted", 0), event("task_submitted", 60))

    assert [minute for minute, _ in rows(history)] == [BEGIN // 60, BEGIN // 60 + 1]
    assert not history
    assert rows(history) == []


def test_waits_are_those_of_first_starts() -> None:
    history = after(start(1, 0.5), start(2, 2.5), start(3, 100, attempt=2), start(4, -1))

    [period] = last_hour(history, 5)
    assert (period.started, period.wait_mean_s, period.wait_max_s) == (3, 1.0, 2.5)


def test_runs_are_those_of_completed_tasks() -> None:
    [period] = last_hour(after(completion(9, 3.0), event("task_failed", 9)), 10)

    assert (period.run_mean_s, period.run_max_s) == (3.0, 3.0)
    assert (period.wait_mean_s, period.wait_p99_s) == (None, None)


def test_other_events_count_nothing() -> None:
    history = after(
        event("priority_updated", 1),
        event("task_deleted", 1, status=Status.COMPLETED),
        EventRecord("queue_paused", None, utc(BEGIN), seq=2),
    )

    assert not history
    assert history.throughput(BEGIN + 1) == 0


def test_groups_have_periods_of_their_own() -> None:
    history = after(
        event("task_submitted", 0, model="X:latest", tags=["a", "b"]),
        event("task_submitted", 1, model="x", tenant="t"),
    )
    found = rows(history)

    def by(dimension: Dimension, tenant: str | None = None) -> dict[str | None, int]:
        query = HistoryQuery(Span.DAYS_3, BEGIN, dimension, tenant)
        return {each.group: each.submitted for each in reports.history(found, query)}

    assert by(Dimension.MODEL) == {"x": 2}
    assert by(Dimension.TAG) == {None: 1, "a": 1, "b": 1}
    assert by(Dimension.TENANT) == {None: 1, "t": 1}
    assert by(Dimension.BACKEND) == {None: 2}
    assert by(Dimension.TAG, "t") == {None: 1}
    assert by(Dimension.MODEL, "nobody") == {}


def test_history_names_the_largest_groups_and_sums_up_the_rest() -> None:
    tallies = Tallies()
    for number in range(reports.MOST_GROUPS + 5):
        tallies.of((f"m{number:02}", None, None, ())).submitted += 100 - number
    query = HistoryQuery(Span.HOUR, BEGIN, Dimension.MODEL)

    periods = reports.history([(int(BEGIN) // 60, tallies.all())], query)

    assert [period.group for period in periods] == [
        *(f"m{number:02}" for number in range(reports.MOST_GROUPS)),
        OTHER,
    ]
    assert periods[-1].submitted == sum(100 - n for n in range(20, 25))


def test_usage_is_by_any_combination() -> None:
    found = rows(
        after(
            completion(1, 2.0, tenant="t", tags=["a", "b"], prompt_tokens=3, tokens=4),
            completion(1, 1.0, tenant="u", tokens=9),
            event("task_failed", 1, tenant="t"),
        )
    )
    hour = int(BEGIN) // 3600

    def used(*by: Dimension) -> list[tuple[Any, ...]]:
        query = UsageQuery(Resolution.HOUR, hour, hour, by)
        usage = reports.usage(found, query)
        assert (usage.since, usage.until) == (utc(hour * 3600), utc((hour + 1) * 3600))
        return [
            (row.tenant, row.tag, row.completed, row.failed, row.prompt_tokens, row.tokens)
            for row in usage.rows
        ]

    assert used() == [(None, None, 2, 1, 3, 13)]
    assert used(Dimension.TENANT) == [("u", None, 1, 0, 0, 9), ("t", None, 1, 1, 3, 4)]
    assert used(Dimension.TENANT, Dimension.TAG) == [
        ("u", None, 1, 0, 0, 9),
        ("t", "a", 1, 0, 3, 4),
        ("t", "b", 1, 0, 3, 4),
        ("t", None, 0, 1, 0, 0),
    ]


def test_usage_has_a_bound_and_no_row_is_lost() -> None:
    many = [KindTally(f"m{n}", None, None, (), one()) for n in range(reports.MOST_ROWS + 7)]
    usage = reports.usage([(1, many)], UsageQuery(Resolution.DAY, 1, 1, (Dimension.MODEL,)))

    assert len(usage.rows) == reports.MOST_ROWS
    assert usage.rows[-1].model == OTHER
    assert sum(row.submitted for row in usage.rows) == len(many)


def one() -> Any:
    tallies = Tallies()
    tallies.of(("m", None, None, ())).submitted += 1
    return tallies.all()[0].tally


# --- distributions ------------------------------------------------------------------------------

SECONDS = st.floats(0.001, 500_000)


@given(st.lists(SECONDS, min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_within_nine_percent(values: list[float], share: float) -> None:
    distribution = of(values)
    exact = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]

    found = distribution.percentile(share)
    assert found is not None
    assert exact / 1.0906 <= found <= exact * 1.0906


@given(st.lists(SECONDS), st.lists(SECONDS))
def test_distributions_add_up(some: list[float], others: list[float]) -> None:
    both = of(some)
    both.merge(of(others))

    whole = of([*some, *others])
    assert (both.count, both.largest, both.buckets) == (whole.count, whole.largest, whole.buckets)
    assert math.isclose(both.total, whole.total, abs_tol=1e-6)


@given(st.lists(st.floats(-10, 1e9)))
def test_counts_up_to_a_bound_are_exact_at_powers_of_two(values: list[float]) -> None:
    exponents = range(-6, 13)
    wanted = [sum(value <= 2.0**exponent for value in values) for exponent in exponents]

    assert of(values).up_to(exponents) == wanted


def of(values: Iterable[float]) -> Distribution:
    distribution = Distribution()
    for value in values:
        distribution.add(value)
    return distribution


def test_an_empty_distribution_has_no_percentile() -> None:
    assert (Distribution().percentile(0.5), Distribution().mean) == (None, None)


# --- bounds -------------------------------------------------------------------------------------


@given(st.integers(MOST_KINDS, 3 * MOST_KINDS), st.integers(0, 1 << 30), st.integers(1, 400))
@settings(max_examples=30)
def test_tallies_are_bounded_and_lose_no_count(count: int, seed: int, names: int) -> None:
    chance = Random(seed)
    kinds: list[Kind] = [
        (
            str(chance.randrange(names)),
            chance.choice([None, "b1", "b2"]),
            chance.choice([None, str(chance.randrange(names))]),
            tuple(str(chance.randrange(names)) for _ in range(chance.randrange(3))),
        )
        for _ in range(count)
    ]
    tallies = Tallies()
    for kind in kinds:
        tallies.of(kind).submitted += 1
    kept = tallies.all()

    assert len(kept) <= MOST_KINDS
    assert sum(each.tally.submitted for each in kept) == len(kinds)
    by_backend = Counter(kind[1] for kind in kinds)
    for each in kept:  # what has a name of its own is not more than there was
        if each.backend not in (None, OTHER):
            assert each.tally.submitted <= by_backend[each.backend]


def test_the_largest_kinds_keep_their_names() -> None:
    tallies = Tallies()
    for number in range(2 * MOST_KINDS):
        tallies.of((f"m{number}", "b", "t", ("x",))).submitted += 1
        tallies.of(("large", "b", "t", ("x",))).submitted += 1

    kept = {each.kind: each.tally.submitted for each in tallies.all()}
    assert kept["large", "b", "t", ("x",)] == 2 * MOST_KINDS
    assert kept[OTHER, "b", "t", (OTHER,)] > 0  # the tenant and the backend are still known


# --- totals -------------------------------------------------------------------------------------


def test_totals_only_grow_and_name_only_listed_models() -> None:
    history = after(event("task_submitted", 0, model="m"), event("task_submitted", 0, model="n"))
    nothing: frozenset[str] = frozenset()

    assert totals(history, nothing) == {OTHER: 2}
    history.take(event("task_submitted", 1, model="m"))
    assert totals(history, frozenset({"m"})) == {OTHER: 2, "m": 1}
    history.take(event("task_submitted", 2, model="m"))
    assert totals(history, nothing) == {OTHER: 2, "m": 2}  # once named, always named


def totals(history: History, listed: frozenset[str]) -> dict[str, int]:
    return {each.model: each.tally.submitted for each in history.totals(listed)}


# --- throughput ---------------------------------------------------------------------------------

# A time of an event is rounded to microseconds: one just before a minute would be in the next.
MILLISECONDS = st.integers(0, 3 * 3600 * 1000).map(lambda number: number / 1000)


def test_throughput_looks_back_a_minute() -> None:
    history = after(*(event("task_completed", second) for second in (0, 0.5, 30)))

    assert history.throughput(BEGIN + 30) == 0.05
    assert history.throughput(BEGIN + PACE_S) == round(1 / 60, 3)
    assert history.throughput(BEGIN + 30 + PACE_S) == 0


@given(
    st.lists(st.tuples(st.sampled_from(sorted(ENDS)), MILLISECONDS), max_size=200).map(
        lambda events: sorted(events, key=lambda each: each[1])
    )
)
def test_everything_is_counted_once(told: list[tuple[str, float]]) -> None:
    history = after(*(event(name, seconds) for name, seconds in told))
    now = told[-1][1] if told else 0.0

    wanted = Counter(name for name, _ in told)
    recent = sum(1 for _, seconds in told if int(now) - PACE_S < int(seconds))
    assert history.throughput(BEGIN + now) == round(recent / PACE_S, 3)
    [period] = reports.history(
        [(int(BEGIN + now) // 86400, tallies) for _, tallies in rows(history)],
        HistoryQuery(Span.DAYS_90, BEGIN + now),
    )
    assert period.completed == wanted["task_completed"]
    assert period.failed == wanted["task_failed"]
    assert period.throughput == wanted.total()
