"""Routes: what decides where a task may run, as a record and as text."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct
from msgspec.json import Encoder, decode

from ..model.model_names import RUNNER_OPTIONS, model_name

_ENCODER = Encoder(order="deterministic")
_RULES = " {"  # starts the rules in a route key
_EMBED = ' {"@embed":true}'


class Route(Struct, frozen=True):
    """What decides where a task may run. All backends treat tasks of one route alike.

    `runner` are the runner options as JSON; `backend` and `remote` are the task's restrictions.
    With `ollama_only`, only Ollama servers support it; with `hints`, other servers would get it
    without some options. `fallbacks` are the models that may run it in place of `model`, as the
    task spells them; None: those of the settings, if it is no embedding (`is_embed`). `given_up`
    are those of its models that failed for good.
    """

    model: str
    runner: str = ""
    backend: str | None = None
    remote: bool = False
    ollama_only: bool = False
    hints: bool = False
    is_embed: bool = False
    fallbacks: tuple[str, ...] | None = None
    given_up: tuple[str, ...] = ()


def route_key(
    model: str,
    options: Mapping[str, Any],
    *,
    backend: str | None = None,
    remote: bool = False,
    ollama_only: bool = False,
    hints: bool = False,
    is_embed: bool = False,
    fallbacks: Sequence[str] | None = None,
) -> str:
    """A task's `Route` as text, short for the most common ones; `read_route` parses it."""
    name = model_name(model)
    is_plain = not (options or backend or remote or ollama_only or hints or fallbacks is not None)
    if is_plain and _RULES not in name:
        return f"{name}{_EMBED}" if is_embed else name
    rules: dict[str, Any] = {name: options[name] for name in options.keys() & RUNNER_OPTIONS}
    placement = {"@backend": backend, "@remote": remote, "@ollama": ollama_only, "@hints": hints}
    placement["@embed"] = is_embed
    rules |= {name: value for name, value in placement.items() if value}
    if fallbacks is not None:
        rules["@else"] = fallbacks
    if _RULES in name:  # do not parse what a user wrote as rules
        rules, name = {"@model": name, **rules}, ""
    return _key(name, rules)


def _key(name: str, rules: Mapping[str, Any]) -> str:
    return f"{name} {_ENCODER.encode(rules).decode()}" if rules else name


def _split(key: str) -> tuple[str, dict[str, Any]]:
    name, brace, rest = key.partition(_RULES)
    return name, decode("{" + rest) if brace else {}


@lru_cache(maxsize=4096)
def read_route(key: str) -> Route:
    """Parse a route key."""
    model, rules = _split(key)
    model = model_name(model)  # an older store has names in their original spelling
    if not rules:
        return Route(model)
    backend, remote = rules.pop("@backend", None), rules.pop("@remote", False)
    only, hints = rules.pop("@ollama", False), rules.pop("@hints", False)
    is_embed, fallbacks = rules.pop("@embed", False), rules.pop("@else", None)
    others = None if fallbacks is None else tuple(fallbacks)
    gone = tuple(rules.pop("@gone", ()))
    model = rules.pop("@model", model)
    runner = _ENCODER.encode(rules).decode() if rules else ""
    return Route(model, runner, backend, remote, only, hints, is_embed, others, gone)


def give_up_model(key: str, model: str) -> str:
    """The key of the same route without one of its models."""
    name, rules = _split(key)
    return _key(name, {**rules, "@gone": [*rules.get("@gone", ()), model]})


def with_all_models(key: str) -> str:
    """The key of the same route with all of its models."""
    name, rules = _split(key)
    return key if rules.pop("@gone", None) is None else _key(name, rules)
