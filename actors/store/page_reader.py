"""Reads a page of a task list."""

import heapq
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..core.activity.failure_tallies import FailureTallies
from ..core.activity.failures import cause_of
from ..core.messages.replies import Page
from ..core.model.task_filter import Cursor, TaskFilter, TaskMatcher, WaitReasons, read_cursor
from ..core.model.tasks import Record, Status
from .encoding import LOADING, Family, after, decode_record
from .indexes import FEW, LEAD, KeyRange, ReadPlan, choose, end_code, total_of

if TYPE_CHECKING:
    from .task_store import TaskStore

READ_TOGETHER = 16  # records, at least
COUNTED_TOGETHER = 500  # failed tasks; other reads come in between
INCLUDED_BYTES = 4 << 20  # of payloads and results per page; a single task may have more

IndexRow = tuple[str, bytes | None]  # position in the sort order; record, if the row has it


def scan(
    store: "TaskStore",
    task_filter: TaskFilter,
    reasons: WaitReasons | None = None,
) -> Callable[[], Page]:
    """Return a function that reads a page, newest or highest first.

    It touches only the store and may run in any thread. Tasks of unsealed batches are left out.
    Raises `Invalid` for a bad cursor.

    The iterators are created at once: an iterator that a snapshot (rocksdict 0.3.29) creates
    later also shows newer writes, though the snapshot's look-ups do not.
    """
    begin = read_cursor(task_filter)
    if reasons is not None:  # only pending tasks wait
        if task_filter.status and Status.PENDING not in task_filter.status:
            return lambda: Page(total=0)
        task_filter = replace(task_filter, status=[Status.PENDING])
    if task_filter.failure:  # only failed tasks have a cause
        if task_filter.status and Status.FAILED not in task_filter.status:
            return lambda: Page(total=0)
        task_filter = replace(task_filter, status=[Status.FAILED])
    counts = store.counts
    choice = choose(task_filter, counts, begin.place)
    total = total_of(task_filter, counts, store.counts_of, store.batches.get, reasons)
    names = ("index", "tasks", "specs", "results", "meta")
    index, tasks, specs, results, meta = store.snapshots(*names)
    rows = _rows(index, tasks, choice)
    unsealed = meta.between(LOADING, after(LOADING))
    looks_for = None if choice.is_exact else TaskMatcher(task_filter, reasons)

    def read() -> Page:
        hidden = frozenset(key[len(LOADING) :].decode() for key, _ in unsealed)
        look = _PageScan(tasks, task_filter, choice, hidden, looks_for)
        page, places = look.page(rows, begin.skip)
        page.total = total
        _include(page, places, task_filter, specs, results)
        return page

    return read


def failures_of(store: "TaskStore") -> Callable[[], FailureTallies | None]:
    """Return a function that counts the next `COUNTED_TOGETHER` failed tasks by cause, and returns
    the counts once all are counted, before that None; it may run in any thread."""
    (index, tasks), release = store.held_snapshots("index", "tasks")
    code = end_code(Status.FAILED)
    rows = index.between(code, after(code))
    cut = len(code) + LEAD["ended"]
    most = None if store.is_in_memory else COUNTED_TOGETHER  # its rows change meanwhile
    tallies = FailureTallies()

    def count() -> FailureTallies | None:
        keys = [key[cut:] for key, _ in islice(rows, most)]
        for raw in tasks.get_all(keys):
            tallies.moved(None, None if raw is None else decode_record(raw))
        if len(keys) == most:
            return None
        release()
        return tallies

    return count


def _rows(index: Family, tasks: Family, choice: ReadPlan) -> Iterator[IndexRow]:
    if choice.stretches is None:
        low, high = choice.low.encode(), choice.high.encode()
        rows = tasks.between(low, high, backwards=True)
        return ((key.decode(), raw) for key, raw in rows)
    return heapq.merge(*(_stretch(index, each) for each in choice.stretches), reverse=True)


def _stretch(index: Family, stretch: KeyRange) -> Iterator[IndexRow]:
    rows = index.between(stretch.start, stretch.end, backwards=True)
    return ((key[stretch.cut :].decode(), None) for key, _ in rows)


class _PageScan:
    """Reads rows until a page is full, all are read, or too many were read without a match."""

    def __init__(
        self,
        tasks: Family,
        task_filter: TaskFilter,
        choice: ReadPlan,
        hidden: frozenset[str],
        looks_for: TaskMatcher | None,
    ) -> None:
        self._tasks, self._hidden = tasks, hidden
        self._sort, self._limit = task_filter.sort, task_filter.limit
        self._lead = LEAD[task_filter.sort]
        self._low, self._high = choice.low, choice.high
        self._wanted, self._causes = looks_for, frozenset(task_filter.failure)

    def page(self, rows: Iterator[IndexRow], skip: int) -> tuple[Page, list[str]]:
        """A page, and the position of each of its tasks."""
        page, places, last = Page(), list[str](), ""
        if self._wanted is None and not self._hidden:
            rows, skip = islice(rows, skip, None), 0
        for seen, (place, record) in enumerate(self._records(rows, page), 1):
            if record is not None and skip:
                skip -= 1
            elif record is not None:
                if len(page.records) == self._limit:
                    page.cursor = str(Cursor(self._sort, 0, last))
                    break
                page.records.append(record)
                places.append(place)
            last = place
            if self._wanted is not None and seen == FEW:
                page.cursor = str(Cursor(self._sort, skip, last))
                break
        return page, places

    def _records(self, rows: Iterator[IndexRow], page: Page) -> Iterator[tuple[str, Record | None]]:
        """Positions, each with its task if that matches and is visible.

        As many are read together as the page has room for.
        """
        left = FEW if self._wanted is not None else sys.maxsize
        while together := list(islice(rows, min(left, self._room(page)))):
            left -= len(together)
            places = [place for place, raw in together if raw is None and self._is_between(place)]
            raws = self._tasks.get_all([place[self._lead :].encode() for place in places])
            read = dict(zip(places, raws, strict=True))
            for place, raw in together:
                is_between = self._is_between(place)
                yield place, self._record(raw or read[place]) if is_between else None

    def _room(self, page: Page) -> int:
        """How many rows to read together: one more than fit tells that there are more."""
        return max(READ_TOGETHER, self._limit + 1 - len(page.records))

    def _is_between(self, place: str) -> bool:
        return self._low <= place[self._lead :] < self._high

    def _record(self, raw: bytes | None) -> Record | None:
        """The task if it matches and is visible, else None."""
        assert raw is not None, "a row of a task that is not there"
        record = decode_record(raw)
        if record.batch_id in self._hidden:
            return None
        if self._wanted is not None and record not in self._wanted:
            return None
        return record if not self._causes or self._is_of_causes(record) else None

    def _is_of_causes(self, record: Record) -> bool:
        cause = cause_of(record)
        return cause is not None and cause.id in self._causes


def _include(
    page: Page, places: list[str], task_filter: TaskFilter, specs: Family, results: Family
) -> None:
    """Add the fields that lists leave out; what is too large for this page moves to the next."""
    size = 0
    for number, record in enumerate(page.records):
        key = record.id.encode()
        spec = specs.get(key) if "payload" in task_filter.include else None
        result = results.get(key) if "result" in task_filter.include else None
        size += len(spec or b"") + len(result or b"")
        if size > INCLUDED_BYTES and number:
            del page.records[number:]
            page.cursor = str(Cursor(task_filter.sort, 0, places[number - 1]))
            return
        if spec is not None:
            page.specs[record.id] = spec
        if result is not None:
            page.results[record.id] = result
