"""The WSGI app: the routes of all APIs, with shared encoding, checks and error handling."""

import logging
import math
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, cast

import bottle
from msgspec import Struct

from ...actors.base.cooperation import YieldControl, never_yield
from ...actors.core.model import limits
from ...actors.core.model.access_keys import Role
from ...actors.core.model.errors import Invalid, OutcomeUnknown, QueueError, Unavailable
from ...actors.embedded.auditing import Auditor
from .. import wire
from ..access.access_control import AccessControl
from ..access.scoped_queue import ScopedQueue
from ..dropin import anthropic, ollama, openai
from ..dropin.admin import add_admin_routes
from ..dropin.anthropic import add_anthropic_routes
from ..dropin.anthropic_batches import add_anthropic_batch_routes
from ..dropin.client_headers import name_request
from ..dropin.ollama import add_ollama_routes
from ..dropin.openai import add_openai_routes
from ..dropin.openai_batches import add_openai_batch_routes
from ..dropin.openai_files import add_file_routes
from ..dropin.openai_responses import add_response_routes
from ..dropin.queue_protocol import DropinQueue
from ..forwarding.passed_request import NOT_LEADING
from ..native.page_files import add_page_routes
from ..native.registration import NativeQueue, add_native_routes
from ..requests.exchange import EXCHANGE, Content, Exchange, enter, of_environ
from ..requests.origin import origin_of_request, trace_of_request
from ..requests.streaming import StreamingResponse
from ..routes import ROUTES
from . import cors
from .guard import Guard

if TYPE_CHECKING:
    from ...actors.embedded.manager import QueueManager

log = logging.getLogger("ollama_queue")

ANYBODY = Guard()  # any Host; no pages of other sites
_COLLECTIONS = {route.path.rpartition("/{")[0] for route in ROUTES if route.path.endswith("}")}
_ALWAYS = (("X-Content-Type-Options", "nosniff"),)
_ASKED = "ollama_queue.asked"  # environ key: the path as received
_PARAMETER = re.compile(r"<(\w+)>")

ResponseBody = bytes | StreamingResponse
Handle = Callable[..., Any]


class ServedQueue(DropinQueue, NativeQueue, Protocol):
    """The queue verbs that the routes call."""

    auditor: Auditor


class _Place(Struct, frozen=True):
    """What a route leads to. `anywhere` is that of `HttpRoute`."""

    handler: Handle
    role: Role | None
    anywhere: bool = False


class InternalError(QueueError):
    """A bug in the server, hit while answering a request."""

    code = "internal"


