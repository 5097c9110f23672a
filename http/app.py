"""The routes: each reads its input, calls one verb, and returns a record."""

import logging
import math
from collections.abc import Callable
from typing import Any

import bottle
import msgspec

from ollama_queue.actors.api import QueueAPI
from ollama_queue.actors.core.errors import Invalid, QueueError
from ollama_queue.actors.core.records import Status, TaskFilter
from ollama_queue.actors.core.submission import new_task
from ollama_queue.http import guard, wire

log = logging.getLogger("ollama_queue")
_STATUSES = ", ".join(Status)


class Broken(QueueError):
    """A mistake of ours, found while answering a request."""

    code = "internal"


def create_app(
    queue: QueueAPI, *, max_body: int = 32 << 20, loopback_only: bool = False
) -> bottle.Bottle:
    """A WSGI app over any `QueueAPI`.

    `max_body` (bytes) limits a request's body; with `loopback_only` other Hosts are refused.
    """
    app = bottle.Bottle()
    app.config["json.enable"] = False
    app.install(lambda callback: _speak_json(callback, loopback_only))
    app.default_error_handler = _no_route

    def submit() -> Any:
        key = bottle.request.get_header("Idempotency-Key")
        submitted = queue.submit(new_task(_body(max_body)), idempotency_key=key)
        bottle.response.status = 201 if submitted.created else 200
        return {
            "task_id": submitted.task_id,
            "status": submitted.status,
            "position": submitted.position,
        }

    def get(task_id: str) -> Any:
        wait = _query({"wait"}).get("wait")
        return queue.get_task(task_id, wait=_seconds(wait[0]) if wait else None)

    def priority(task_id: str) -> Any:
        body = _body(max_body)
        if not isinstance(body, dict) or set(body) != {"priority"}:
            raise Invalid('the body must be {"priority": …}', field="priority")
        return queue.update_task_priority(task_id, body["priority"])

    app.post(wire.TASKS, callback=submit)
    app.get(wire.TASKS, callback=lambda: queue.list_tasks(_filter()))
    app.get(f"{wire.TASKS}/<task_id>", callback=get)
    app.post(f"{wire.TASKS}/<task_id>/cancel", callback=queue.cancel_task)
    app.post(f"{wire.TASKS}/<task_id>/priority", callback=priority)
    app.post(f"{wire.TASKS}/<task_id>/retry", callback=queue.retry_task)
    app.delete(f"{wire.TASKS}/<task_id>", callback=queue.delete_task)
    app.get([wire.STATUS, "/api/stats"], callback=queue.get_queue_stats)
    app.post(wire.PAUSE, callback=lambda: _done(queue.pause))
    app.post(wire.RESUME, callback=lambda: _done(queue.resume))
    app.get("/healthz", callback=lambda: {"status": "ok"})
    return app


# --- answers ------------------------------------------------------------------------------------


def _speak_json(callback: Callable[..., Any], loopback_only: bool) -> Callable[..., bytes]:
    """Encode what a route returns, and answer errors in one form."""

    def speak(*args: Any, **kwargs: Any) -> bytes:
        bottle.response.content_type = "application/json"
        try:
            guard.check(bottle.request.environ, loopback_only=loopback_only)
            return wire.encode(callback(*args, **kwargs))
        except QueueError as error:
            return _answer(error)
        except Exception:
            log.exception("%s %s", bottle.request.method, bottle.request.path)
            return _answer(Broken("the server has an error of its own; its log says more"))

    return speak


def _answer(error: QueueError) -> bytes:
    status = bottle.response.status = wire.STATUS_OF.get(type(error), 500)
    if error.retry_after_s is not None or status in (429, 503):
        bottle.response.set_header("Retry-After", str(math.ceil(error.retry_after_s or 1)))
    return wire.encode_error(error)


def _no_route(response: bottle.HTTPError) -> bytes:
    """Bottle's own answers (no such route, another method) in our form."""
    response.content_type = "application/json"
    method, path = bottle.request.method, bottle.request.path
    words = {
        404: f"there is no {path}",
        405: f"{path} does not take {method}",
    }
    code = {404: "not_found", 405: "method_not_allowed"}.get(response.status_code, "error")
    message = words.get(response.status_code, response.status_line)
    return wire.encode({"error": {"code": code, "message": message}})


def _done(verb: Callable[[], None]) -> dict[str, str]:
    verb()
    return {"status": "ok"}


# --- input --------------------------------------------------------------------------------------


def _body(limit: int) -> Any:
    """The request's JSON. Raises `TooLarge` before reading, `Invalid` for what is not JSON."""
    length = bottle.request.content_length
    raw = b""
    if length <= limit:
        raw = bottle.request.environ["wsgi.input"].read(limit + 1 if length < 0 else length)
    if max(length, len(raw)) > limit:
        raise wire.TooLarge(f"the body is larger than {limit} bytes (server.max_body)")
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"the body must be JSON: {error}", field="body") from None
    except RecursionError:
        raise Invalid("the body is nested too deeply", field="body") from None


def _query(known: set[str]) -> dict[str, list[str]]:
    """The query's parameters. Raises `Invalid` for one that the route does not know."""
    given: dict[str, list[str]] = bottle.request.query.dict
    for name in given:
        if name not in known:
            wanted = ", ".join(sorted(known))
            raise Invalid(f"{name} is not a parameter here; known are {wanted}", field=name)
    return given


def _filter() -> TaskFilter:
    given = _query({"status", "limit", "offset"})
    try:
        status = [Status(value) for value in given.get("status", [])]
    except ValueError:
        raise Invalid(f"status must be one of {_STATUSES}", field="status") from None
    return TaskFilter(
        status=status,
        limit=_whole(given, "limit", 100),
        offset=_whole(given, "offset", 0),
    )


def _whole(given: dict[str, list[str]], name: str, default: int) -> int:
    text = given.get(name, [str(default)])[-1]
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise Invalid(f"{name} must be a whole number", field=name)
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= wire.LONGEST_WAIT_S:
        limit = f"{wire.LONGEST_WAIT_S:g}"
        raise Invalid(f"wait must be seconds from 0 to {limit}", field="wait")
    return seconds
