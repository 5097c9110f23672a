"""A list reads as many keys as it shows tasks, however many are stored."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ollama_queue.actors.core.model.ids import mint
from ollama_queue.actors.core.model.task_filter import TaskFilter
from ollama_queue.actors.core.model.tasks import Status
from ollama_queue.actors.store.commit_group import CommitGroup, TaskWrite
from ollama_queue.actors.store.page_reader import scan
from ollama_queue.actors.store.rocksdb import Store
from ollama_queue.actors.store.rocksdb_setup import RocksSnapshot
from tests.support.recorders import START, a_record, at

FEWER, MORE = 1_000, 20_000
BATCH, CRON = (mint(number, number) for number in (1, 2))
LIMIT = 50


class Counted:
    """A snapshot of RocksDB that counts the keys that are looked at."""

    def __init__(self, snapshot: Any) -> None:
        self._snapshot = snapshot
        self.reads = 0

    def __getitem__(self, key: bytes) -> Any:
        self.reads += 1
        return self._snapshot[key]

    def iter(self, bounds: Any) -> Any:
        return Walked(self, self._snapshot.iter(bounds))


class Walked:
    """Its iterator."""

    def __init__(self, counted: Counted, found: Any) -> None:
        self._counted = counted
        self.valid, self.key, self.value, self.status = (
            found.valid, found.key, found.value, found.status,
        )  # fmt: skip
        for name in ("next", "prev", "seek", "seek_to_last"):
            setattr(self, name, partial(self._walk, getattr(found, name)))

    def _walk(self, step: Any, *place: bytes) -> None:
        self._counted.reads += 1
        step(*place)


def reads(store: Store, **wanted: Any) -> tuple[int, int]:
    """How many tasks a list shows, and how many keys it looks at."""
    made: list[Counted] = []

    def snapshots(*names: str) -> list[RocksSnapshot]:
        made.extend(Counted(store._families[name].snapshot()) for name in names)
        return [RocksSnapshot(each) for each in made]

    counting: Any = SimpleNamespace(
        snapshots=snapshots,
        counts=store.counts,
        counts_of=store.counts_of,
        batches=store.batches,
    )
    page = scan(counting, TaskFilter(limit=LIMIT, **wanted))()
    return len(page.records), sum(each.reads for each in made)


def fill(store: Store, numbers: range) -> None:
    """Tasks of all states and levels; every tenth is of the batch and of the cron."""
    start_us = round(START.timestamp() * 1e6)
    for first in range(numbers.start, numbers.stop, 1000):
        group = CommitGroup()
        for number in range(first, first + 1000):
            status = list(Status)[number % 5]
            record = a_record(
                number,
                id=mint(start_us + number * 1_000_000, number),
                status=status,
                priority=number % 15 + 1,
                batch_id=BATCH if number % 10 == 0 else None,
                cron_id=CRON if number % 10 == 0 else None,
                started_at=None if status is Status.PENDING else at(number + 1),
                completed_at=at(number + 2) if status.is_final else None,
            )
            group.rows[record.id] = TaskWrite(record, None, b"{}")
        store.write(group)


LISTS: list[dict[str, Any]] = [
    {},
    {"offset": 30},
    {"status": [Status.FAILED]},
    {"status": [Status.FAILED, Status.PENDING], "offset": 7},
    {"priority": [3, 15]},
    {"status": [Status.COMPLETED], "priority": [3]},
    {"batch_id": [BATCH]},
    {"cron_id": [CRON]},
    {"sort": "started"},
    {"sort": "ended"},
    {"sort": "ended", "status": [Status.FAILED]},
    {"sort": "priority"},
    {"sort": "priority", "status": [Status.PENDING]},
    {"since": at(100), "until": at(900)},
    {"status": [Status.RUNNING], "until": at(900)},
]


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[list[tuple[int, int]]]]:
    """Of each list, with few and with many stored."""
    store = Store(str(tmp_path_factory.mktemp("store")), None)
    found = []
    for numbers in (range(FEWER), range(FEWER, MORE)):
        fill(store, numbers)
        found.append([reads(store, **wanted) for wanted in LISTS])
    yield found
    store.close()


@pytest.mark.parametrize("number", range(len(LISTS)), ids=lambda number: str(LISTS[number]))
def test_a_page_costs_the_same_with_twenty_times_as_many(
    costs: list[list[tuple[int, int]]], number: int
) -> None:
    (shown, fewer), (also_shown, more) = costs[0][number], costs[1][number]

    assert shown == also_shown == LIMIT
    # A row and a task for each, a look at each range, and one for unsealed batches.
    assert fewer == more <= 3 * LIMIT


def test_what_has_no_index_reads_a_bounded_number(tmp_path: Path) -> None:
    store = Store(str(tmp_path), None)
    fill(store, range(5_000))

    assert reads(store, q="nobody has this") == (0, 2001)
    assert reads(store, model=["none"], sort="started") == (0, 4001)  # with a look-up for each
    store.close()
