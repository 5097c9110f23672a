"""The counts of failures are those of the failed tasks, whatever happens to them."""

from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_queue.actors.core.activity.failure_tallies import MOST_CAUSES, FailureTallies
from ollama_queue.actors.core.activity.failures import OTHER, FailureGroup
from ollama_queue.actors.core.model.tasks import Record, Status
from tests.support.recorders import a_record, at, task_id

VERBS = st.sampled_from(["fail", "retry", "delete"])
ERRORS = [f"{word} failed" for word in ("alpha", "beta", "gamma", "delta")]


def failed(number: int, error: str, tenant: str | None = None, **facts: Any) -> Record:
    facts = {"completed_at": at(number), **facts}
    return a_record(number, status=Status.FAILED, error=error, tenant=tenant, **facts)


def tallied(records: Iterable[Record], most: int = MOST_CAUSES) -> FailureTallies:
    """The counts of these tasks, in the order in which they failed."""
    tallies = FailureTallies(most)
    for record in records:
        tallies.moved(None, record)
    return tallies


def counted(groups: list[FailureGroup]) -> dict[str, int]:
    return {group.words: group.count for group in groups}


def test_groups_show_what_failed() -> None:
    tallies = tallied(failed(n, f"{n} of {9 - n} failed") for n in range(1, 6))
    (group,) = tallies.groups(10)
    assert (group.words, group.count) == ("# of # failed", 5)
    assert (group.first_at, group.last_at) == (at(1), at(5))
    assert group.latest_error == "5 of 4 failed"
    assert group.examples == [task_id(5), task_id(4), task_id(3)]


def test_the_largest_groups_are_first() -> None:
    tallies = tallied(failed(n, ERRORS[n % 3 and 1 + n % 2]) for n in range(9))
    assert [group.count for group in tallies.groups(10)] == [3, 3, 3]
    assert len(tallies.groups(2)) == 2


def test_a_tenant_sees_its_own() -> None:
    tallies = tallied(failed(n, "no", "a" if n % 3 else "b") for n in range(9))
    assert [group.count for group in tallies.groups(10)] == [9]
    assert [group.count for group in tallies.groups(10, "a")] == [6]
    assert tallies.groups(10, "b")[0].examples == [task_id(6), task_id(3), task_id(0)]
    assert tallies.groups(10, "c") == []


def test_too_many_causes_are_counted_together() -> None:
    records = [failed(n, ERRORS[n % 4], "a") for n in range(8)]
    tallies = tallied(records, most=2)
    assert counted(tallies.groups(10)) == {ERRORS[0]: 2, ERRORS[1]: 2, OTHER: 4}
    assert tallies.groups(10)[0].id == OTHER
    assert OTHER not in counted(tallies.groups(10, "a")), "it is not known whose they are"
    for record in records:
        tallies.moved(record, None)
    assert tallies.groups(10) == []


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 9), st.sampled_from(["fail", "retry", "delete"]), st.integers(0, 3)
        )
    ),
    st.integers(1, 6),
)
def test_counts_follow_the_tasks(steps: list[tuple[int, str, int]], most: int) -> None:
    tallies, tasks = FailureTallies(most), dict[int, Record]()
    for number, verb, error in steps:
        was = tasks.get(number)
        new = {
            "fail": failed(number, ERRORS[error]),
            "retry": a_record(number, status=Status.PENDING),
            "delete": None,
        }[verb]
        tallies.moved(was, new)
        if new is None:
            tasks.pop(number, None)
        else:
            tasks[number] = new
    failures = [task for task in tasks.values() if task.status is Status.FAILED]
    groups = tallies.groups(100)
    assert sum(group.count for group in groups) == len(failures)
    assert all(group.count > 0 for group in groups)
    if most == 6:
        assert counted(groups) == counted(tallied(failures).groups(100))
    examples = {example for group in groups for example in group.examples}
    assert examples <= {task.id for task in failures}