class QueueApp(bottle.Bottle):
    """The routes. `answer` finds most of them in a dict; for all others, and for other servers,
    it is a WSGI app that Bottle routes. Both ways a handler runs in `_respond`."""

    # Set once, by the server: Bottle lets no attribute of an app be set again.
    count_connections: Callable[[], dict[str, int]] = staticmethod(dict)
    has_lost_lead: Callable[[], bool] = staticmethod(bool)  # of one server among several

    def __init__(
        self,
        guard: Guard = ANYBODY,
        yield_control: YieldControl = never_yield,
        access: AccessControl | None = None,
    ) -> None:
        super().__init__()
        self.guard, self._yield_control = guard, yield_control
        self.access = AccessControl() if access is None else access
        self._exact: dict[tuple[str, str], _Place] = {}
        self._by_last: dict[tuple[str, str], tuple[str, _Place]] = {}
        self._by_middle: dict[tuple[str, str, str], tuple[str, _Place]] = {}
        self.config["json.enable"] = False
        self.install(_UnderBottle(self._respond))
        self.default_error_handler = _no_route
        self.add_hook("before_request", _find_path)

    def add_route(self, route: Any) -> None:
        super().add_route(route)
        if route.method == "HEAD":
            return  # Bottle sends a head without its body
        place = _Place(route.callback, role_of(route), route.config.get("anywhere", False))
        before, _, last = route.rule.rpartition("/")
        first, _, middle = before.rpartition("/")
        if "<" not in route.rule:
            self._exact[route.method, route.rule] = place
        elif "<" not in before and (parameter := _PARAMETER.fullmatch(last)):
            self._by_last[route.method, before] = parameter[1], place
        elif "<" not in first + last and (parameter := _PARAMETER.fullmatch(middle)):
            self._by_middle[route.method, first, last] = parameter[1], place

    def answer(self, exchange: Exchange) -> ResponseBody | None:
        """Answer a request to a path with one parameter at most, in its last two parts; None for
        any other request, which Bottle must route."""
        found = self._find(exchange)
        return None if found is None else self._respond(exchange, *found)

    def may_try(self, exchange: Exchange) -> bool:
        """Whether to try to answer without leading; if not, the leader must: it counts what the key
        asks for, or knows more keys, or has what is asked for in memory."""
        found = self._find(exchange)
        return found is not None and found[0].anywhere and self.access.may_answer(exchange)

    def try_to_answer(self, exchange: Exchange) -> ResponseBody | None:
        """Answer what `may_try` is true of; None if the leader must answer all the same, as nothing
        was done."""
        answer = self.answer(exchange)
        if exchange.status == HTTPStatus.SERVICE_UNAVAILABLE and not exchange.has_acted:
            exchange.begin_response()
            return None
        return answer

    def _find(self, exchange: Exchange) -> "tuple[_Place, dict[str, str]] | None":
        method, path = exchange.method, exchange.path
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact, {}
        before, _, last = path.rpartition("/")
        found, value = self._by_last.get((method, before)), last
        if found is None:
            first, _, value = before.rpartition("/")
            found = self._by_middle.get((method, first, last))
        if found is None or not (value and value.isascii()):
            return None
        name, place = found
        return place, {name: value}

    def refuse(self, exchange: Exchange, error: QueueError) -> bytes:
        """The body of an error, in the form of the route's API."""
        enter(exchange)
        return _encode_error(exchange, error)

    def headers(self, exchange: Exchange) -> list[tuple[str, str]]:
        """The headers of the response that `answer` returned, in Latin-1 as in WSGI."""
        own = [
            (name, value if value.isascii() else value.encode().decode("latin1"))
            for name, value in exchange.response_headers.items()
        ]
        return [*own, *_ALWAYS, *cors.headers(self.guard, exchange)]

    def wsgi(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        exchange = of_environ(environ, self._yield_control)
        always = [*_ALWAYS, *cors.headers(self.guard, exchange)]
        if cors.is_preflight(self.guard, exchange):
            start_response("204 No Content", [*always, *cors.permissions(exchange)])
            return []
        if not _is_utf8(environ["PATH_INFO"]):  # Bottle would drop the bytes that are not
            body = self._respond(exchange, _Place(_refuse_path, None), {})
            assert isinstance(body, bytes), "an error is not streamed"
            status = HTTPStatus(exchange.status)
            start_response(f"{status.value} {status.phrase}", self.headers(exchange))
            return [body]

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            return start_response(status, [*headers, *always], *error)

        answer: Iterable[bytes] = super().wsgi(environ, start)
        return answer

    def _respond(self, exchange: Exchange, place: "_Place", path: dict[str, str]) -> ResponseBody:
        """Encode what a handler returns; turn errors into the form of the route's API."""
        enter(exchange)
        try:
            self.guard.check(exchange)
            exchange.caller = self.access.admit(exchange, place.role)
            for name, value in path.items():
                limits.check_text(value, name)
            answer = place.handler(**path)
            if wire.is_openais(exchange.path):  # Anthropic's are there, too
                name_request()
            exchange.yield_control()
            if isinstance(answer, StreamingResponse):
                return answer
            encoded = answer.body if isinstance(answer, Content) else wire.encode(answer)
            exchange.yield_control()
            return encoded
        except QueueError as error:
            is_undone = isinstance(error, Unavailable) and not isinstance(error, OutcomeUnknown)
            if is_undone and not exchange.has_acted and self.has_lost_lead():
                exchange.set_header(NOT_LEADING, "1")
            return _encode_error(exchange, error)
        except Exception:
            log.exception("%s %s", exchange.method, exchange.path)
            message = "internal server error; see the server's log"
            return _encode_error(exchange, InternalError(message))


def _is_utf8(path: str) -> bool:
    """Whether the bytes of a path, each a character as in WSGI, are UTF-8."""
    if path.isascii():
        return True
    try:
        path.encode("latin1").decode()
    except UnicodeError:
        return False
    return True


def _refuse_path() -> None:
    raise Invalid("the path must be UTF-8", field="path")


class _UnderBottle:
    """A Bottle plugin: lets `respond` run the handler, and Bottle send the response."""

    def __init__(self, respond: Callable[[Exchange, _Place, dict[str, str]], ResponseBody]) -> None:
        self._respond = respond

    def apply(self, handler: Handle, route: bottle.Route) -> Handle:
        place = _Place(handler, role_of(route))

        def call(**path: str) -> ResponseBody:
            exchange: Exchange = bottle.request.environ[EXCHANGE]
            body = self._respond(exchange, place, path)
            bottle.response.status = exchange.status
            for name, value in exchange.response_headers.items():
                bottle.response.set_header(name, value)
            return body

        return call


def role_of(route: bottle.Route) -> Role | None:
    """The role that a route's requests need; None: nobody needs a key."""
    role: Role | None = route.config.get("role", Role.ADMIN)
    return role


def create_app(
    queue: "QueueManager",
    *,
    max_body: int = 32 << 20,
    max_upload: int = 256 << 20,
    max_file: int = 512 << 20,
    passes_admin: bool = False,
    guard: Guard = ANYBODY,
    access: AccessControl | None = None,
) -> QueueApp:
    """Create the app over a `QueueManager` or an equivalent.

    `max_body` limits a request body in bytes, `max_upload` that of a batch, `max_file` an uploaded
    file. `passes_admin`: requests that change models are passed on to the model servers. `guard`
    decides which requests are allowed, and which pages of other origins may read the responses;
    `access` what each API key allows, by default everything to everybody.
    """
    app = QueueApp(guard, queue.yield_control, access)
    queue.auditor.origin, queue.auditor.trace = origin_of_request, trace_of_request
    served = cast(ServedQueue, ScopedQueue(queue))  # handlers have no other way to the queue
    add_native_routes(app, served, max_body, max_upload, lambda: app.count_connections())
    add_ollama_routes(app, served, max_body)
    add_admin_routes(app, served, max_body, is_on=passes_admin)
    add_openai_routes(app, served, max_body)
    add_response_routes(app, served, max_body)
    add_file_routes(app, served, max_file)
    add_openai_batch_routes(app, served, max_body)
    add_anthropic_batch_routes(app, served, max_upload, max_body)
    add_anthropic_routes(app, served, max_body)
    add_page_routes(app)
    return app


def _encode_error(exchange: Exchange, error: QueueError) -> bytes:
    status = exchange.status = wire.status_of(error)
    if error.retry_after_s is not None or status in (429, 503):
        exchange.set_header("Retry-After", str(math.ceil(error.retry_after_s or 1)))
    if status == 401:
        exchange.set_header("WWW-Authenticate", "Bearer")
    if wire.is_anthropics(exchange.path, exchange.headers):
        return anthropic.encode_error(error)
    if wire.is_ollamas(exchange.path):
        return ollama.encode_error(error)
    if wire.is_openais(exchange.path):
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
        environ["PATH_INFO"] = environ[EXCHANGE].path = path


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
    exchange: Exchange = bottle.request.environ[EXCHANGE]
    if wire.is_anthropics(path, exchange.headers):
        enter(exchange)
        body = anthropic.encode_failure(response.status_code, message)
        for name, value in exchange.response_headers.items():
            response.set_header(name, value)
        return body
    if wire.is_ollamas(path):
        return wire.encode({"error": message})
    if wire.is_openais(path):
        return wire.encode(openai.error_body(response.status_code, message, code))
    return wire.encode({"error": {"code": code, "message": message}})
