"""The key and type of each setting, and the conversion of raw values."""

import difflib
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from enum import EnumType
from types import NoneType
from typing import Any, Literal, NoReturn, get_args, get_origin

import msgspec

from ..core.access.meters import RATE_WANTED, read_rate
from ..core.config.config import (
    Config,
    Database,
    Names,
    OllamaHost,
    Path,
    Seconds,
    Secret,
    Size,
    Url,
)
from ..core.intake.submission import parse_priority, parse_time
from ..core.model.access_keys import Moment, Rate, TopPriority
from ..core.model.errors import Invalid, choose_from
from .notation import parse_duration, parse_ollama_host, parse_size, shown


def _kinds(struct: Any, before: str = "") -> dict[str, Any]:
    return {f"{before}{field.name}": field.type for field in msgspec.structs.fields(struct)}


def is_list(kind: Any) -> bool:
    return get_origin(kind) is list


def is_table(kind: Any) -> bool:
    """Whether it is a group whose keys are the user's: `models`."""
    return get_origin(kind) is dict


def plain(kind: Any) -> Any:
    """The type of a value without null."""
    if NoneType not in get_args(kind):
        return kind
    return next(part for part in get_args(kind) if part is not NoneType)


SECTIONS = list(_kinds(Config))
KEYS: dict[str, Any] = {}
"""The type of each setting, by `section.name`, or by `section` for a list or a table."""
for _section, _kind in _kinds(Config).items():
    is_whole = is_list(_kind) or is_table(_kind)
    KEYS |= {_section: _kind} if is_whole else _kinds(_kind, f"{_section}.")


def check_known(key: str, origin: str) -> None:
    """Raise `Invalid`, with the nearest known key, for an unknown key."""
    if key not in KEYS:
        section = key.partition(".")[0]
        kin = [name for name in KEYS if name.startswith(f"{section}.")]
        _refuse_unknown(key, origin, KEYS, kin or SECTIONS)


def checked(key: str, raw: Any, kind: Any, origin: str) -> Any:
    """Convert `raw` to a plain value of `kind`. Raises `Invalid` with the key and its origin."""
    if is_list(kind):
        if raw is not None and not isinstance(raw, list):
            raise Invalid(f"{origin}: {key} must be a list", field=key)
        (item,) = get_args(kind)
        return [checked(f"{key}[{n}]", each, item, origin) for n, each in enumerate(raw or ())]
    if is_table(kind):
        if raw is not None and not isinstance(raw, Mapping):
            raise Invalid(f"{origin}: {key} must be a group", field=key)
        _, item = get_args(kind)
        return {
            str(name): checked(f"{key}.{name}", each, item, origin)
            for name, each in (raw or {}).items()
        }
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _checked_group(key, raw, kind, origin)
    try:
        return _converted(raw, kind)
    except Invalid as error:
        raise Invalid(f"{origin}: {key}: {error.message}", field=key) from None


def _checked_group(where: str, raw: Any, kind: Any, origin: str) -> dict[str, Any]:
    required = [field.name for field in msgspec.structs.fields(kind) if field.required]
    if not isinstance(raw, Mapping):
        needed = f"a {' and a '.join(required)}" if required else "settings of its own"
        raise Invalid(f"{origin}: {where} must be a group with {needed}", field=where)
    known = _kinds(kind, f"{where}.")
    group = {}
    for name, item in raw.items():
        key = f"{where}.{name}"
        if key not in known:
            _refuse_unknown(key, origin, known, known)
        group[name] = checked(key, item, known[key], origin)
    for name in required:
        if name not in group:
            raise Invalid(f"{origin}: {where}.{name} is missing", field=f"{where}.{name}")
    return group


def _refuse_unknown(
    key: str, origin: str, known: Iterable[str], instead: Iterable[str]
) -> NoReturn:
    near = difflib.get_close_matches(key, list(known), 1)
    hint = f"did you mean {near[0]}?" if near else choose_from(instead)
    raise Invalid(f"{origin}: {key} is not a setting: {hint}", field=key)


def _converted(raw: Any, kind: Any) -> Any:
    """Convert `raw` to `kind`; text may be a number, as the environment has only text."""
    is_text = isinstance(raw, str)
    if kind != plain(kind) and (raw is None or (is_text and raw.lower() == "null")):
        return None
    kind = plain(kind)
    if kind in _PARSERS:
        return _PARSERS[kind](raw)
    if is_text and (get_origin(kind) is Literal or isinstance(kind, EnumType)):
        raw = raw.lower()
    try:
        return msgspec.convert(raw, kind, strict=False)
    except msgspec.ValidationError:
        raise Invalid(f"{shown(raw)} is not {_wanted(kind)}") from None


def _wanted(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if isinstance(kind, EnumType):
        return f"one of {', '.join(kind)}"
    return {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}[kind]


def _path(raw: Any) -> str:
    text: str = _converted(os.fspath(raw) if isinstance(raw, os.PathLike) else raw, str)
    return os.path.expanduser(text)


def _secret(raw: Any) -> str:
    if not isinstance(raw, str):
        raise Invalid("must be a string in quotes")  # the value is a secret: do not show it
    return raw


def _rate(raw: Any) -> str:
    text: str = _converted(raw, str)
    if read_rate(text) is None:
        raise Invalid(f"must be {RATE_WANTED}")
    return text


def _moment(raw: Any) -> datetime:
    """An instant; a date is its beginning, in UTC."""
    if type(raw) is date:
        return datetime(raw.year, raw.month, raw.day, tzinfo=UTC)
    return parse_time(raw, "it")


def _names(raw: Any) -> list[str]:
    names = [raw] if isinstance(raw, str) else raw
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Invalid("must be a name or a list of names")
    return names


_PARSERS: dict[Any, Callable[[Any], Any]] = {
    Seconds: parse_duration,
    Size: parse_size,
    OllamaHost: parse_ollama_host,
    Path: _path,
    Secret: _secret,
    Database: _secret,
    Names: _names,
    Url: lambda raw: _converted(raw, str),
    TopPriority: parse_priority,
    Rate: _rate,
    Moment: _moment,
}
