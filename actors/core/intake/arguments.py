"""Checks the arguments of verbs where callers pass them, the same for all three classes.

Each function returns a plain value that actors can rely on, or raises `Invalid` with the argument's
name as its `field`. None of them trusts what an object claims about itself.
"""

# mypy: disable-error-code="type-abstract"
# `_is` makes nothing of the class it is given: it may be an abstract one, such as `Mapping`.

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, TypeGuard, TypeVar, get_args, overload

from ..model import limits
from ..model.crons import Cron, IfExists
from ..model.errors import Invalid, NotFound, QueueError, choose_from
from ..model.event_names import EVENTS
from ..model.ids import plain_batch_id
from ..model.tasks import (
    Batch,
    BatchSubmitted,
    NewTask,
    Submitted,
    Task,
    TaskResult,
)

LONGEST_WAIT_S = 31_536_000.0  # a year
ANY_NUMBER = 1 << 31  # no limit on ids: they are those of an accepted batch
LONGEST_ANSWER_S = 3600.0  # the longest that one request, or `get_task`, may wait for a task's end

OfTask = str | Task | Submitted | TaskResult
"""A task's id, or a record that contains it."""
OfBatch = str | Batch | BatchSubmitted
"""A batch's id, or a record that contains it."""
OfCron = str | Cron
"""A cron's id, or the cron."""

Tasks = OfTask | Collection[OfTask]
"""One task or several."""
AnyTask = NewTask | Mapping[str, Any]
"""A task to submit: a record, or a mapping of its fields, as in HTTP."""

_NUMBER = re.compile(r"-?\d{1,9}(\.\d{1,9})?", re.ASCII)
_KEEP_ALIVE = re.compile(
    r"-?\d{1,9}(\.\d{1,9})?|-?(\d{1,9}(\.\d{1,9})?(ns|us|µs|ms|s|m|h))+", re.ASCII
)

T = TypeVar("T")
C = TypeVar("C")
_TEXTS = frozenset({str})


class _Reading:
    """A generator with `contextmanager` would take three times as long, for each task."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: object,
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, QueueError):
            message = f"{self._name} cannot be read: {type(error).__name__}"
            raise Invalid(message, field=self._name) from error


def reading(name: str) -> _Reading:
    """Turn any other exception that the code of a caller's objects raises into `Invalid`."""
    return _Reading(name)


def text(value: object, name: str, most: int) -> str:
    """Check for text of 1 to `most` characters of valid Unicode."""
    if not _is(value, str):
        raise Invalid(f"{name} must be a string, not {_kind(value)}", field=name)
    plain = str.__str__(value)
    if not 1 <= len(plain) <= most:
        raise Invalid(f"{name} must have 1 to {most} characters, not {len(plain)}", field=name)
    return unicode(plain, name)


def unicode(plain: str, name: str) -> str:
    try:
        plain.encode()
    except UnicodeEncodeError:
        raise Invalid(
            f"{name} must be Unicode: it contains half a surrogate pair", field=name
        ) from None
    return plain


def task_id(value: object, name: str = "task_id") -> str:
    return _id(value.id if isinstance(value, Task) else value, name, "task")


def batch_id(value: object, name: str = "batch_id") -> str:
    plain = _id(value.id if isinstance(value, Batch) else value, name, "batch")
    return plain_batch_id(plain) or plain


def members(value: object) -> list[str] | None:
    """The ids of a batch's tasks, if the caller's record has them."""
    if not _is(value, BatchSubmitted):
        return None
    return ids(value.task_ids, "batch_id", ANY_NUMBER)


def cron_id(value: object, name: str = "cron_id") -> str:
    return _id(value.id if isinstance(value, Cron) else value, name, "cron")


def backend(value: object) -> str:
    return _id(value, "name", "backend")


def model(value: object) -> str:
    plain = text(value, "model", limits.NAME)
    if not plain.strip():
        raise Invalid("model must name a model, such as qwen3", field="model")
    return plain


