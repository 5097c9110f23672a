"""What may be asked of a list, in which forms, and what is said of the rest."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ollama_queue.actors.core.intake.filters import task_filter
from ollama_queue.actors.core.model.errors import Invalid
from ollama_queue.actors.core.model.task_filter import Cursor, TaskFilter, TaskMatcher, read_cursor
from ollama_queue.actors.core.model.tasks import Record, Status, TaskType

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def test_nothing_given_wants_everything() -> None:
    assert task_filter(None) == task_filter({}) == task_filter(TaskFilter()) == TaskFilter()


def test_words_become_values_and_one_a_list() -> None:
    given = {
        "status": "failed",
        "type": ["chat", "embed"],
        "priority": ["high", 1],
        "tag": ("a", "b"),
        "since": "2026-01-02T13:00:00+01:00",
        "q": "x",
        "sort": "ended",
        "include": "payload",
        "cursor": None,
    }

    assert task_filter(given) == TaskFilter(
        status=[Status.FAILED],
        type=[TaskType.CHAT, TaskType.EMBED],
        priority=[10, 1],
        tag=["a", "b"],
        since=NOON,
        q="x",
        sort="ended",
        include=["payload"],
    )


def test_a_record_is_checked_like_a_dict() -> None:
    made: Any = TaskFilter
    assert task_filter(made(status="failed")).status == [Status.FAILED]
    with pytest.raises(Invalid, match="limit must be a whole number from 1 to 1000"):
        task_filter(TaskFilter(limit=0))


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"state": "failed"}, "state", "state is not a filter; the filters are status, type"),
        ({"status": "done"}, "status", "status must be one of pending, running, completed"),
        ({"status": 5}, "status", "status must be one of pending"),
        ({"type": "talk"}, "type", "type must be one of chat, generate, embed"),
        ({"priority": 16}, "priority", "priority must be low, normal, high, critical or"),
        ({"model": 3}, "model", "model must be a string"),
        ({"since": "today"}, "since", "since must be a time with a zone"),
        ({"until": datetime(2026, 1, 1)}, "until", "until must be a time with a zone"),
        ({"sort": "age"}, "sort", "sort must be one of created, started, ended, priority"),
        ({"limit": 1001}, "limit", "limit must be a whole number from 1 to 1000"),
        ({"limit": True}, "limit", "limit must be a whole number from 1 to 1000"),
        ({"offset": -1}, "offset", "offset must be a whole number from 0 to 10000"),
        ({"include": ["options"]}, "include", "include must be one of payload, result"),
        ({"cursor": "x"}, "cursor", "cursor must come from an earlier page"),
        ({"cursor": "created.0.ab\n"}, "cursor", "cursor must come from an earlier page"),
        (
            {"cursor": "age.0.ab"},
            "cursor",
            "cursor is of a list sorted by age, this one is sorted by",
        ),
        (
            {"cursor": "created.0.ab", "sort": "ended"},
            "cursor",
            "cursor is of a list sorted by created, this one is sorted by ended",
        ),
        (
            {"cursor": "created.0.ab", "offset": 1},
            "offset",
            "offset cannot be given together with cursor",
        ),
        (["failed"], "filter", "filter must be a TaskFilter or a dict"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(given: Any, field: str, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        task_filter(given)
    assert refused.value.field == field
    assert refused.value.message.startswith(words)


def test_a_cursor_is_read_as_it_was_written() -> None:
    cursor = Cursor("priority", 7, "f0199c2a4-7d3e")
    assert read_cursor(TaskFilter(sort="priority", cursor=str(cursor))) == cursor
    assert read_cursor(TaskFilter(offset=5)) == Cursor("created", 5, "")


def a_record(**facts: Any) -> Record:
    made = {"id": "0a", "type": TaskType.CHAT, "model": "qwen3:latest", "priority": 5}
    times = {"created_at": NOON, "queued_at": NOON}
    return Record(**{**made, **times, "max_retries": 3, "title": "The Sky", **facts})


@pytest.mark.parametrize(
    ("wanted", "is_wanted"),
    [
        ({}, True),
        ({"model": ["qwen3"]}, True),
        ({"model": ["llama3", "qwen3:latest"]}, True),
        ({"model": ["qwen3:8b"]}, False),
        ({"tag": ["b", "c"]}, True),
        ({"tag": ["c"]}, False),
        ({"tenant": ["acme"]}, False),
        ({"type": [TaskType.EMBED]}, False),
        ({"q": "the sky"}, True),
        ({"q": "QWEN"}, True),
        ({"q": "0A"}, True),
        ({"q": "ÜB"}, True),
        ({"q": "sea"}, False),
        ({"q": "sky", "tag": ["c"]}, False),
    ],
)
def test_a_record_fits_or_not(wanted: dict[str, Any], is_wanted: bool) -> None:
    record = a_record(tags=["a", "b", "über"])
    assert (record in TaskMatcher(TaskFilter(**wanted))) is is_wanted
