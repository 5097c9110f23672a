"""From a YAML file, the environment and flags to a `Config`; says in one line what is wrong."""

import difflib
import os.path
import re
from collections.abc import Callable, Iterable, Mapping
from types import NoneType
from typing import Any, Literal, NamedTuple, NoReturn, get_args, get_origin

import msgspec

from ollama_queue.actors.core.config import Backend, Config
from ollama_queue.actors.core.errors import Invalid
from ollama_queue.actors.notation import parse_duration, parse_ollama_host, parse_size, shown

__all__ = ["ENVIRONMENT", "load", "parse_duration", "parse_ollama_host", "parse_size"]

_SECTIONS: dict[str, Any] = {
    field.name: field.type for field in msgspec.structs.fields(Config) if field.name != "backends"
}
_TYPES: dict[str, Any] = {
    f"{section}.{field.name}": field.type
    for section, kind in _SECTIONS.items()
    for field in msgspec.structs.fields(kind)
}
_BACKEND: dict[str, Any] = {field.name: field.type for field in msgspec.structs.fields(Backend)}
_NOT_YET = {
    "scheduler.batch_size",
    "scheduler.scheduling_interval",
    "queue.cleanup_interval",
    "queue.max_completed_tasks",
    "logging.file",
}
_PREFIX = {"retry_config": "RETRY", "logging": "LOG"}


def _variable(key: str) -> str:
    section, _, name = key.partition(".")
    return f"{_PREFIX.get(section, section.upper())}_{name.upper()}"


ENVIRONMENT = {_variable(key): key for key in _TYPES}
"""The key that each environment variable sets."""


class _Value(NamedTuple):
    """What was written for a key, and where, for the sentence that says it is wrong."""

    raw: Any
    origin: str


