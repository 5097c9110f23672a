"""Ollama's routes that change models: passed on to its servers if `proxy.admin` allows it."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from ...actors.core.model.errors import (
    Forbidden,
    Invalid,
    QueueError,
    Unavailable,
    unknown_backend,
    unknown_model,
)
from ...actors.core.model.stats import BackendState
from ...actors.core.routing.model_holders import best_first, holders
from .. import wire
from ..requests import reading
from ..requests.exchange import Content, Routes, current
from ..requests.streaming import StreamingResponse, on_disconnect
from ..wire import Json
from . import models
from .admin_progress import SUCCESS
from .forwarding import ForwardedToMany
from .queue_protocol import DropinQueue
from .queued_call import BACKEND

MOST_BLOB = 1 << 40  # bytes, which no model has
TAG = "tag:"
_DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")
_DONE = {"status": SUCCESS}


def add_admin_routes(app: Routes, queue: DropinQueue, max_body: int, *, is_on: bool) -> None:
    """Add the routes; `max_body` limits a JSON body in bytes. Unless `is_on`, all are refused."""

    def add(path: str, method: str, callback: Callable[..., Any]) -> None:
        verb = path.removeprefix("/api/").partition("/")[0]
        app.route(path, method=method, callback=callback if is_on else _refusal(verb))

    def streaming(path: str) -> Any:
        body = reading.json_object(max_body)
        model = _model(path, body)
        return _streamed(queue, path, body, _reached(queue, path, model))

    def changing(path: str, method: str) -> Any:
        body = reading.json_object(max_body)
        model = _model(path, body)
        return _changed(queue, path, method, body, _reached(queue, path, model))

    for path in (wire.PULL, wire.PUSH, wire.CREATE):
        add(path, "POST", lambda path=path: streaming(path))
    for path, method in ((wire.COPY, "POST"), (wire.DELETE, "DELETE")):
        add(path, method, lambda path=path, method=method: changing(path, method))
    for method in ("POST", "HEAD"):
        add(f"{wire.BLOBS}<digest>", method, lambda digest: _blob(queue, digest))


def _refusal(verb: str) -> Callable[..., Any]:
    def refuse(**_: str) -> None:
        raise Forbidden(
            f"the queue does not forward {verb}: set proxy.admin to true in its configuration, or "
            "run it against the model server itself, with its address in OLLAMA_HOST"
        )

    return refuse


# --- requests -----------------------------------------------------------------------------------


def _streamed(queue: DropinQueue, path: str, body: Json, names: tuple[str, ...]) -> Any:
    """The progress of all servers, line by line, or only its end without `stream`.

    The servers are always asked to stream: no byte would come before the end of a long download.
    """
    streams = reading.streams(body, default=True)
    calls = ForwardedToMany(queue, names, "POST", path, reports=True)
    forget = on_disconnect(calls.leave)

    def close() -> None:
        forget()
        calls.leave()

    def lines() -> Iterator[bytes]:
        for line in calls.lines():
            yield _line(line)
        if path != wire.PUSH:
            _probe(queue, names)  # tasks that wait for the model run before the client goes on
        calls.check()
        yield _line(_DONE)

    try:
        calls.begin(wire.encode({**body, "stream": True}))
        parts = lines()
        first = next(parts)
        if not streams:
            for _ in parts:
                pass
            close()
            return _DONE
    except BaseException:
        close()
        raise
    return StreamingResponse(_with_errors(first, parts), close, wire.NDJSON)


def _with_errors(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """The lines; an error behind the first one is a line too, as in Ollama."""
    yield first
    try:
        yield from rest
    except QueueError as error:
        yield _line({"error": error.message})


def _changed(
    queue: DropinQueue, path: str, method: str, body: Json, names: tuple[str, ...]
) -> Content:
    calls = ForwardedToMany(queue, names, method, path, reports=False)
    forget = on_disconnect(calls.leave)
    try:
        calls.begin(wire.encode(body))
        calls.wait()
    finally:
        forget()
    _probe(queue, names)
    if calls.statuses:  # others may have listed a model that was deleted since
        gone = [name for name, failed in calls.failures.items() if failed.status == 404]
        for name in gone:
            del calls.failures[name]
    calls.check()
    return Content(b"")


def _blob(queue: DropinQueue, digest: str) -> Content:
    """A file of a model: HEAD asks whether all servers have it, POST sends it to them."""
    if not _DIGEST.fullmatch(digest):
        raise Invalid("digest must be sha256: and 64 hexadecimal digits", field="digest")
    method, path = current().method, f"{wire.BLOBS}{digest}"
    calls = ForwardedToMany(queue, _reached(queue, path), method, path, reports=False)
    forget = on_disconnect(calls.leave)
    try:
        if method == "HEAD":
            calls.begin(b"")
            calls.wait()
        else:
            calls.send(reading.passing_pieces(MOST_BLOB))
    finally:
        forget()
    calls.check()
    current().status = max(calls.statuses.values())
    return Content(b"")


def _line(value: Json) -> bytes:
    return wire.encode(value) + b"\n"


def _probe(queue: DropinQueue, names: tuple[str, ...]) -> None:
    with suppress(Unavailable):  # the queue stops or restarts: it will probe anyway
        queue.probe_backends(names)


def _model(path: str, body: Json) -> str:
    """The model that a request is about. Raises `Invalid`."""
    if path != wire.COPY:
        return models.model_in(body, "model", "name")
    source = models.model_in(body, "source")
    models.model_in(body, "destination")
    return source


# --- servers ------------------------------------------------------------------------------------


def _reached(queue: DropinQueue, path: str, model: str = "") -> tuple[str, ...]:
    """The servers that a request goes to: those that its header names, else all that it concerns.

    A push goes to one that has the model, copy and delete to all that have it, others to all.
    """
    chosen = _named(queue.list_backends())
    if not chosen:
        chosen = _ollamas(queue.list_backends())
        if path in (wire.PUSH, wire.COPY, wire.DELETE):
            chosen = _having(queue, chosen, model)
        if path == wire.PUSH:
            chosen = best_first(chosen, model)[:1]
    names = tuple(each.name for each in chosen)
    current().set_header(BACKEND, ", ".join(names))
    return names


def _having(queue: DropinQueue, chosen: list[BackendState], model: str) -> list[BackendState]:
    having = holders(chosen, model)
    if not having:
        queue.probe_backends()
        having = holders(_ollamas(queue.list_backends()), model)
    if not having:
        raise unknown_model(model)
    return having


def _ollamas(backends: list[BackendState]) -> list[BackendState]:
    """All Ollama servers, healthy or not: leaving one out would leave it behind the others."""
    chosen = [each for each in backends if each.type == "ollama"]
    if not chosen:
        raise Invalid("no backend is of type ollama, and only Ollama has this route")
    return chosen


def _named(backends: list[BackendState]) -> list[BackendState]:
    """The servers in the request's header, names or tags separated by commas; none without it.

    Raises `Invalid` for one that is unknown or no Ollama.
    """
    header = reading.header(BACKEND)
    if header is None:
        return []
    chosen: dict[str, BackendState] = {}
    for part in header.split(","):
        word = part.strip()
        found = [
            each
            for each in backends
            if each.name == word or (word.startswith(TAG) and word[len(TAG) :] in each.tags)
        ]
        if not found:
            error = unknown_backend(word, (each.name for each in backends))
            raise Invalid(f"{BACKEND}: {error.message}", field=BACKEND)
        chosen |= {each.name: each for each in found}
    for each in chosen.values():
        if each.type != "ollama":
            message = f"{each.name} is of type {each.type}: only Ollama has this route"
            raise Invalid(f"{BACKEND}: {message}", field=BACKEND)
    return list(chosen.values())
