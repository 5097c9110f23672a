"""Which tasks a verb of many is meant for, and what is told of what came of it."""

from typing import Any

import pytest

from ollama_queue.actors.core.intake.bulk import (
    MEANT_FOR,
    MOST_IDS,
    SLICE,
    BulkError,
    BulkResult,
    Verb,
    check_ids,
    narrowed,
    summed,
)
from ollama_queue.actors.core.model.errors import (
    Conflict,
    Invalid,
    NotFound,
    OutcomeUnknown,
    Unavailable,
)
from ollama_queue.actors.core.model.lifecycle import NEXT
from ollama_queue.actors.core.model.task_filter import TaskFilter
from ollama_queue.actors.core.model.tasks import Status


@pytest.mark.parametrize("verb", Verb)
def test_a_filter_without_status_matches_what_the_verb_can_be_done_to(verb: Verb) -> None:
    wanted = narrowed(verb, {"model": "m"})

    assert wanted == TaskFilter(model=["m"], status=list(MEANT_FOR[verb]), limit=SLICE)


def test_what_a_verb_is_meant_for_follows_from_the_lifecycle() -> None:
    assert set(MEANT_FOR[Verb.CANCEL]) == {s for s in Status if Status.CANCELLED in NEXT[s]}
    assert set(MEANT_FOR[Verb.RETRY]) == {
        s for s in Status if s.is_final and Status.PENDING in NEXT[s]
    }
    assert set(MEANT_FOR[Verb.DELETE]) == {s for s in Status if s.is_final}
    assert set(MEANT_FOR[Verb.PRIORITY]) == {s for s in Status if not s.is_final}


def test_a_status_of_the_filter_stands() -> None:
    wanted = narrowed(Verb.DELETE, TaskFilter(status=[Status.FAILED]))

    assert wanted is not None
    assert wanted.status == [Status.FAILED]


@pytest.mark.parametrize(
    ("verb", "status"),
    [(verb, status) for verb in Verb for status in Status if status not in MEANT_FOR[verb]],
)
def test_a_status_that_cannot_be_is_invalid(verb: Verb, status: Status) -> None:
    with pytest.raises(Invalid, match=f"status {status} is not for {verb}") as refused:
        narrowed(verb, {"status": [*MEANT_FOR[verb], status]})

    assert refused.value.field == "status"


@pytest.mark.parametrize(
    "facts", [{"limit": 10}, {"offset": 1}, {"sort": "ended"}, {"include": ["result"]}]
)
def test_what_is_for_lists_is_invalid(facts: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="is for lists") as refused:
        narrowed(Verb.CANCEL, facts)

    assert [refused.value.field] == list(facts)


def test_what_has_the_priority_already_is_left_out() -> None:
    everything = narrowed(Verb.PRIORITY, {}, level=5)
    some = narrowed(Verb.PRIORITY, {"priority": [1, 5]}, level=5)

    assert everything is not None
    assert some is not None
    assert everything.priority == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    assert some.priority == [1]
    assert narrowed(Verb.PRIORITY, {"priority": 5}, level=5) is None


def test_each_id_counts_once() -> None:
    assert check_ids(["b", "a", "b"]) == ["b", "a"]
    assert check_ids(("a",)) == ["a"]
    assert len(check_ids([str(n) for n in range(MOST_IDS)])) == MOST_IDS


@pytest.mark.parametrize(
    "ids", ["abc", b"abc", [], {"a": 1}, ["a", 1], 5, [str(n) for n in range(MOST_IDS + 1)]]
)
def test_wrong_ids_are_invalid(ids: Any) -> None:
    with pytest.raises(Invalid) as refused:
        check_ids(ids)

    assert refused.value.field in ("ids", "ids[1]")


def test_the_result_tells_of_each_error() -> None:
    answers = [object(), Conflict("no"), None, NotFound("gone"), OutcomeUnknown("late")]

    assert summed("abcde", answers, 7) == BulkResult(
        2,
        [
            BulkError("b", "conflict", "no"),
            BulkError("d", "not_found", "gone"),
            BulkError("e", "outcome_unknown", "late"),
        ],
        7,
    )
    assert summed("", [], 0) == BulkResult(0, [], 0)


def test_a_queue_that_is_away_is_an_error_of_the_whole() -> None:
    with pytest.raises(OutcomeUnknown, match="first"):
        summed("ab", [OutcomeUnknown("first"), Unavailable("second")], 0)

    assert summed("ab", [Unavailable("away"), Conflict("no")], 0).done == 0
