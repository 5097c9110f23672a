"""Checks that a message's fields have their declared types, so that bad ones are answered.

Doors check what callers pass. This covers a door that did not: one wrong field must not end an
actor and, with it, all running calls.
"""

import math
from functools import cache
from typing import Any, get_type_hints

import msgspec
from msgspec import Struct

from ..model.errors import Invalid
from ..model.task_filter import TaskFilter
from .arguments import unicode
from .filters import task_filter

_LOOKED_AT = (
    str,
    str | None,
    int,
    int | None,
    float,
    bool,
    bytes,
    bytes | None,
    tuple[str, ...],
    frozenset[str] | None,
    dict[str, Any],
    dict[str, Any] | None,
)


# Values of these very types need no further look.
_CERTAIN: dict[Any, tuple[type, ...]] = {
    int: (int,),
    int | None: (int, type(None)),
    bool: (bool,),
    bytes: (bytes,),
    bytes | None: (bytes, type(None)),
}


def check(message: Any) -> None:
    """Raise `Invalid`, naming the field, for a value of the wrong type."""
    kind: Any = type(message)
    for name, hint, certain in _fields(kind):
        value = getattr(message, name)
        if type(value) in certain:
            continue
        if hint is TaskFilter:
            task_filter(value)
            continue
        try:
            msgspec.convert(value, hint)
        except msgspec.ValidationError as error:
            raise Invalid(f"{name}: {error}", field=name) from None
        for text in value if isinstance(value, tuple | frozenset) else (value,):
            if isinstance(text, str):
                unicode(text, name)
            elif isinstance(text, float) and not math.isfinite(text):
                raise Invalid(f"{name} must be a finite number", field=name)


@cache
def _fields(kind: type[Any]) -> tuple[tuple[str, Any, tuple[type, ...]], ...]:
    """The fields with plain values; records were checked when they were created."""
    if not issubclass(kind, Struct):
        return ()
    hints = get_type_hints(kind)
    known = (*_LOOKED_AT, TaskFilter)
    return tuple(
        (name, hints[name], _CERTAIN.get(hints[name], ()))
        for name in kind.__struct_fields__
        if hints[name] in known
    )