def keep_alive(value: object) -> str | float | None:
    """Check for a duration as Ollama writes it: `5m`, `1h30m`, `-1`, or seconds."""
    wanted = 'keep_alive must be a duration such as "10m", or seconds; -1 is for ever'
    if value is None:
        return None
    if _is(value, str):
        plain = str.__str__(value)
        if len(plain) > 64 or not _KEEP_ALIVE.fullmatch(plain):
            raise Invalid(wanted, field="keep_alive")
        # Ollama takes a number without a unit only as a number.
        return float(plain) if _NUMBER.fullmatch(plain) else plain
    number: float
    if _is(value, float):
        number = float.__float__(value)
    elif _is(value, int) and not _is(value, bool):
        number = int.__index__(value)
    else:
        raise Invalid(wanted, field="keep_alive")
    if not -LONGEST_WAIT_S <= number <= LONGEST_WAIT_S:
        raise Invalid(wanted, field="keep_alive")
    return number


def _id(value: object, name: str, kind: str) -> str:
    """Raise `NotFound` for what cannot be an id: in a path it could lead to another route."""
    if kind == "task" and isinstance(value, Submitted | TaskResult):
        value = value.task_id
    if kind == "batch" and isinstance(value, BatchSubmitted):
        value = value.batch_id
    plain = text(value, name, limits.NAME)
    if "/" in plain or plain in (".", "..") or any(c < " " or c == "\x7f" for c in plain):
        raise NotFound(f"there is no {kind} {plain!r}")
    return plain


def ids(value: object, name: str, most: int, least: int = 1) -> list[str]:
    """Check for `least` to `most` tasks; their ids without duplicates, in order."""
    wrong = f"{name} must be a list of ids of tasks"
    if not _is(value, Collection) or _is(value, (str, bytes, bytearray, Mapping)):
        raise Invalid(wrong, field=name)
    with reading(name):
        several = list(value)
    if not least <= len(several) <= most:
        raise Invalid(f"{name} must be {least} to {most} ids, not {len(several)}", field=name)
    return list(dict.fromkeys(task_id(each, f"{name}[{n}]") for n, each in enumerate(several)))


def watched(value: object) -> frozenset[str] | None:
    """The tasks of a subscription; a single task counts as a list of one."""
    if value is None:
        return None
    alone = _is(value, (str, Task, Submitted, TaskResult))
    if not alone and _is(value, Collection) and _is_empty(value):
        return frozenset()
    return frozenset(ids([value] if alone else value, "tasks", limits.IDS))


def _is_empty(value: Collection[Any]) -> bool:
    with reading("tasks"):
        return len(value) == 0


def events(value: object) -> frozenset[str] | None:
    """The names of events; a single name counts as a list of one."""
    if value is None:
        return None
    if not _is(value, Collection) or _is(value, (bytes, bytearray, Mapping)):
        raise Invalid("events must be a list of names of events", field="events")
    names: list[object] = [value]
    if not _is(value, str):
        with reading("events"):
            names = list(value)
    plain = [text(each, "events", limits.NAME) for each in names]
    for each in plain:
        if each not in EVENTS:
            message = f"there is no event {each}: {choose_from(sorted(EVENTS))}"
            raise Invalid(message, field="events")
    return frozenset(plain)


def seconds(value: object, name: str, most: float = LONGEST_WAIT_S) -> float | None:
    """Check for 0 to `most` seconds, or None."""
    if value is None:
        return None
    number = -1.0
    with reading(name):
        if _is(value, float):
            number = float.__float__(value)
        elif _is(value, int) and not _is(value, bool):
            number = float(min(int.__index__(value), 1 << 60))
    if not 0 <= number <= most:
        raise Invalid(f"{name} must be seconds from 0 to {most:.0f}, or None", field=name)
    return number


