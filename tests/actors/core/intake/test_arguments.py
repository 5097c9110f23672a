"""What callers give to verbs: plain values, or `Invalid` with the argument's name."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given

from ollama_queue.actors.core.intake import arguments
from ollama_queue.actors.core.intake.arguments import LONGEST_WAIT_S
from ollama_queue.actors.core.intake.message_check import check
from ollama_queue.actors.core.messages import Cancel, DrainBackend, GetTask, ListTasks, Shutdown
from ollama_queue.actors.core.model import limits
from ollama_queue.actors.core.model.errors import Invalid, NotFound, QueueError
from ollama_queue.actors.core.model.task_filter import TaskFilter
from ollama_queue.actors.core.model.tasks import BatchSubmitted, Status, Submitted, TaskResult
from tests.support.any_value import anything

CHECKS: dict[str, Callable[[Any], Any]] = {
    "task_id": arguments.task_id,
    "batch_id": arguments.batch_id,
    "cron_id": arguments.cron_id,
    "name": arguments.backend,
    "ids": lambda value: arguments.ids(value, "ids", 10),
    "tasks": arguments.watched,
    "events": arguments.events,
    "timeout": lambda value: arguments.seconds(value, "timeout"),
    "limit": lambda value: arguments.whole(value, "limit", 1, 10),
    "idempotency_key": arguments.key,
    "new": arguments.task,
    "batch": arguments.tasks,
    "changes": lambda value: arguments.mapping(value, "changes", "a dict"),
    "callback": arguments.callback,
    "channel": arguments.channel,
}


@pytest.mark.parametrize("name", CHECKS)
@given(value=anything())
def test_any_value_is_taken_or_refused(name: str, value: Any) -> None:
    try:
        CHECKS[name](value)
    except NotFound:
        pass
    except Invalid as error:
        assert error.field is not None
        assert error.field.split("[")[0] in (name, "tasks")
        error.message.encode()


def test_a_record_stands_for_its_id() -> None:
    assert arguments.task_id(Submitted("a", Status.PENDING, 0)) == "a"
    assert arguments.task_id(TaskResult("a", True)) == "a"
    assert arguments.batch_id(BatchSubmitted("b", ["a"])) == "b"
    with pytest.raises(Invalid, match="batch_id must be a string, not of type Submitted"):
        arguments.batch_id(Submitted("a", Status.PENDING, 0))


@pytest.mark.parametrize("value", ["a/b", "..", ".", "../x", "a\nb", "\x00"])
def test_what_would_lead_elsewhere_in_a_path_is_no_id(value: str) -> None:
    with pytest.raises(NotFound):
        arguments.task_id(value)


@pytest.mark.parametrize("value", ["", "a" * (limits.NAME + 1), "\ud800", b"a", None, 5, ["a"]])
def test_what_is_no_text_is_no_id(value: Any) -> None:
    with pytest.raises(Invalid) as refused:
        arguments.task_id(value)

    assert refused.value.field == "task_id"


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, 10**400, True, "5", 2 * LONGEST_WAIT_S])
def test_a_timeout_is_finite(value: Any) -> None:
    with pytest.raises(Invalid, match="timeout must be seconds from 0 to"):
        arguments.seconds(value, "timeout")


@pytest.mark.parametrize(
    "timeout,said", [(0.1, "0.1"), (5, "5"), (1234567.5, "1234567.5"), (31536000.0, "31536000")]
)
def test_a_timeout_is_quoted_as_it_was_given(timeout: float, said: str) -> None:
    assert str(arguments.late("nothing came", timeout)) == f"nothing came within {said} s"


def test_the_longest_timeout_is_a_number_that_people_read() -> None:
    with pytest.raises(Invalid, match="timeout must be seconds from 0 to 31536000, or None"):
        arguments.seconds(-1, "timeout")


@pytest.mark.parametrize(
    "message",
    [
        GetTask("\ud800"),
        Cancel(5),  # type: ignore[arg-type]
        DrainBackend(["a"], True),  # type: ignore[arg-type]
        Shutdown("x"),  # type: ignore[arg-type]
        Shutdown(math.nan),
        ListTasks(TaskFilter(batch_id=["\ud800"])),
    ],
)
def test_an_actor_sees_what_it_cannot_read(message: Any) -> None:
    with pytest.raises(QueueError):
        check(message)
