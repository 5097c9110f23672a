"""Output of `--check-config`: the effective settings as YAML, each with its origin; and whether
others can read the secrets of the file they are from."""

import json
import os
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ...actors.core.config.config import Database, OllamaHost, Seconds, Secret, Size, Url
from ...actors.core.config.urls import shown
from ...actors.settings.notation import write_duration, write_size
from ...actors.settings.settings import Loaded
from ...actors.settings.value_types import is_list, is_table, plain

HIDDEN = "***"  # not valid YAML, so a file that still contains it is rejected
COMMENT_AT = 44


def listing(loaded: Loaded) -> str:
    """A configuration file equivalent to `loaded`, with secrets hidden."""
    lines = list(_section("", loaded.config, "", loaded.origins))
    return "".join(f"{line}\n" for line in lines)


def readable_secrets(path: str, loaded: Loaded) -> str | None:
    """A warning if other users can read the file at `path` and it contains secrets, rather than
    the names of variables that have them."""
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if not mode & (stat.S_IRGRP | stat.S_IROTH):
        return None
    text = Path(path).read_text(encoding="utf-8")
    if not any(secret in text for secret in _secrets(loaded.config)):
        return None
    return f"{path} has keys or passwords, and other users can read it ({mode:04o}): chmod 600 it"


def _secrets(value: Any, kind: Any = None) -> Iterator[str]:
    """The secrets in settings, none of them empty."""
    if isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(value):
            if field.name != "sha256":  # from which no key can be computed
                yield from _secrets(getattr(value, field.name), plain(field.type))
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _secrets(item)
    elif kind == Secret:
        yield from filter(None, [value])
    elif kind in (Url, OllamaHost):
        yield from filter(None, [urlsplit(value).password])


def _section(before: str, group: Any, indent: str, origins: dict[str, str]) -> Iterator[str]:
    """The lines of a group of settings, whose keys start with `before`."""
    for field in msgspec.structs.fields(group):
        key, value = f"{before}{field.name}", getattr(group, field.name)
        name, origin = f"{indent}{field.name}", origins.get(key, "default")
        if isinstance(value, msgspec.Struct):
            yield f"{name}:"
            yield from _section(f"{key}.", value, f"{indent}  ", origins)
        elif is_list(field.type) and value and isinstance(value[0], msgspec.Struct):
            yield _commented(f"{name}:", origin)
            for index, item in enumerate(value):
                yield from _item(f"{key}[{index}].", item, f"{indent}  ", origins)
        elif is_table(field.type) and value:
            yield _commented(f"{name}:", origin)
            for own, item in value.items():
                yield f"{indent}  {_text(own)}:"
                yield from _section(f"{key}.{own}.", item, f"{indent}    ", origins)
        else:
            yield _commented(f"{name}: {_written(value, plain(field.type))}", origin)


def _item(before: str, group: Any, indent: str, origins: dict[str, str]) -> Iterator[str]:
    lines = list(_section(before, group, f"{indent}  ", origins))
    yield f"{indent}- {lines[0].lstrip()}"
    yield from lines[1:]


def _commented(line: str, origin: str) -> str:
    return f"{line:<{COMMENT_AT}}  # {' '.join(origin.split())}"


def _written(value: Any, kind: Any) -> str:
    """The value as YAML."""
    if value is None:
        return "null"
    if kind == Seconds:
        return write_duration(value)
    if kind == Size:
        return write_size(value)
    if kind == Secret and value:
        return HIDDEN
    if kind in (Url, OllamaHost, Database):
        value = shown(value, HIDDEN)
    if isinstance(value, datetime):
        return value.isoformat()
    return _text(str(value)) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(text: str) -> str:
    import yaml  # lazy: not needed without a configuration file

    dumped: str = yaml.safe_dump(text, width=float("inf"), allow_unicode=True)
    return text if dumped.startswith(f"{text}\n") else json.dumps(text, ensure_ascii=False)