def load(path: str | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Config:
    """The settings: flags beat environment beats file beats defaults.

    `path` None reads no file; `flags` maps keys such as `server.port` to values, None where a
    flag was not given; an empty environment variable counts as unset. Raises `Invalid`.
    """
    values = {} if path is None else _from_file(path, environ)
    for variable, key in ENVIRONMENT.items():
        if environ.get(variable):
            values[key] = _Value(environ[variable], f"environment variable {variable}")
    for key, raw in flags.items():
        if raw is not None:
            _check_known(key, "command line")
            values[key] = _Value(raw, "command line")
    sections: dict[str, Any] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        checked = _checked_backends(value) if key == "backends" else _checked(key, value)
        if name:
            sections.setdefault(section, {})[name] = checked
        else:
            sections[section] = checked
    try:
        return msgspec.convert(sections, Config)
    except Invalid as error:
        raise _located(error, values, path) from None


# --- the file ---------------------------------------------------------------------------------


def _from_file(path: str, environ: Mapping[str, str]) -> dict[str, _Value]:
    """Each key that the file gives, with its `${VARIABLES}` filled in."""
    values = {}
    for section, content in _document(path).items():
        if section == "backends":
            key = "backends"
            if content is not None:
                values[key] = _Value(_expanded(content, key, path, environ), path)
            continue
        if section not in _SECTIONS:
            inner = next(iter(content), None) if isinstance(content, Mapping) else None
            _check_known(str(section) if inner is None else f"{section}.{inner}", path)
        if content is not None and not isinstance(content, Mapping):
            raise Invalid(f"{path}: {section} must be a group of settings", field=section)
        for name, raw in (content or {}).items():
            key = f"{section}.{name}"
            _check_known(key, path)
            values[key] = _Value(_expanded(raw, key, path, environ), path)
    return values


def _document(path: str) -> Mapping[Any, Any]:
    import yaml  # only who has a file waits for it

    try:
        with open(path, encoding="utf-8") as file:
            document = yaml.safe_load(file)
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", field="config") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        words = " ".join(str(error).replace(f'in "{path}", ', "at ").split())
        raise Invalid(f"{path} is not YAML: {words}", field="config") from None
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        raise Invalid(f"{path} must hold sections: {', '.join(_SECTIONS)}", field="config")
    return document


def _expanded(raw: Any, key: str, path: str, environ: Mapping[str, str]) -> Any:
    """`raw` with `${NAME}` replaced in every text in it."""

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise Invalid(f"{path}: {key}: ${{{name}}} is not a variable's name", field=key)
        if name not in environ:
            raise Invalid(f"{path}: {key}: the environment variable {name} is not set", field=key)
        return environ[name]

    if isinstance(raw, str):
        return re.sub(r"\$\{([^}]*)\}", fill, raw)
    if isinstance(raw, list):
        return [_expanded(item, f"{key}[{index}]", path, environ) for index, item in enumerate(raw)]
    if isinstance(raw, Mapping):
        return {name: _expanded(item, f"{key}.{name}", path, environ) for name, item in raw.items()}
    return raw


# --- checks -----------------------------------------------------------------------------------

_PARSERS: dict[str, Callable[[Any], Any]] = {
    "server.max_body": parse_size,
    "server.max_upload": parse_size,
    "server.shutdown_grace": parse_duration,
    "ollama.host": parse_ollama_host,
    "ollama.timeout": parse_duration,
    "queue.max_queue_bytes": parse_size,
    "retry_config.initial_delay": parse_duration,
    "retry_config.max_delay": parse_duration,
}


def _check_known(key: str, origin: str) -> None:
    if key in _NOT_YET:
        raise Invalid(f"{origin}: {key} is not supported yet: remove it", field=key)
    if key not in _TYPES and key != "backends":
        section = key.partition(".")[0]
        kin = [name for name in _TYPES if name.startswith(f"{section}.")]
        _refuse_unknown(key, origin, [*_TYPES, "backends"], kin or [*_SECTIONS, "backends"])


def _refuse_unknown(
    key: str, origin: str, known: Iterable[str], instead: Iterable[str]
) -> NoReturn:
    near = difflib.get_close_matches(key, list(known), 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(instead)}"
    raise Invalid(f"{origin}: {key} is not a setting: {hint}", field=key)


def _checked(key: str, value: _Value) -> Any:
    try:
        parser = _PARSERS.get(key)
        checked = parser(value.raw) if parser else _converted(value.raw, _TYPES[key])
    except Invalid as error:
        raise Invalid(f"{value.origin}: {key}: {error.message}", field=key) from None
    return os.path.expanduser(checked) if key == "queue.storage_path" else checked


def _checked_backends(value: _Value) -> list[dict[str, Any]]:
    if not isinstance(value.raw, list):
        raise Invalid(f"{value.origin}: backends must be a list", field="backends")
    return [
        _checked_backend(f"backends[{index}]", raw, value.origin)
        for index, raw in enumerate(value.raw)
    ]


def _checked_backend(where: str, raw: Any, origin: str) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        raise Invalid(f"{origin}: {where} must be a group with a name and a url", field=where)
    known = {f"{where}.{name}": kind for name, kind in _BACKEND.items()}
    checked = {}
    for name, item in raw.items():
        key = f"{where}.{name}"
        if key not in known:
            _refuse_unknown(key, origin, known, known)
        try:
            checked[name] = _converted(item, known[key])
        except Invalid as error:
            words = "must be a text, in quotes" if name == "api_key" else error.message
            raise Invalid(f"{origin}: {key}: {words}", field=key) from None
    for name in ("name", "url"):
        if name not in checked:
            raise Invalid(f"{origin}: {where}.{name} is missing", field=f"{where}.{name}")
    return checked


def _converted(raw: Any, kind: Any) -> Any:
    """`raw` as `kind`; a text that reads as a number is one, as the environment has only texts."""
    if get_origin(kind) is Literal and isinstance(raw, str):
        raw = raw.lower()
    try:
        return msgspec.convert(raw, kind, strict=False)
    except msgspec.ValidationError:
        raise Invalid(f"{shown(raw)} is not {_wanted(kind)}") from None


def _wanted(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    plain = next((part for part in get_args(kind) if part is not NoneType), kind)
    return {int: "a whole number", float: "a number", str: "a text"}[plain]


def _located(error: Invalid, values: Mapping[str, _Value], path: str | None) -> Invalid:
    """An error of the whole `Config`, with where its key was written."""
    field = error.field or ""
    value = values.get(field) or values.get(field.partition(".")[0])
    origin = value.origin if value else path
    return Invalid(f"{origin}: {error.message}" if origin else error.message, field=field)
