"""A request, and the head of its response: what a handler reads and sets, whoever called it.

The server's own loop and Bottle (for any WSGI server) both make an `Exchange`, so a handler is
written once. `current()` returns that of the request being handled.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol
from urllib.parse import unquote_plus

from msgspec import Struct

from ...actors.base.cooperation import YieldControl, never_yield
from ...actors.core.access.keys import NOBODY, Grant
from ...actors.core.model.access_keys import Role
from ...actors.core.model.errors import Invalid, OutcomeUnknown, Unavailable

EXCHANGE = "ollama_queue.exchange"  # environ key
JSON = "application/json"

OnDisconnect = Callable[[Callable[[], None]], Callable[[], None]]


class BodyStream(Protocol):
    """A request body that is read as it arrives, such as `wsgi.input`."""

    def read(self, size: int, /) -> bytes: ...


class Content(Struct, frozen=True):
    """A response body that is sent as it is; the handler sets its Content-Type."""

    body: bytes


class Routes(Protocol):
    """Where handlers are registered. `path` is in Bottle's syntax, `method` one or several.

    `role` is what a request's API key must have; None: nobody needs a key. A route that does not
    say is for admins only. `anywhere` is that of `HttpRoute`.
    """

    def route(
        self,
        path: str,
        method: Any,
        callback: Callable[..., Any],
        *,
        role: Role | None = Role.ADMIN,
        anywhere: bool = False,
    ) -> Any: ...

    def get(
        self,
        path: str,
        *,
        callback: Callable[..., Any],
        role: Role | None = Role.ADMIN,
        anywhere: bool = False,
    ) -> Any: ...

    def post(
        self,
        path: str,
        *,
        callback: Callable[..., Any],
        role: Role | None = Role.ADMIN,
        anywhere: bool = False,
    ) -> Any: ...


class Exchange:
    """One request, with the status and headers that its response will have.

    `headers` are the request's, by lower-case name, in Latin-1 as they were received. `path` is
    decoded, `query` is not. `websocket` is the open WebSocket of an upgraded connection. `caller`
    is what the request's API key allows; `address` is the client's, "" if unknown. `cut_off` ends
    the request from another greenlet, whatever it is doing; None if the server cannot.
    `has_acted`: it may have changed something, so that no other server may carry it out, too.

    `send_now`, where the server has it, sends a further piece of a streaming response without
    waiting, while its iterator waits for something to send. It returns False if not all of it
    could be sent: the iterator must then yield something, if only `b""`, and the rest goes first.
    """

    __slots__ = (
        "address",
        "caller",
        "cut_off",
        "has_acted",
        "headers",
        "method",
        "on_disconnect",
        "path",
        "query",
        "response_headers",
        "send_now",
        "status",
        "stream",
        "websocket",
        "yield_control",
    )

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        stream: BodyStream,
        *,
        yield_control: YieldControl = never_yield,
        on_disconnect: OnDisconnect | None = None,
        address: str = "",
        cut_off: Callable[[], None] | None = None,
    ) -> None:
        self.method, self.path, self.query = method, path, query
        self.headers, self.stream = headers, stream
        self.yield_control, self.on_disconnect = yield_control, on_disconnect
        self.address, self.cut_off = address, cut_off
        self.caller: Grant = NOBODY
        self.has_acted = False
        self.websocket: Any = None
        self.send_now: Callable[[bytes], bool] | None = None
        self.begin_response()

    def begin_response(self) -> None:
        """Forget what was set of a response."""
        self.status = 200
        self.response_headers = {"Content-Type": JSON}

    def set_header(self, name: str, value: str) -> None:
        """Set a header of the response. Sent as UTF-8."""
        self.response_headers[name] = value

    def header(self, name: str) -> str | None:
        """A header of the request, or None if not sent. Raises `Invalid` if it is not UTF-8."""
        value = self.headers.get(name.lower())
        if value is None or value.isascii():
            return value
        try:
            return value.encode("latin1").decode()
        except UnicodeError:
            raise Invalid(f"{name} must be UTF-8", field=name) from None

    @property
    def content_length(self) -> int | None:
        """The length of the body in bytes, None if not given."""
        length = self.headers.get("content-length", "")
        return int(length) if length.isascii() and length.isdigit() else None

    @property
    def content_type(self) -> str:
        """The media type of the body, in lower case and without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def parameters(self) -> dict[str, list[str]]:
        """The query's parameters, decoded as Latin-1."""
        parameters: dict[str, list[str]] = {}
        for pair in self.query.split("&"):
            if pair:
                name, _, value = pair.partition("=")
                values = parameters.setdefault(unquote_plus(name, "latin1"), [])
                values.append(unquote_plus(value, "latin1"))
        return parameters


def of_environ(environ: dict[str, Any], yield_control: YieldControl = never_yield) -> Exchange:
    """The exchange of a WSGI request: the server's own, or for other servers one made from it."""
    exchange: Exchange | None = environ.get(EXCHANGE)
    if exchange is None:
        headers = {
            name[5:].replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            if environ.get(name):
                headers[name.replace("_", "-").lower()] = environ[name]
        exchange = environ[EXCHANGE] = Exchange(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ.get("QUERY_STRING", ""),
            headers,
            environ["wsgi.input"],
            yield_control=yield_control,
            address=environ.get("REMOTE_ADDR", ""),
        )
    return exchange


_current: ContextVar[Exchange] = ContextVar("exchange")
current = _current.get  # the exchange being handled in this greenlet or thread
enter = _current.set


@contextmanager
def acting() -> Iterator[None]:
    """Note that the current request has acted, unless it is certain that nothing was done."""
    exchange = current()
    exchange.has_acted = True
    try:
        yield
    except Unavailable as error:
        exchange.has_acted = isinstance(error, OutcomeUnknown)
        raise
