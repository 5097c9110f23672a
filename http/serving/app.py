"""The WSGI app: the routes of all APIs, with shared encoding, checks and error handling."""

import logging
import math
from collections.abc import Callable
from typing import Any, Protocol

import bottle

from ...actors.base.cooperation import YieldControl, never_yield
from ...actors.core.model import limits
from ...actors.core.model.errors import QueueError
from .. import wire
from ..dropin import ollama, openai
from ..dropin.ollama import add_ollama_routes
from ..dropin.openai import add_openai_routes
from ..dropin.queue_protocol import DropinQueue
from ..native.page_files import add_page_routes
from ..native.registration import NativeQueue, add_native_routes
from ..requests import reading
from ..requests.streaming import StreamingResponse
from ..routes import ROUTES
from .guard import Guard

log = logging.getLogger("ollama_queue")

ANYBODY = Guard()  # any Host; no pages of other sites
_COLLECTIONS = {route.path.rpartition("/{")[0] for route in ROUTES if route.path.endswith("}")}
_ASKED = "ollama_queue.asked"  # environ key: the path as received
READY = (StreamingResponse, bottle.HTTPResponse)  # what a route may return besides records


class ServedQueue(DropinQueue, NativeQueue, Protocol):
    """The queue verbs that the routes call."""


class InternalError(QueueError):
    """A bug in the server, hit while answering a request."""

    code = "internal"


def create_app(
    queue: ServedQueue,
    *,
    max_body: int = 32 << 20,
    max_upload: int = 256 << 20,
    guard: Guard = ANYBODY,
) -> bottle.Bottle:
    """Create a WSGI app over a `QueueManager` or an equivalent.

    `max_body` limits a request body in bytes, `max_upload` that of a batch; `guard` decides which
    requests are allowed.
    """
    app = bottle.Bottle()
    app.config["json.enable"] = False
    app.install(lambda callback: _speak_json(callback, guard, queue.yield_control))
    app.default_error_handler = _no_route
    app.add_hook("before_request", _find_path)

    add_native_routes(app, queue, max_body, max_upload)
    add_ollama_routes(app, queue, max_body)
    add_openai_routes(app, queue, max_body)
    add_page_routes(app)
    return app


# --- answers ------------------------------------------------------------------------------------


def _speak_json(
    callback: Callable[..., Any],
    guard: Guard = ANYBODY,
    yield_control: YieldControl = never_yield,
) -> Callable[..., Any]:
    """Encode what a route returns; turn errors into the common error form."""

    def speak(*args: Any, **kwargs: Any) -> Any:
        bottle.response.content_type = "application/json"
        bottle.request.environ[reading.YIELD_CONTROL] = yield_control
        try:
            guard.check(bottle.request.environ)
            for name, value in kwargs.items():  # from the path
                limits.check_text(value, name)
            answer = callback(*args, **kwargs)
            yield_control()
            return answer if isinstance(answer, READY) else wire.encode(answer)
        except QueueError as error:
            return _answer(error)
        except Exception:
            log.exception("%s %s", bottle.request.method, bottle.request.path)
            return _answer(InternalError("internal server error; see the server's log"))

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
    original_path = environ[_ASKED] = environ["PATH_INFO"]
    path = wire.tidy(original_path)
    # A request for one item with an empty id must not return the whole collection.
    if (
        path not in _COLLECTIONS
        or environ["REQUEST_METHOD"] == "POST"
        or not original_path.endswith("/")
    ):
        environ["PATH_INFO"] = path


def _no_route(response: bottle.HTTPError) -> bytes:
    """Convert Bottle's own errors (unknown route, wrong method) to our error form."""
    response.content_type = "application/json"
    method, path = bottle.request.method, bottle.request.path
    original_path = bottle.request.environ[_ASKED]
    explanation = {
        404: f"there is no {original_path}",
        405: f"{original_path} does not take {method}",
    }
    code = {404: "not_found", 405: "method_not_allowed"}.get(response.status_code, "error")
    message = explanation.get(response.status_code, response.status_line)
    if wire.is_ollamas(path):
        return wire.encode({"error": message})
    if wire.is_openais(path):
        return wire.encode(openai.error_body(response.status_code, message, code))
    return wire.encode({"error": {"code": code, "message": message}})
