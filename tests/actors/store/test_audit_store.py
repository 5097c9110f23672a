"""The audit log in the store: bounded by age and number, whatever the clock says."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from ollama_queue.actors.core.activity.audit import AuditEntry, AuditQuery
from ollama_queue.actors.store import audit_store
from ollama_queue.actors.store.commit_group import CommitGroup
from ollama_queue.actors.store.task_store import TaskStore
from tests.support.stores import KeptStore

START = datetime(2026, 1, 1, tzinfo=UTC)


def entry(seq: int, days: float) -> AuditEntry:
    return AuditEntry(
        seq=seq,
        at=START + timedelta(days=days),
        action="pause",
        target="",
        detail="",
        who="-",
        door="python",
        address="",
    )


def add(store: TaskStore, *entries: AuditEntry) -> None:
    group = CommitGroup()
    group.audit.extend(entries)
    store.write(group)


def kept(store: TaskStore, **query: object) -> list[int]:
    return [each.seq for each in store.audit.reading(AuditQuery(**query))().entries]  # type: ignore[arg-type]


@pytest.fixture
def store(durable: KeptStore) -> Iterator[TaskStore]:
    store = durable.open()
    yield store
    store.close()


def test_entries_are_deleted_at_their_age(store: TaskStore) -> None:
    store.audit.retention_s = 90 * 86400.0
    for day in range(100):
        add(store, entry(day, day))

    assert kept(store) == list(range(99, 8, -1))


def test_a_clock_that_is_a_year_ahead_for_a_moment_deletes_few(store: TaskStore) -> None:
    store.audit.retention_s = 90 * 86400.0
    for day in range(10):
        add(store, entry(day, day))
    add(store, entry(10, 365))
    add(store, entry(11, 10))

    assert kept(store) == list(range(11, 1, -1))


def test_their_number_is_bounded(store: TaskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_store, "MOST_ENTRIES", 20)
    for seq in range(0, 60, 3):
        add(store, *(entry(seq + n, 0) for n in range(3)))

    assert kept(store) == list(range(59, 39, -1))


def test_a_page_reads_a_bounded_number(store: TaskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_store, "MOST_SCANNED", 5)
    add(store, *(entry(seq, 0) for seq in range(12)))

    page = store.audit.reading(AuditQuery(who="nobody"))()
    assert (page.entries, page.cursor) == ([], "7")
    assert kept(store, before=7, limit=3) == [6, 5, 4]


def test_a_page_is_empty_at_first(store: TaskStore) -> None:
    page = store.audit.reading(AuditQuery())()

    assert (page.entries, page.cursor) == ([], None)
