"""A family in PostgreSQL, with what is not written yet over it, is the same as one in memory."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ollama_queue.actors.store.encoding import Family
from ollama_queue.actors.store.memory import MemoryFamily
from ollama_queue.actors.store.postgres import families, row_cache, saving
from ollama_queue.actors.store.postgres.store import PostgresStore
from ollama_queue.actors.store.task_store import TaskStore
from tests.support.stores import NewStores

keys = st.sampled_from([b"k%c" % letter for letter in b"abcdefgh"])  # few: they meet
commits = st.lists(st.tuples(keys, st.one_of(st.none(), st.binary(max_size=3))), max_size=6)
ranges = st.tuples(keys, keys, st.booleans())
steps = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), commits),
        st.tuples(st.just("sync"), st.integers(0, 3)),
        st.tuples(st.just("read"), ranges),
        st.tuples(st.just("snapshot"), ranges),
        st.tuples(st.just("look"), st.none()),
    ),
    min_size=4,
    max_size=30,
)


SYNC = ("sync", 0)


def put(key: bytes, value: bytes = b"1") -> tuple[str, Any]:
    return "commit", [(key, value)]


def read(key: bytes) -> tuple[str, Any]:
    return "read", (key, key, False)


def snapshot(key: bytes) -> tuple[str, Any]:
    return "snapshot", (key, key, False)


class Compared:
    """One family of a store, and what it should have had after each commit."""

    def __init__(self, store: TaskStore, name: str) -> None:
        self.store, self.name = store, name
        self.states: list[tuple[int, dict[bytes, bytes]]] = [(store.written(), {})]
        self.saved = store.written()
        self.snapshots: list[tuple[int, Any, Any]] = []

    def commit(self, changed: list[tuple[bytes, bytes | None]]) -> None:
        changes, rows = self.store._changes(), dict(self.states[-1][1])
        for key, value in changed:
            rows.pop(key, None)
            if value is None:
                changes.delete(key, self.store._handles[self.name])
            else:
                changes.put(key, value, self.store._handles[self.name])
                rows[key] = value
        self.store._commit(changes)
        self.states.append((self.store.written(), rows))

    def sync(self, back: int) -> None:
        mark, _ = self.states[max(0, len(self.states) - 1 - back)]
        self.store.sync(mark)
        self.saved = max(self.saved, mark)

    def read(self, wanted: Any) -> None:
        found = contents(self.store._tables[self.name], *wanted)
        assert found == contents(in_memory(self.states[-1][1]), *wanted)

    def snapshot(self, wanted: Any) -> None:
        family = self.store._tables[self.name].snapshot()
        self.snapshots.append((self.states[-1][0], family, wanted))

    def look(self, _: None) -> None:
        """Read all snapshots: each shows its own moment, or a later one that is durable."""
        for mark, family, wanted in self.snapshots:
            shown = dict(self.states)[max(mark, self.saved)]
            found = self.store.reading(lambda f=family, w=wanted: contents(f, *w))()
            assert found == contents(in_memory(shown), *wanted)
        self.snapshots.clear()


def in_memory(rows: dict[bytes, bytes]) -> MemoryFamily:
    family = MemoryFamily()
    for key, value in rows.items():
        family.put(key, value)
    return family


def contents(family: Family, first: bytes, last: bytes, backwards: bool) -> list[Any]:
    start, end = min(first, last), max(first, last) + b"\x00"
    together = family.get_all([first, last, first])
    assert together == [family.get(key) for key in (first, last, first)]
    return [*together, *family.between(start, end, backwards)]


@pytest.mark.parametrize("name", ["index", "tasks"])
@settings(max_examples=60)
@example([put(b"ka"), snapshot(b"ka"), put(b"ka", b"2")])
@example([put(b"ke"), read(b"kd"), put(b"ka"), put(b"kb"), put(b"kc"), SYNC, read(b"ke")])
@example(
    [
        *(put(b"kb"), SYNC, put(b"kb", b"2"), put(b"ke"), put(b"kf"), put(b"kg")),
        *(read(b"ka"), SYNC, read(b"kb")),
    ]
)
@given(steps)
def test_whatever_is_committed_synced_and_read(
    stores: NewStores, name: str, drawn: list[tuple[str, Any]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "_FIRST_ROWS", 2)
        patch.setattr(row_cache, "_MOST_BYTES", 250)
        patch.setattr(row_cache, "_AHEAD", 3)
        patch.setattr(saving, "MOST_BYTES", 5)
        kept = stores.new("PostgreSQL")
        store = kept.open()
        assert isinstance(store, PostgresStore)
        compared = Compared(store, name)
        for step, facts in drawn:
            getattr(compared, step)(facts)
        compared.sync(0)
        compared.look(None)
        everything = (b"k", b"k\xff", False)
        compared.read(everything)
        store.close()
        compared.store = kept.open()
        compared.read(everything)
        compared.store.close()
