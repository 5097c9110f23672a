"""Turns what an admin wrote into a checked API key."""

from typing import Any

import msgspec

from ..access.checks import check_new
from ..model.access_keys import NewKey
from ..model.errors import Invalid
from . import arguments
from .submission import parse_priority, parse_time


def new_key(raw: Any) -> NewKey:
    """Check a key from JSON or a caller. Raises `Invalid`, naming the field."""
    fields = (
        msgspec.structs.asdict(raw)
        if isinstance(raw, NewKey)
        else arguments.mapping(raw, "new", "a JSON object")
    )
    if fields.get("max_priority") is not None:
        try:
            fields["max_priority"] = parse_priority(fields["max_priority"])
        except Invalid as error:
            raise Invalid(f"max_{error.message}", field="max_priority") from None
    if fields.get("expires_at") is not None:
        fields["expires_at"] = parse_time(fields["expires_at"], "expires_at")
    try:
        key = msgspec.convert(fields, NewKey)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        name = where.rstrip("`") or "key"
        raise Invalid(f"{name}: {what[0].lower()}{what[1:]}", field=name) from None
    check_new(key)
    return key
