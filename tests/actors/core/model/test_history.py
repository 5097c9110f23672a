"""The history counts each event in its minute, and forgets what is older than an hour."""

from collections import Counter
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ollama_queue.actors.core.model.events import EventRecord
from ollama_queue.actors.core.model.history import MINUTES, PACE_S, History
from ollama_queue.actors.core.model.stats import Minute
from ollama_queue.actors.core.model.tasks import ErrorCode, Record, Status, TaskType
from ollama_queue.actors.core.plan.settle import utc

BEGIN = 1_700_000_040.0  # a minute's first second
ENDS = {
    "task_completed": Status.COMPLETED,
    "task_failed": Status.FAILED,
    "task_cancelled": Status.CANCELLED,
}


def event(name: str, seconds: float, **facts: Any) -> EventRecord:
    """Something that happened so many seconds after `BEGIN`."""
    at = utc(BEGIN + seconds)
    made = {
        "id": "a",
        "type": TaskType.GENERATE,
        "model": "m",
        "priority": 5,
        "max_retries": 3,
        "created_at": at,
        "queued_at": at,
        "status": ENDS.get(name, Status.PENDING),
        **facts,
    }
    return EventRecord(name, Record(**made), at, seq=1)


def start(seconds: float, waited: float, attempt: int = 1) -> EventRecord:
    at = utc(BEGIN + seconds)
    queued = at - timedelta(seconds=waited)
    return event("task_started", seconds, queued_at=queued, started_at=at, attempt=attempt)


def after(*events: EventRecord) -> History:
    history = History(BEGIN)
    for each in events:
        history.take(each)
    return history


def minute(number: int, **facts: Any) -> Minute:
    nothing = dict.fromkeys(
        ("submitted", "started", "completed", "failed", "cancelled", "throughput", "tokens"), 0
    )
    waits = {"wait_mean_s": None, "wait_max_s": None}
    return Minute(**{"at": utc(BEGIN + 60 * number), **nothing, **waits, **facts})


def test_each_event_counts_in_its_minute() -> None:
    history = after(
        event("task_submitted", 0),
        event("task_submitted", 59.9),
        event("task_submitted", 60),
        event("task_completed", 61, tokens=7),
        event("task_completed", 62, tokens=5),
        event("task_failed", 63, tokens=99),
        event("task_failed", 63, error_code=ErrorCode.EXPIRED),
        event("task_cancelled", 64),
    )

    ended = {"completed": 2, "failed": 2, "cancelled": 1, "throughput": 5, "tokens": 12}
    ended["expired"] = 1
    assert history.minutes(BEGIN + 130) == [
        minute(0, submitted=2),
        minute(1, submitted=1, **ended),
        minute(2),
    ]


def test_waits_are_those_of_first_starts() -> None:
    history = after(start(1, 0.5), start(2, 2.5), start(3, 100, attempt=2), start(4, -1))

    waits = {"wait_mean_s": 1.0, "wait_max_s": 2.5}
    assert history.minutes(BEGIN + 5) == [minute(0, started=3, **waits)]


def test_other_events_count_nothing() -> None:
    history = after(
        event("task_retrying", 1),
        event("priority_updated", 1),
        event("task_deleted", 1, status=Status.COMPLETED),
        EventRecord("queue_paused", None, utc(BEGIN), seq=2),
    )

    assert history.minutes(BEGIN) == [minute(0)]
    assert history.throughput(BEGIN + 1) == 0


# A time of an event is rounded to microseconds: one just before a minute would be in the next.
MILLISECONDS = st.integers(0, 3 * 3600 * 1000).map(lambda number: number / 1000)


def test_it_begins_with_the_start_and_keeps_an_hour() -> None:
    history = after(event("task_submitted", 0))

    assert len(history.minutes(BEGIN)) == 1
    assert len(history.minutes(BEGIN + 60 * (MINUTES - 1))) == MINUTES
    assert history.minutes(BEGIN + 60 * (MINUTES - 1))[0].submitted == 1
    later = history.minutes(BEGIN + 60 * MINUTES)
    assert (len(later), later[0]) == (MINUTES, minute(1))


def test_a_minute_takes_the_place_of_the_one_an_hour_before() -> None:
    history = after(event("task_submitted", 0), event("task_submitted", 3600))

    assert history.minutes(BEGIN + 3600)[-1] == minute(60, submitted=1)


def test_a_clock_that_is_put_back_shows_one_minute_at_least() -> None:
    assert history_at(-7200) == [minute(-120)]


def history_at(seconds: float) -> list[Minute]:
    return after(event("task_submitted", 0)).minutes(BEGIN + seconds)


def test_throughput_looks_back_a_minute() -> None:
    history = after(*(event("task_completed", second) for second in (0, 0.5, 30)))

    assert history.throughput(BEGIN + 30) == 0.05
    assert history.throughput(BEGIN + PACE_S) == round(1 / 60, 3)
    assert history.throughput(BEGIN + 30 + PACE_S) == 0


@given(
    st.lists(st.tuples(st.sampled_from(sorted(ENDS)), MILLISECONDS), max_size=200).map(
        lambda events: sorted(events, key=lambda each: each[1])
    )
)
def test_the_last_hour_is_counted_whole(told: list[tuple[str, float]]) -> None:
    history = after(*(event(name, seconds) for name, seconds in told))
    now = told[-1][1] if told else 0.0
    oldest = now // 60 * 60 - 60 * (MINUTES - 1)

    wanted = Counter(name for name, seconds in told if seconds >= oldest)
    minutes = history.minutes(BEGIN + now)
    assert sum(m.completed for m in minutes) == wanted["task_completed"]
    assert sum(m.failed for m in minutes) == wanted["task_failed"]
    assert sum(m.throughput for m in minutes) == wanted.total()
    recent = sum(1 for _, seconds in told if int(now) - PACE_S < int(seconds))
    assert history.throughput(BEGIN + now) == round(recent / PACE_S, 3)
