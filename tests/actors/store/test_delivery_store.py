"""Which deliveries are found as due, in which order, and the lists of them."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ollama_queue.actors.core.model.deliveries import Delivery, DeliveryStatus, StoredDelivery
from ollama_queue.actors.store.commit_group import CommitGroup
from ollama_queue.actors.store.memory import MemoryFamily, MemoryStore, empty_families
from ollama_queue.actors.store.task_store import TaskStore
from tests.support.recorders import START, at, task_id
from tests.support.stores import KeptStore

LONG_AGO = START - timedelta(days=1)


def delivery(number: int, target: str = "http://a/x", **fields: Any) -> StoredDelivery:
    task = fields.pop("task", number)
    made = Delivery(
        id=f"msg_{number:016x}00",
        event="task_completed",
        task_id=None if task is None else task_id(task),
        webhook=None,
        url=target,
        created_at=at(number),
        next_attempt_at=fields.pop("due", START),
        **fields,
    )
    return StoredDelivery(delivery=made, target=target)


def add(store: TaskStore, *new: StoredDelivery) -> None:
    group = CommitGroup()
    group.new_deliveries = list(new)
    store.write(group)


def change(store: TaskStore, stored: StoredDelivery, **fields: Any) -> None:
    group = CommitGroup()
    changed = replace(stored, delivery=replace(stored.delivery, **fields))
    group.deliveries = {stored.delivery.id: changed}
    store.write(group)


def delete(store: TaskStore, *deliveries: StoredDelivery) -> None:
    group = CommitGroup()
    group.deliveries = dict.fromkeys((it.delivery.id for it in deliveries), None)
    store.write(group)


def due(store: TaskStore, seconds: float = 0, after: str = "") -> list[int]:
    found = store.deliveries.due(at(seconds), after)()
    return sorted(int(it.delivery.id[4:20], 16) for it in found.deliveries)


def test_those_of_one_task_go_to_a_url_in_order(kept: KeptStore) -> None:
    store = kept.open()
    first, second = delivery(1, task=7), delivery(2, task=7)
    add(store, first, second, delivery(3, "http://a/other", task=7), delivery(4, task=8))
    assert due(store) == [1, 3, 4], "the second waits for the first"
    change(store, first, next_attempt_at=at(60))
    assert due(store) == [3, 4], "although it is due itself"
    change(store, first, next_attempt_at=None, status=DeliveryStatus.FAILED)
    assert due(store) == [2, 3, 4]


def test_one_that_does_not_answer_keeps_nobody_waiting(kept: KeptStore) -> None:
    store = kept.open()
    add(store, *(delivery(n, "http://dead/x") for n in range(1, 3000)))
    add(store, delivery(4000, "http://alive/x"))
    found = due(store)
    assert 4000 in found
    assert len(found) < 50, "few of each"


def test_when_to_look_again(kept: KeptStore) -> None:
    store = kept.open()
    add(store, delivery(1, due=at(30)), delivery(2, "http://b", due=at(20)))
    found = store.deliveries.due(at(0), "")()
    assert (found.deliveries, found.next_due, found.rest) == ([], at(20), None)
    assert due(store, 25) == [2]


def test_one_that_a_wrong_clock_postponed_is_due(kept: KeptStore) -> None:
    store = kept.open()
    add(store, delivery(1, due=at(400 * 86_400)))
    assert due(store) == [1]


def test_lists_are_read_in_pages_newest_first(kept: KeptStore) -> None:
    store = kept.open()
    add(
        store,
        *(delivery(n, tenant="ours" if n % 2 else None, task=n % 3) for n in range(1, 8)),
    )

    def listed(limit: int, cursor: str = "", **filters: Any) -> list[list[int]]:
        facts = {"task_id": "", "status": "", "tenant": None} | filters
        pages = []
        following: str | None = cursor
        while following is not None:
            page = store.deliveries.page(limit, following, **facts)()
            pages.append([int(it.id[4:20], 16) for it in page.deliveries])
            following = page.cursor
        return pages

    assert listed(3) == [[7, 6, 5], [4, 3, 2], [1]]
    assert listed(100, tenant="ours") == [[7, 5, 3, 1]]
    assert listed(2, task_id=task_id(1)) == [[7, 4], [1]]
    assert listed(100, status="failed") == [[]]


def test_those_that_wait_are_counted(kept: KeptStore) -> None:
    store = kept.open()
    first, second = delivery(1), delivery(2)
    add(store, first, second, delivery(3))
    change(store, first, next_attempt_at=at(60))
    change(store, second, next_attempt_at=None, status=DeliveryStatus.DELIVERED)
    delete(store, delivery(3))

    assert store.deliveries.due(at(0), "")().waiting == 1
    store.close()
    assert kept.open().deliveries.due(at(0), "")().waiting == 1


def test_old_ones_that_have_ended_are_found(kept: KeptStore) -> None:
    store = kept.open()
    ended = {"status": DeliveryStatus.DELIVERED, "due": None}
    add(store, delivery(1, **ended), delivery(2), *(delivery(n, **ended) for n in range(3, 7)))

    def found(keep: int, before: Any = LONG_AGO, limit: int = 100) -> list[int]:
        ids = store.deliveries.ended(before, keep, limit)()
        return [int(each[4:20], 16) for each in ids]

    assert found(keep=3) == [1, 3], "the second waits"
    assert found(keep=10) == []
    assert found(keep=10, before=at(4)) == [1, 3]
    assert found(keep=0, limit=2) == [1, 3]
    delete(store, delivery(1), delivery(2), delivery(99))
    assert due(store) == []
    assert store.deliveries.page(10, "", task_id(1), "", None)().deliveries == []


class CountedReads(MemoryFamily):
    """Counts the rows that are read from it."""

    reads = 0

    def get(self, key: bytes) -> bytes | None:
        self.reads += 1
        return super().get(key)

    def between(
        self, start: bytes, end: bytes, backwards: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        for row in super().between(start, end, backwards):
            self.reads += 1
            yield row


def test_those_that_wait_are_not_read_to_find_those_that_have_ended() -> None:
    meta = CountedReads()
    store = MemoryStore(empty_families() | {"meta": meta})
    ended = {"status": DeliveryStatus.DELIVERED, "due": None}
    add(store, *(delivery(n) for n in range(1, 1000)), delivery(1000, **ended))
    again = delivery(1001, **ended)
    add(store, again)
    change(store, again, status=DeliveryStatus.PENDING, next_attempt_at=START)

    meta.reads = 0
    assert len(store.deliveries.ended(LONG_AGO, 0, 200)()) == 1, "the second waits again"
    assert store.deliveries.ended(at(2000), 5, 200)() == (delivery(1000).delivery.id,)
    assert meta.reads < 10


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.integers(-5, 5)), max_size=30)
)
def test_each_is_made_in_the_order_of_its_task(plan: list[tuple[str, int, int]]) -> None:
    store = MemoryStore(empty_families())
    all_of = [
        delivery(n, f"http://{host}/{task}", task=task, due=at(wait))
        for n, (host, task, wait) in enumerate(plan, 1)
    ]
    add(store, *all_of)
    made: list[StoredDelivery] = []
    while found := store.deliveries.due(at(10), "")().deliveries:
        for it in found:
            made.append(it)
            change(store, it, next_attempt_at=None, status=DeliveryStatus.DELIVERED)
    assert sorted(it.delivery.id for it in made) == sorted(it.delivery.id for it in all_of)
    for target in {it.target for it in all_of}:
        ids = [it.delivery.id for it in made if it.target == target]
        assert ids == sorted(ids)
