"""Rows of history: added to, found again after a restart, and limited in number."""

from collections.abc import Iterable

from ollama_queue.actors.core.activity.history import MinuteTallies
from ollama_queue.actors.core.activity.reports import Row
from ollama_queue.actors.core.activity.spans import Resolution
from ollama_queue.actors.core.activity.tallies import Tallies
from ollama_queue.actors.store.task_store import TaskStore
from tests.support.stores import KeptStore

NOON = 28_000_800  # a minute since 1970


def part(minute: int, count: int = 1) -> MinuteTallies:
    tallies = Tallies()
    tallies.of(("m", None, None, ())).submitted += count
    return MinuteTallies(minute, tuple(tallies.all()))


def submitted(store: TaskStore, resolution: Resolution) -> dict[int, int]:
    def digest(rows: Iterable[Row]) -> dict[int, int]:
        return {number: sum(each.tally.submitted for each in row) for number, row in rows}

    return store.history.reading(resolution, 0, 9_999_999_998, digest)()


def test_counts_are_added_to_their_minute_hour_and_day(durable: KeptStore) -> None:
    store = durable.open()
    store.add_history([part(NOON, 1), part(NOON + 1, 2)])
    store.add_history([part(NOON + 1, 4), part(NOON + 60, 8)])
    store.close()

    again = durable.open()
    assert submitted(again, Resolution.MINUTE) == {NOON: 1, NOON + 1: 6, NOON + 60: 8}
    assert submitted(again, Resolution.HOUR) == {NOON // 60: 7, NOON // 60 + 1: 8}
    assert submitted(again, Resolution.DAY) == {NOON // 1440: 15}
    again.close()


def test_old_rows_make_way_for_new_ones(durable: KeptStore) -> None:
    store = durable.open()
    for minute in range(NOON, NOON + 200):
        store.add_history([part(minute)])

    kept = Resolution.MINUTE.kept
    assert list(submitted(store, Resolution.MINUTE)) == list(range(NOON + 199 - kept, NOON + 200))
    assert sum(submitted(store, Resolution.DAY).values()) == 200
    store.close()


def test_a_clock_that_was_wrong_takes_nothing_away(durable: KeptStore) -> None:
    store = durable.open()
    for day in range(30):
        store.add_history([part(NOON + 1440 * day)])
    for day in range(20):
        store.add_history([part(NOON + 1440 * (3650 + day))])  # ten years ahead
    store.add_history([part(NOON + 1440 * 30)])

    assert len(submitted(store, Resolution.DAY)) == 51
    store.close()
