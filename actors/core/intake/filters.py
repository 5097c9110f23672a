"""Turns what a caller wrote into a checked `TaskFilter`."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeVar, get_args

import msgspec

from ..activity.failures import CAUSE_ID
from ..model import limits
from ..model.errors import Invalid
from ..model.task_filter import (
    MAX_LIMIT,
    MAX_OFFSET,
    Part,
    Sort,
    TaskFilter,
    read_cursor,
)
from ..model.tasks import ErrorCode, Status, TaskType, WaitingFor
from . import arguments
from .submission import parse_priority, parse_time

FIELDS = TaskFilter.__struct_fields__
REPEATABLE = frozenset(
    (
        "status", "type", "priority", "model", "batch_id", "cron_id", "tenant", "tag",
        "waiting_for", "error_code", "failure", "include",
    )
)  # fmt: skip
"""The fields that accept several values."""

E = TypeVar("E", bound=StrEnum)


def task_filter(raw: TaskFilter | Mapping[str, Any] | None) -> TaskFilter:
    """Check a caller's filter; a single value may be passed for a list.

    Raises `Invalid`, naming the field.
    """
    if raw is None:
        return TaskFilter()
    with arguments.reading("filter"):
        return _checked(raw)


def _checked(raw: Any) -> TaskFilter:
    if isinstance(raw, TaskFilter):
        raw = msgspec.structs.asdict(raw)
    facts = arguments.mapping(raw, "filter", "a TaskFilter or a dict")
    for name in facts:
        if name not in FIELDS:
            known = ", ".join(FIELDS)
            raise Invalid(f"{name} is not a filter; the filters are {known}", field=str(name))
    checked = TaskFilter(
        **{name: _READERS[name](value, name) for name, value in facts.items() if value is not None}
    )
    read_cursor(checked)
    return checked


def _each(read: Callable[[Any, str], Any]) -> Callable[[Any, str], list[Any]]:
    """A reader of one value or of a list of values."""

    def read_all(value: Any, name: str) -> list[Any]:
        several = isinstance(value, list | tuple | set | frozenset)
        values = value if several else [value]
        if len(values) > limits.VALUES:
            raise Invalid(f"{name} must be at most {limits.VALUES} values", field=name)
        return [read(each, name) for each in values]

    return read_all


def _one_of(*values: str) -> Callable[[Any, str], Any]:
    def read(value: Any, name: str) -> Any:
        if not isinstance(value, str) or value not in values:
            raise Invalid(f"{name} must be one of {', '.join(values)}", field=name)
        return value

    return read


def _member_of(kind: type[E]) -> Callable[[Any, str], E]:
    read = _one_of(*kind)
    return lambda value, name: kind(read(value, name))


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise Invalid(f"{name} must be a string", field=name)
    plain = str.__str__(value)
    limits.check_text(plain, name, limits.TEXT)
    return arguments.unicode(plain, name)


def _failure(value: Any, name: str) -> str:
    """The id of a group of failures."""
    if not isinstance(value, str) or CAUSE_ID.fullmatch(value) is None:
        raise Invalid(f"{name} must be the id of a group of failures, 16 hex digits", field=name)
    return value


def _whole(least: int, most: int) -> Callable[[Any, str], int]:
    def read(value: Any, name: str) -> int:
        return arguments.whole(value, name, least, most)

    return read


_READERS: dict[str, Callable[[Any, str], Any]] = {
    "status": _each(_member_of(Status)),
    "type": _each(_member_of(TaskType)),
    "priority": _each(lambda value, _: parse_priority(value)),
    "batch_id": _each(arguments.batch_id),
    "cron_id": _each(arguments.cron_id),
    **{name: _each(_text) for name in ("model", "tenant", "tag")},
    "waiting_for": _each(_member_of(WaitingFor)),
    "error_code": _each(_member_of(ErrorCode)),
    "failure": _each(_failure),
    "since": parse_time,
    "until": parse_time,
    "q": _text,
    "sort": _one_of(*get_args(Sort)),
    "limit": _whole(1, MAX_LIMIT),
    "offset": _whole(0, MAX_OFFSET),
    "cursor": _text,
    "include": _each(_one_of(*get_args(Part))),
}
