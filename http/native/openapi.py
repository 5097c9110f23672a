"""`/openapi.json`: documents all native routes, from the route table and the records."""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from inspect import cleandoc
from types import NoneType, UnionType
from typing import Any

import msgspec
from msgspec import Struct, inspect

from ollama_queue import __version__

from ...actors.core.intake.submission import PAYLOAD_FIELDS
from ...actors.core.model import limits
from ...actors.core.model.access_keys import KeyCreated
from ...actors.core.model.crons import CronAdded, TaskTemplate
from ...actors.core.model.errors import Forbidden, Invalid, QueueFull, Unauthorized, Unavailable
from ...actors.core.model.tasks import BatchSubmitted, Event, NewTask, Priority, Submitted
from .. import wire
from ..routes import ROUTES, HttpRoute, Parameter
from ..wire import ErrorBody, Json
from .answers import SHAPES

JSON = "application/json"
REF = "#/components/schemas/{name}"
ANYWHERE = (Invalid, Forbidden, Unavailable)  # errors that every route can return
WITH_KEYS = (Unauthorized, QueueFull)  # and those that need a key, on a server that has some
KEY = "key"  # the name of the way to send one
RETRY_AFTER = Parameter("Retry-After", int, "Seconds to wait before the next try.")
SAID = {
    400: "The request is invalid; `field` names what is wrong.",
    401: "The server has API keys, and the request has none that is valid.",
    403: "The request comes from a page of another site, names a foreign host, or its key does not "
    "allow it.",
    404: "Not found.",
    409: "Its state does not allow this, or the key was used for something else.",
    413: "The body is too large.",
    415: "The body's Content-Encoding is not supported.",
    429: "The queue is full, or the rate of the key is used up.",
    503: "The queue is unavailable.",
}

ID = {"type": "string", "minLength": 1, "maxLength": limits.NAME}

# The field of an answer that names what was made, and the start of the paths that take it.
MADE: dict[Any, tuple[str, str]] = {
    Submitted: ("task_id", "/api/tasks/{"),
    BatchSubmitted: ("batch_id", "/api/batches/{"),
    CronAdded: ("id", "/api/cron/{"),
    KeyCreated: ("name", "/api/keys/{"),
}


@cache
def document() -> msgspec.Raw:
    """The document, encoded."""
    return msgspec.Raw(msgspec.json.encode(build(ROUTES)))


def build(routes: Iterable[HttpRoute[Any]]) -> Json:
    """Build the document of these routes."""
    routes = tuple(routes)
    shapes = _Shapes(kind for route in routes for kind in _kinds_of(route))
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.public_path, {})[route.method.lower()] = _operation(route, shapes)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ollama Queue",
            "version": __version__,
            "description": "A durable priority queue in front of model servers. "
            "Times are RFC 3339, durations seconds.",
        },
        "servers": [{"url": "."}],  # relative: there may be a prefix
        "paths": paths,
        "components": {
            "schemas": shapes.components,
            "securitySchemes": {KEY: {"type": "http", "scheme": "bearer"}},
        },
        "security": [{KEY: []}, {}],  # a server without keys needs none
    }


# --- schemas ------------------------------------------------------------------------------------


def _kinds_of(route: HttpRoute[Any]) -> Iterator[Any]:
    kinds = (route.body, _answer_of(route), ErrorBody, Event)
    yield from (kind for kind in kinds if kind is not None)
    if isinstance(route.query, tuple):
        yield from (each.type for each in route.query)
    else:
        yield route.query
    yield from (each.type for each in (*route.headers, *route.sends, RETRY_AFTER))


def _answer_of(route: HttpRoute[Any]) -> Any:
    """The type of a route's response, None if it is empty."""
    return None if route.answer is NoneType else SHAPES.get(route.answer, route.answer)


class _Shapes:
    """The schemas of all types that routes use. `components` are the named ones."""

    def __init__(self, kinds: Iterable[Any]) -> None:
        self._kinds = list(dict.fromkeys(kinds))
        types = [part for kind in self._kinds for part in _parts(kind)]
        self._types = list(dict.fromkeys(types))
        schemas, self.components = msgspec.json.schema_components(self._types, ref_template=REF)
        self._schemas = dict(zip(self._types, schemas, strict=True))
        for component in self.components.values():
            if "description" in component:
                component["description"] = cleandoc(component["description"])
        _mark_times(self._types, self.components)
        for task in (NewTask, TaskTemplate):
            _allow_both_forms(self.components[task.__name__])

    def of(self, kind: Any) -> Json:
        schemas = [self._schemas[part] for part in _parts(kind)]
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def fields_of(self, kind: type[Struct]) -> Json:
        fields: Json = self.components[kind.__name__]["properties"]
        return fields


def _parts(kind: Any) -> tuple[Any, ...]:
    """The members of a union: msgspec makes no schema for a union that it cannot decode."""
    return kind.__args__ if isinstance(kind, UnionType) else (kind,)


