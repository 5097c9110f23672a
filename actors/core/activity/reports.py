"""Turns stored tallies into what users see: history by period, and usage by group."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import product

from msgspec import Struct

from ..model.stats import Period, UsageReport, UsageRow
from .distribution import Distribution
from .spans import Dimension, Resolution, Span
from .tallies import OTHER, KindTally, Tally

MOST_GROUPS = 20  # of history, the largest over its whole span
MOST_ROWS = 1000  # of usage

Row = tuple[int, list[KindTally]]
"""A period, by its number since 1970, and its tallies."""


class HistoryQuery(Struct, frozen=True):
    """History over `span` until `until_s` (seconds since 1970), by a dimension or of all tasks.

    With a `tenant`, only of its tasks.
    """

    span: Span
    until_s: float
    by: Dimension | None = None
    tenant: str | None = None

    @property
    def resolution(self) -> Resolution:
        return self.span.resolution

    @property
    def last(self) -> int:
        """The number of the last period."""
        return int(self.until_s) // 60 // self.resolution.minutes

    @property
    def first(self) -> int:
        return self.last - self.span.periods + 1


class UsageQuery(Struct, frozen=True):
    """Usage of the periods from `first` to `last`, by these dimensions (none: one row).

    With a `tenant`, only of its tasks.
    """

    resolution: Resolution
    first: int
    last: int
    by: tuple[Dimension, ...] = ()
    tenant: str | None = None


def history(rows: Iterable[Row], query: HistoryQuery) -> list[Period]:
    """The periods, oldest first: without `by` all since the first known one, with it those of each
    group in which something happened."""
    seconds = query.resolution.minutes * 60
    by = () if query.by is None else (query.by,)
    periods: dict[int, dict[str | None, Tally]] = {}
    sizes: Counter[str | None] = Counter()
    for number, tallies in rows:
        groups = periods.setdefault(number, {})
        for each in _of_tenant(tallies, query.tenant):
            for (name,) in _names(each, by) if by else [(None,)]:
                groups.setdefault(name, Tally()).merge(each.tally)
                sizes[name] += each.tally.size
    if not by:
        first = min(periods, default=query.last)
        return [
            _period(number, seconds, None, periods.get(number, {}).get(None, Tally()))
            for number in range(first, query.last + 1)
        ]
    large = {name for name, _ in sizes.most_common(MOST_GROUPS)}
    return [
        _period(number, seconds, name, tally)
        for number, groups in sorted(periods.items())
        for name, tally in _limited(groups, large).items()
    ]


def _of_tenant(tallies: Iterable[KindTally], tenant: str | None) -> Iterator[KindTally]:
    return (each for each in tallies if tenant is None or each.tenant == tenant)


def _names(each: KindTally, by: tuple[Dimension, ...]) -> Iterator[tuple[str | None, ...]]:
    """The groups that tasks of this kind belong to: several, if they have several tags."""
    names: list[tuple[str | None, ...]] = []
    for dimension in by:
        match dimension:
            case Dimension.MODEL:
                names.append((each.model,))
            case Dimension.BACKEND:
                names.append((each.backend,))
            case Dimension.TENANT:
                names.append((each.tenant,))
            case Dimension.TAG:
                names.append(tuple(dict.fromkeys(each.tags)) or (None,))
    return product(*names)


def _limited(groups: dict[str | None, Tally], large: set[str | None]) -> dict[str | None, Tally]:
    """The large groups by name, and all others together."""
    limited: dict[str | None, Tally] = {}
    for name, tally in groups.items():
        limited.setdefault(name if name in large else OTHER, Tally()).merge(tally)
    return dict(sorted(limited.items(), key=lambda item: (item[0] == OTHER, item[0] or "")))


def _period(number: int, seconds: int, group: str | None, tally: Tally) -> Period:
    waits, runs = tally.waits, tally.runs
    return Period(
        at=_time(number * seconds),
        seconds=seconds,
        group=group,
        submitted=tally.submitted,
        started=tally.started,
        completed=tally.completed,
        failed=tally.failed,
        cancelled=tally.cancelled,
        retried=tally.retried,
        throughput=tally.ended,
        wait_mean_s=_rounded(waits.mean),
        wait_max_s=_rounded(waits.largest if waits.count else None),
        wait_p50_s=_rank(waits, 0.5),
        wait_p90_s=_rank(waits, 0.9),
        wait_p99_s=_rank(waits, 0.99),
        run_mean_s=_rounded(runs.mean),
        run_max_s=_rounded(runs.largest if runs.count else None),
        run_p50_s=_rank(runs, 0.5),
        run_p90_s=_rank(runs, 0.9),
        run_p99_s=_rank(runs, 0.99),
        prompt_tokens=tally.prompt_tokens,
        tokens=tally.tokens,
        expired=tally.expired,
    )


def _rank(values: Distribution, share: float) -> float | None:
    return _rounded(values.percentile(share))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def usage(rows: Iterable[Row], query: UsageQuery) -> UsageReport:
    """What was used, by the query's dimensions; without tasks, no rows."""
    groups: dict[tuple[str | None, ...], Tally] = {}
    for _, tallies in rows:
        for each in _of_tenant(tallies, query.tenant):
            for names in _names(each, query.by):
                groups.setdefault(names, Tally()).merge(each.tally)
    by_size = sorted(groups.items(), key=lambda item: (-item[1].tokens, -item[1].size, str(item)))
    rest = Tally()
    for _, tally in by_size[MOST_ROWS - 1 :]:
        rest.merge(tally)
    if len(by_size) > MOST_ROWS:
        by_size = [*by_size[: MOST_ROWS - 1], ((OTHER,) * len(query.by), rest)]
    seconds = query.resolution.minutes * 60
    return UsageReport(
        since=_time(query.first * seconds),
        until=_time((query.last + 1) * seconds),
        by=[dimension.value for dimension in query.by],
        rows=[_usage_row(query.by, names, tally) for names, tally in by_size],
    )


def _usage_row(by: tuple[Dimension, ...], names: tuple[str | None, ...], tally: Tally) -> UsageRow:
    group = {dimension.value: name for dimension, name in zip(by, names, strict=True)}
    return UsageRow(
        **group,
        submitted=tally.submitted,
        completed=tally.completed,
        failed=tally.failed,
        cancelled=tally.cancelled,
        prompt_tokens=tally.prompt_tokens,
        tokens=tally.tokens,
        run_s=round(tally.runs.total, 3),
    )
