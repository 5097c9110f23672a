"""Combines a YAML file, the environment and flags into a `Config`; explains errors in one line."""

import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from ..core.config.config import Config, Path
from ..core.model.errors import Invalid
from . import yaml_file
from .notation import unquoted
from .value_types import KEYS, check_known, checked, is_list, is_table, plain

_PREFIX = {"retry_config": "RETRY", "logging": "LOG"}
FLAGS = "command line"  # its name in errors


def _variable(key: str) -> str:
    section, _, name = key.partition(".")
    return f"{_PREFIX.get(section, section.upper())}_{name.upper()}"


ENVIRONMENT = {
    _variable(key): key
    for key, kind in KEYS.items()
    if kind == list[str] or not (is_list(kind) or is_table(kind))
}
"""The key that each environment variable sets; lists of text are separated by commas."""


class Loaded(NamedTuple):
    """Settings, and the origin of each that is not a default.

    `origins` maps keys such as `server.port` and `backends[0].url` to a path,
    `environment variable NAME` or `command line`.
    """

    config: Config
    origins: dict[str, str]


def load(path: str | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Config:
    """Load the settings: flags beat environment beats file beats defaults.

    With `path` None, no file is read. `flags` maps keys such as `server.port` to values, None for
    a flag that is not set; an empty environment variable counts as unset. Raises `Invalid`.
    """
    return trace(path, environ, flags).config


def trace(path: str | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Loaded:
    """Load the settings together with their origins. Raises `Invalid`."""
    raw_values = {key: (raw, origin) for key, raw, origin in _given(path, environ, flags)}
    origins: dict[str, str] = {}
    sections: dict[str, Any] = {}
    for key, (raw, origin) in raw_values.items():
        value = checked(key, raw, KEYS[key], origin)
        section, _, name = key.rpartition(".")
        group = sections.setdefault(section, {}) if section else sections
        group[name] = value
        origins |= dict.fromkeys(_places(key, value), origin)
    _check_one_place(sections.get("queue", {}), origins)
    try:
        return Loaded(msgspec.convert(sections, Config), origins)
    except Invalid as error:
        field = error.field or ""
        at = origins.get(field) or origins.get(field.rpartition("[")[0]) or path
        raise Invalid(f"{at}: {error.message}" if at else error.message, field=field) from None


def _check_one_place(queue: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    """Raise `Invalid` if both a folder and a PostgreSQL are named: one would be ignored."""
    if queue.get("storage") is not None and "storage_path" in queue:
        here, there = origins["queue.storage"], origins["queue.storage_path"]
        at = here if here == there else f"{here} and {there}"
        raise Invalid(
            f"{at}: queue.storage (a PostgreSQL) and queue.storage_path (a folder) exclude each "
            "other: set one of them",
            field="queue.storage",
        )


def anchored(config: Config) -> Config:
    """The same settings with absolute paths.

    Called once when a queue is opened: changing the working folder later does not move it.
    """
    sections = {}
    for section in msgspec.structs.fields(Config):
        struct = getattr(config, section.name)
        if isinstance(struct, msgspec.Struct):
            paths = {
                field.name: os.path.abspath(path)
                for field in msgspec.structs.fields(struct)
                if plain(field.type) is Path and (path := getattr(struct, field.name)) is not None
            }
            sections[section.name] = msgspec.structs.replace(struct, **paths)
    return msgspec.structs.replace(config, **sections)


def _given(
    path: str | None, environ: Mapping[str, str], flags: Mapping[str, Any]
) -> Iterator[tuple[str, Any, str]]:
    """Each key that is set, its raw value and its origin; the last value of a key counts."""
    if path is not None:
        for key, raw in yaml_file.read(path, environ).items():
            yield key, raw, path
    for variable, key in ENVIRONMENT.items():
        text = unquoted(environ.get(variable, ""))
        if text:
            yield key, _read(text, KEYS[key]), f"environment variable {variable}"
    for key, raw in flags.items():
        if raw is not None:
            check_known(key, FLAGS)
            yield key, raw, FLAGS


def _read(text: str, kind: Any) -> Any:
    if not is_list(kind):
        return text
    return [each for part in text.split(",") if (each := unquoted(part))]


def _places(key: str, value: Any) -> Iterator[str]:
    yield key
    items = {f"{key}[{n}]": item for n, item in enumerate(value)} if type(value) is list else {}
    if type(value) is dict:
        items = {f"{key}.{name}": item for name, item in value.items()}
    for where, item in items.items():
        for name in item if isinstance(item, dict) else ():
            yield f"{where}.{name}"
