"""The routes: each reads its input, calls one verb, and returns a record."""

import logging
import math
from collections.abc import Callable
from typing import Any, Protocol

import bottle
import msgspec

from ...actors.base.breathing import Breathe, as_threads_do
from ...actors.core.intake.submission import check_object, own_key
from ...actors.core.model import limits
from ...actors.core.model.errors import Invalid, QueueError
from .. import pagination, wire
from ..dropin import ollama, openai
from ..dropin.ollama import add_ollama_routes
from ..dropin.openai import add_openai_routes
from ..dropin.queue_protocol import Servers
from ..native import openapi
from ..native.batches import add_batch_routes
from ..native.bulk import add_bulk_routes
from ..native.crons import Crons, add_cron_routes
from ..native.feed import add_feed_routes
from ..native.page_files import add_page_routes
from ..native.shapes import StatusAnswer
from ..native.websocket_session import talk
from ..requests import reading
from ..requests.streaming import StreamingResponse
from .guard import Guard

log = logging.getLogger("ollama_queue")

ANYBODY = Guard()  # all Hosts, and pages of no other site
_COLLECTIONS = {wire.TASKS, wire.BATCHES, wire.CRONS}
_ASKED = "ollama_queue.asked"  # in the environ: the path as it came
READY = (StreamingResponse, bottle.HTTPResponse)  # what a route may return beside records


class ServedQueue(Servers, Crons, Protocol):
    """What all the routes together ask for."""


class Broken(QueueError):
    """A mistake of ours, found while answering a request."""

    code = "internal"


def create_app(
    queue: ServedQueue,
    *,
    max_body: int = 32 << 20,
    max_upload: int = 256 << 20,
    guard: Guard = ANYBODY,
) -> bottle.Bottle:
    """A WSGI app over a `QueueManager`, or what does the same.

    `max_body` (bytes) limits a request's body, `max_upload` that of a batch; `guard` says whose
    requests are taken.
    """
    app = bottle.Bottle()
    app.config["json.enable"] = False
    app.install(lambda callback: _speak_json(callback, guard, queue.breathe))
    app.default_error_handler = _no_route
    app.add_hook("before_request", _find_path)

    def submit() -> Any:
        body = reading.body(max_body)
        key = reading.header("Idempotency-Key")
        key = own_key(body) if key is None else key
        check_object(body)  # all else of it is checked once, where tasks are drafted
        submitted = queue.submit(body, idempotency_key=key)
        bottle.response.status = 201 if submitted.created else 200
        return {
            "task_id": submitted.task_id,
            "status": submitted.status,
            "position": submitted.position,
        }

    def get(task_id: str) -> Any:
        return queue.get_task(task_id, wait=reading.wait_parameter())

    def list_page() -> Any:
        wanted = reading.task_filter()
        page = queue.list_page(wanted)
        bottle.response.headers.update(pagination.headers_of(wanted, page))
        return page.tasks

    def priority(task_id: str) -> Any:
        body = reading.body(max_body)
        if not isinstance(body, dict) or set(body) != {"priority"}:
            raise Invalid('the body must be {"priority": …}', field="priority")
        return queue.update_task_priority(task_id, body["priority"])

    def status() -> Any:
        return StatusAnswer(**msgspec.structs.asdict(queue.get_queue_stats()))

    app.post(wire.TASKS, callback=submit)
    app.get(wire.TASKS, callback=list_page)
    app.get(f"{wire.TASKS}/<task_id>", callback=get)
    app.post(f"{wire.TASKS}/<task_id>/cancel", callback=queue.cancel_task)
    app.post(f"{wire.TASKS}/<task_id>/priority", callback=priority)
    app.post(f"{wire.TASKS}/<task_id>/retry", callback=queue.retry_task)
    app.delete(f"{wire.TASKS}/<task_id>", callback=queue.delete_task)
    add_bulk_routes(app, queue, max_body)
    add_batch_routes(app, queue, max_upload, max_body)
    add_cron_routes(app, queue, max_body)
    add_feed_routes(app, queue, talk)
    add_ollama_routes(app, queue, max_body)
    add_openai_routes(app, queue, max_body)
    add_page_routes(app)
    app.get([wire.STATUS, "/api/stats"], callback=status)
    app.get(wire.HISTORY, callback=queue.get_history)
    app.get(wire.BACKENDS, callback=queue.list_backends)
    app.post(f"{wire.BACKENDS}/<name>/drain", callback=queue.drain_backend)
    app.post(f"{wire.BACKENDS}/<name>/resume", callback=queue.resume_backend)
    app.post(wire.PAUSE, callback=lambda: _done(queue.pause))
    app.post(wire.RESUME, callback=lambda: _done(queue.resume))
    app.get(wire.OPENAPI, callback=openapi.document)
    app.get("/healthz", callback=lambda: {"status": "ok"})
    return app


# --- answers ------------------------------------------------------------------------------------


def _speak_json(
    callback: Callable[..., Any],
    guard: Guard = ANYBODY,
    breathe: Breathe = as_threads_do,
) -> Callable[..., Any]:
    """Encode what a route returns, and answer errors in one form."""

    def speak(*args: Any, **kwargs: Any) -> Any:
        bottle.response.content_type = "application/json"
        bottle.request.environ[reading.BREATHE] = breathe
        try:
            guard.check(bottle.request.environ)
            for name, value in kwargs.items():  # of the path
                limits.check_text(value, name)
            answer = callback(*args, **kwargs)
            breathe()
            return answer if isinstance(answer, READY) else wire.encode(answer)
        except QueueError as error:
            return _answer(error)
        except Exception:
            log.exception("%s %s", bottle.request.method, bottle.request.path)
            return _answer(Broken("the server has an error of its own; its log says more"))

    return speak


def _answer(error: QueueError) -> bytes:
    status = bottle.response.status = wire.status_of(error)
    if error.retry_after_s is not None or status in (429, 503):
        bottle.response.set_header("Retry-After", str(math.ceil(error.retry_after_s or 1)))
    if wire.is_ollamas(bottle.request.path):
        return ollama.encode_error(error)
    if wire.is_openais(bottle.request.path):
        return openai.encode_error(error)
    return wire.encode_error(error)


def _find_path() -> None:
    environ = bottle.request.environ
    asked = environ[_ASKED] = environ["PATH_INFO"]
    path = wire.tidy(asked)
    # Who asks for one thing, and has no id of it, shall not get all of them.
    if path not in _COLLECTIONS or environ["REQUEST_METHOD"] == "POST" or not asked.endswith("/"):
        environ["PATH_INFO"] = path


def _no_route(response: bottle.HTTPError) -> bytes:
    """Bottle's own answers (no such route, another method) in our form."""
    response.content_type = "application/json"
    method, path = bottle.request.method, bottle.request.path
    asked = bottle.request.environ[_ASKED]
    words = {
        404: f"there is no {asked}",
        405: f"{asked} does not take {method}",
    }
    code = {404: "not_found", 405: "method_not_allowed"}.get(response.status_code, "error")
    message = words.get(response.status_code, response.status_line)
    if wire.is_ollamas(path):
        return wire.encode({"error": message})
    if wire.is_openais(path):
        return wire.encode(openai.error_body(response.status_code, message, code))
    return wire.encode({"error": {"code": code, "message": message}})


def _done(verb: Callable[[], None]) -> dict[str, str]:
    verb()
    return {"status": "ok"}