def _mark_times(kinds: Iterable[Any], components: Json) -> None:
    """Set the format of times: msgspec does so only for those with a required time zone."""
    todo, seen = list(inspect.multi_type_info(kinds)), set[type]()
    while todo:
        info = todo.pop()
        if isinstance(info, inspect.StructType) and info.cls not in seen:
            seen.add(info.cls)
            schemas = components[info.cls.__name__]["properties"]
            for field in info.fields:
                if _holds_time(field.type):
                    _mark_time(schemas[field.encode_name])
            todo += [field.type for field in info.fields]
        todo += _inside(info)


def _holds_time(info: inspect.Type) -> bool:
    return isinstance(info, inspect.DateTimeType) or any(map(_holds_time, _inside(info)))


def _inside(info: inspect.Type) -> list[inspect.Type]:
    if isinstance(info, inspect.UnionType):
        return list(info.types)
    return [info.item_type] if isinstance(info, inspect.ListType) else []


def _mark_time(schema: Json) -> None:
    for part in (schema, schema.get("items", {}), *schema.get("anyOf", ())):
        if part.get("type") == "string":
            part["format"] = "date-time"


def _allow_both_forms(task: Json) -> None:
    """Document that a task's payload may be at its top level, and its priority be a name."""
    flat = sorted(frozenset().union(*PAYLOAD_FIELDS.values()))
    about = "As in `payload`, instead of it."
    task["properties"] |= {name: {"description": about} for name in flat}
    names = [level.name.lower() for level in Priority]
    number = {"type": "integer", "minimum": 1, "maximum": 15}
    task["properties"]["priority"] = {
        "anyOf": [number, {"enum": names}],
        "default": int(Priority.NORMAL),
    }


# --- operations ---------------------------------------------------------------------------------


def _operation(route: HttpRoute[Any], shapes: _Shapes) -> Json:
    operation: Json = {"operationId": route.operation, "summary": route.summary}
    if route.role is None:
        operation["security"] = []
    parameters = list(_parameters(route, shapes))
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        content: Json = {JSON: {"schema": shapes.of(route.body)}}
        if route.takes_lines:
            content[wire.NDJSON] = {"schema": {"type": "string"}}
        operation["requestBody"] = {"required": True, "content": content}
    operation["responses"] = _responses(route, shapes)
    return operation


def _parameters(route: HttpRoute[Any], shapes: _Shapes) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)}", route.public_path):
        yield {"name": name, "in": "path", "required": True, "schema": ID}
    if isinstance(route.query, tuple):
        yield from (_parameter(each, "query", shapes) for each in route.query)
    else:
        for name, schema in shapes.fields_of(route.query).items():
            yield {"name": name, "in": "query", "schema": _given(schema)}
    yield from (_parameter(each, "header", shapes) for each in route.headers)


def _parameter(each: Parameter, where: str, shapes: _Shapes) -> Json:
    return {
        "name": each.name,
        "in": where,
        "description": each.about,
        "schema": shapes.of(each.type),
    }


def _given(schema: Json) -> Json:
    """The schema in a query, which has no null: the parameter is left out instead."""
    if schema.get("default", ...) is None:
        schema = {name: value for name, value in schema.items() if name != "default"}
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    return schema if len(kinds) != 1 else kinds[0]


def _responses(route: HttpRoute[Any], shapes: _Shapes) -> Json:
    answer = _answer_of(route)
    content = {} if answer is None else {route.media: {"schema": shapes.of(answer)}}
    good: Json = {"description": route.summary}
    if content:
        good["content"] = content
    if route.sends:
        good["headers"] = _headers(route.sends, shapes)
    if route.answer in MADE:
        good["links"] = dict(_links(*MADE[route.answer]))
    responses: Json = {str(route.status): good}
    for status, description in route.also.items():
        is_good = status < 300
        responses[str(status)] = (
            {**good, "description": description} if is_good else _wrong(description, shapes)
        )
    errors = (*route.errors, *ANYWHERE, *(() if route.role is None else WITH_KEYS))
    for status in sorted({wire.STATUS_OF[error] for error in errors}):
        responses[str(status)] = _wrong(SAID[status], shapes)
        if status in (429, 503):
            responses[str(status)]["headers"] = _headers((RETRY_AFTER,), shapes)
    return responses


def _links(field: str, start: str) -> Iterator[tuple[str, Json]]:
    """The operations that take the id which an answer has in this field."""
    parameters = {"id": f"$response.body#/{field}"}
    for route in ROUTES:
        if route.path.startswith(start):
            yield route.operation, {"operationId": route.operation, "parameters": parameters}


def _wrong(description: str, shapes: _Shapes) -> Json:
    return {"description": description, "content": {JSON: {"schema": shapes.of(ErrorBody)}}}


def _headers(sends: Iterable[Parameter], shapes: _Shapes) -> Json:
    return {
        each.name: {"description": each.about, "schema": shapes.of(each.type)} for each in sends
    }