def late(what: str, timeout: float | None) -> TimeoutError:
    """The error for what did not happen within `timeout` seconds, quoted as they were passed."""
    return TimeoutError(what if timeout is None else f"{what} within {timeout:.15g} s")


def whole(value: object, name: str, least: int, most: int) -> int:
    number = least - 1
    if _is(value, int) and not _is(value, bool):
        number = int.__index__(value)
    if not least <= number <= most:
        raise Invalid(f"{name} must be a whole number from {least} to {most}", field=name)
    return number


def if_exists(value: object) -> IfExists | None:
    known: tuple[IfExists, ...] = get_args(IfExists)
    if value is None:
        return None
    for each in known:
        if type(value) is str and value == each:
            return each
    raise Invalid(f"if_exists must be one of {', '.join(known)}", field="if_exists")


def key(value: object) -> str | None:
    """Check for an idempotency key that can be sent in a header."""
    if value is None:
        return None
    if not _is(value, str):
        raise Invalid(
            f"the idempotency key must be a string, not {_kind(value)}", field="idempotency_key"
        )
    plain = unicode(str.__str__(value), "idempotency_key")
    if not 1 <= len(plain) <= limits.NAME:
        raise Invalid(
            f"the idempotency key must have 1 to {limits.NAME} characters", field="idempotency_key"
        )
    if plain != plain.strip() or any(c < " " or c == "\x7f" for c in plain):
        raise Invalid(
            "the idempotency key must not contain control characters or surrounding blanks",
            field="idempotency_key",
        )
    return plain


def task(value: object, name: str = "new") -> NewTask | dict[str, Any]:
    """Check for a task to submit: a `NewTask`, or a mapping of its fields."""
    if type(value) is dict and {*map(type, value)} <= _TEXTS:
        return value.copy()
    if _is(value, NewTask):
        return value
    return mapping(value, name, "a NewTask, or a mapping of its fields")


def tasks(value: object) -> Iterator[Any]:
    """Check for an iterable; its items are checked one by one later."""
    if _is(value, (str, bytes, bytearray, Mapping, NewTask)) or not _is(value, Iterable):
        raise Invalid(f"tasks must be a list of tasks, not {_kind(value)}", field="tasks")
    with reading("tasks"):
        return iter(value)


def mapping(value: object, name: str, expected: str) -> dict[str, Any]:
    """Check for a mapping with text keys; returns a plain dict."""
    if not _is(value, Mapping):
        raise Invalid(f"{name} must be {expected}, not {_kind(value)}", field=name)
    with reading(name):
        facts: dict[str, Any] = dict(value)
    if not all(type(each) is str for each in facts):
        raise Invalid(f"{name} must be {expected}: its keys are texts", field=name)
    return facts


def callback(value: C, name: str = "callback") -> C:
    if not callable(value):
        raise Invalid(f"{name} must be callable, not {_kind(value)}", field=name)
    return value


def channel(value: object) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """A queue's `put`, and its put without waiting for space, if it has one."""
    with reading("channel"):
        put = getattr(value, "put", None)
        put_now = getattr(value, "put_nowait", put)
    if not callable(put) or not callable(put_now):
        raise Invalid(f"channel must be a queue, with put, not {_kind(value)}", field="channel")
    return put, put_now


def on_progress(value: C) -> C:
    return value if value is None else callback(value, "on_progress")


def flag(value: object, name: str) -> bool:
    if type(value) is not bool:
        raise Invalid(f"{name} must be True or False, not {_kind(value)}", field=name)
    return value


def record(value: object, kind: type[T], name: str) -> T:
    if not _is(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise Invalid(f"{name} must be {article} {kind.__name__}, not {_kind(value)}", field=name)
    return value


@overload
def _is(value: object, kinds: type[T]) -> TypeGuard[T]: ...
@overload
def _is(value: object, kinds: tuple[type, ...]) -> bool: ...
def _is(value: object, kinds: Any) -> bool:
    return issubclass(type(value), kinds)  # isinstance would trust an overridden __class__


def _kind(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
