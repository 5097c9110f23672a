"""Lists of a store: whatever is asked for, each task that fits comes once, in its place."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ollama_queue.actors.core.model.ids import instant_of, mint
from ollama_queue.actors.core.model.task_filter import TaskFilter
from ollama_queue.actors.core.model.tasks import Record, Status, TaskType
from ollama_queue.actors.core.plan.settle import utc
from ollama_queue.actors.store import page_reader
from ollama_queue.actors.store.commit_group import CommitGroup, TaskWrite
from ollama_queue.actors.store.page_reader import scan
from ollama_queue.actors.store.task_store import TaskStore
from tests.support.recorders import START, a_record, at
from tests.support.stores import KINDS, KeptStore, NewStores

START_US = round(START.timestamp() * 1e6)
BATCHES, CRONS = ([mint(n, n) for n in numbers] for numbers in ((1, 2), (3, 4)))


def a_task(number: int, **facts: Any) -> Record:
    """As `a_record`, with an id of the moment in which it was made."""
    return a_record(number, id=mint(START_US + number * 1_000_000, number), **facts)


def save(store: TaskStore, changes: dict[str, tuple[Record | None, Record | None]]) -> None:
    """Write what was and what is of each task, in one group."""
    group = CommitGroup()
    for task_id, (was, now) in changes.items():
        if now is not None:
            group.rows[task_id] = TaskWrite(now, was, None if was else b"{}")
        elif was is not None:
            group.removed[task_id] = was
    store.write(group)


def filled(kept: KeptStore, *records: Record) -> TaskStore:
    store = kept.open()
    save(store, {record.id: (None, record) for record in records})
    return store


def pages(store: TaskStore, wanted: TaskFilter) -> list[list[str]]:
    """The ids of each page, from the first to the last."""
    found = []
    while True:
        page = scan(store, wanted)()
        found.append([record.id for record in page.records])
        if page.cursor is None:
            return found
        wanted = replace(wanted, offset=0, cursor=page.cursor)


# --- a model ------------------------------------------------------------------------------------

ORDER: dict[str, Callable[[Record], Any]] = {
    "created": lambda r: r.id,
    "started": lambda r: (r.started_at, r.id),
    "ended": lambda r: (r.completed_at, r.id),
    "priority": lambda r: (r.priority, r.id),
}


def fits(record: Record, wanted: TaskFilter) -> bool:
    text = " ".join((record.id, record.model, record.title, *record.tags)).lower()
    return (
        (not wanted.status or record.status in wanted.status)
        and (not wanted.type or record.type in wanted.type)
        and (not wanted.priority or record.priority in wanted.priority)
        and (not wanted.model or record.model in wanted.model)
        and (not wanted.batch_id or record.batch_id in wanted.batch_id)
        and (not wanted.cron_id or record.cron_id in wanted.cron_id)
        and (not wanted.tenant or record.tenant in wanted.tenant)
        and (not wanted.tag or bool(set(record.tags) & set(wanted.tag)))
        and (wanted.since is None or record.created_at >= wanted.since)
        and (wanted.until is None or record.created_at < wanted.until)
        and wanted.q.lower() in text
        and (wanted.sort != "started" or record.started_at is not None)
        and (wanted.sort != "ended" or record.status.is_final)
    )


def expected(records: list[Record], wanted: TaskFilter) -> list[str]:
    found = [record for record in records if fits(record, wanted)]
    found.sort(key=ORDER[wanted.sort], reverse=True)
    return [record.id for record in found][wanted.offset :]


def some(*values: Any) -> st.SearchStrategy[list[Any]]:
    return st.one_of(st.just([]), st.lists(st.sampled_from(values), min_size=1, max_size=2))


moments = st.one_of(st.none(), st.integers(-1, 13).map(at))
filters = st.builds(
    TaskFilter,
    status=some(*Status),
    type=some(*TaskType),
    priority=some(1, 5, 15),
    model=some("smollm2", "qwen3"),
    batch_id=some(*BATCHES, "none"),
    cron_id=some(*CRONS),
    tenant=some("a", "b"),
    tag=some("x", "y"),
    since=moments,
    until=moments,
    q=st.sampled_from(["", "", "QWEN", "tit"]),
    sort=st.sampled_from(["created", "started", "ended", "priority"]),
    limit=st.integers(1, 5),
    offset=st.sampled_from([0, 0, 1, 3]),
)


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[int, dict[str, Any] | None]]:
    """Changes of tasks by number; None deletes one that has ended."""

    def facts() -> dict[str, Any]:
        status = draw(st.sampled_from(Status))
        started = None if status is Status.PENDING else draw(st.integers(20, 30).map(at))
        ended = draw(st.integers(40, 50).map(at)) if status.is_final else None
        level = draw(st.sampled_from([1, 5, 15]))
        return {
            "status": status, "started_at": started, "completed_at": ended, "priority": level,
        }  # fmt: skip

    numbers = draw(st.lists(st.integers(0, 11), max_size=25))
    return [(n, None if draw(st.integers(0, 5)) == 0 else facts()) for n in numbers]


def born(number: int) -> dict[str, Any]:
    """What never changes of a task, something else for each."""
    return {
        "type": list(TaskType)[number % 3],
        "model": ("smollm2", "qwen3")[number % 2],
        "batch_id": (None, *BATCHES)[number % 3],
        "cron_id": (None, None, *CRONS)[number % 4],
        "tenant": (None, "a", "b")[number % 3],
        "tags": [["x"], ["y"], []][number % 3],
        "title": "a title" if number % 2 else "",
    }


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(steps(), st.lists(filters, min_size=1, max_size=8), st.sampled_from([2, 2000]))
def test_a_list_is_what_looking_at_each_task_would_find(
    stores: NewStores,
    kind: str,
    drawn: list[tuple[int, dict[str, Any] | None]],
    wanted: list[TaskFilter],
    few: int,
) -> None:
    stored: dict[str, Record] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ollama_queue.actors.store.page_reader.FEW", few)
        patch.setattr("ollama_queue.actors.store.indexes.FEW", few)
        store = stores.new(kind).open()
        for number, facts in drawn:
            task = a_task(number, **born(number), **(facts or {}))
            was = stored.pop(task.id, None)
            now = None if facts is None else task
            save(store, {task.id: (was, now)})
            if now is not None:
                stored[task.id] = now
        for each in wanted:
            found = pages(store, each)
            assert [i for page in found for i in page] == expected(list(stored.values()), each)
            assert all(len(page) <= each.limit for page in found)
        store.close()


# --- examples -----------------------------------------------------------------------------------


def test_ids_tell_when_a_task_was_made() -> None:
    record = a_task(7)
    assert utc(instant_of(record.id) / 1e6) == record.created_at


def test_a_moment_is_met_to_the_microsecond(kept: KeptStore) -> None:
    store = filled(kept, *(a_task(n) for n in range(4)))
    (one, two) = (a_task(n).id for n in (1, 2))

    def listed(since: datetime | None, until: datetime | None) -> list[str]:
        return pages(store, TaskFilter(since=since, until=until))[0]

    assert listed(at(1), at(3)) == [two, one]
    assert listed(at(1.000001), at(2.000001)) == [two]
    assert listed(at(2), at(2)) == []
    store.close()


def test_the_newest_of_a_level_comes_first(kept: KeptStore) -> None:
    levels = [5, 15, 5, 1]
    store = filled(kept, *(a_task(n, priority=level) for n, level in enumerate(levels)))

    listed = pages(store, TaskFilter(sort="priority"))[0]

    assert listed == [a_task(n).id for n in (1, 2, 0, 3)]
    store.close()


def test_a_search_reads_so_many_tasks_and_says_where_to_go_on(kept: KeptStore) -> None:
    tasks = [a_task(n, title="needle" if n == 3 else "hay") for n in range(10)]
    store = filled(kept, *tasks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ollama_queue.actors.store.page_reader.FEW", 4)
        found = pages(store, TaskFilter(q="Needle"))

    assert found == [[], [tasks[3].id], []]
    store.close()


def test_a_cursor_remembers_how_many_to_leave_out(kept: KeptStore) -> None:
    tasks = [a_task(n, title="needle" if n % 2 else "hay") for n in range(10)]
    store = filled(kept, *tasks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ollama_queue.actors.store.page_reader.FEW", 3)
        found = pages(store, TaskFilter(q="needle", offset=3, limit=1))

    assert [i for page in found for i in page] == [tasks[3].id, tasks[1].id]
    store.close()


def test_payloads_and_results_are_there_where_they_are_asked_for(kept: KeptStore) -> None:
    store = kept.open()
    task = a_task(1, status=Status.COMPLETED)
    group = CommitGroup()
    group.rows[task.id] = TaskWrite(task, None, b"the spec", b"the result")
    store.write(group)

    light, payload, result = (
        scan(store, TaskFilter(include=list(parts)))() for parts in ((), ("payload",), ("result",))
    )

    assert (light.specs, light.results) == ({}, {})
    assert (payload.specs, payload.results) == ({task.id: b"the spec"}, {})
    assert (result.specs, result.results) == ({}, {task.id: b"the result"})
    store.close()


def test_a_page_of_long_payloads_is_shorter(kept: KeptStore, monkeypatch: Any) -> None:
    monkeypatch.setattr(page_reader, "INCLUDED_BYTES", 4)
    tasks = [a_task(n) for n in range(5)]
    store = filled(kept, *tasks)  # two bytes of payload each

    found = pages(store, TaskFilter(include=["payload"]))

    assert [len(page) for page in found] == [2, 2, 1]
    assert [i for page in found for i in page] == [task.id for task in tasks[::-1]]
    store.close()


def test_totals_are_told_where_counts_know_them(kept: KeptStore) -> None:
    states = [Status.PENDING, Status.FAILED, Status.FAILED]
    store = filled(
        kept, *(a_task(n, status=status, priority=n + 1) for n, status in enumerate(states))
    )

    def total(**wanted: Any) -> int | None:
        return scan(store, TaskFilter(**wanted))().total

    assert (total(), total(limit=1), total(sort="priority")) == (3, 3, 3)
    assert (total(status=[Status.FAILED]), total(status=[Status.RUNNING])) == (2, 0)
    assert (total(priority=[1, 2]), total(status=[Status.FAILED], priority=[3])) == (2, 1)
    assert total(batch_id=["unknown"]) == 0
    assert (total(q="x"), total(since=at(0)), total(model=["smollm2"])) == (None, None, None)
    store.close()
