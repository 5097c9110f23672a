"""CORS: lets pages of allowed origins use the server from a browser."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from .guard import Guard

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
METHODS = "GET, POST, PUT, DELETE"
# Response headers exposed to pages, besides the CORS-safelisted ones.
SHOWN = (
    "Link, X-Total-Count, Retry-After, "
    "X-Queue-Task-Id, X-Queue-Wait-Ms, X-Queue-Backend, X-Queue-Ignored"
)
REMEMBER_S = 600
_NAMES = re.compile(r"[\w!#$%&'*+.^`|~, -]*", re.ASCII)  # only lists of names are echoed


class CrossOrigin:
    """WSGI middleware that tells browsers which origins may read the responses."""

    def __init__(self, app: App, guard: Guard) -> None:
        self._app, self._guard = app, guard

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        origin = environ.get("HTTP_ORIGIN")
        allowed = [("Vary", "Origin")]
        if origin is not None and self._guard.is_friend(origin, environ["PATH_INFO"]):
            allowed += [
                ("Access-Control-Allow-Origin", origin),
                ("Access-Control-Expose-Headers", SHOWN),
            ]
            if _is_preflight(environ):
                start_response("204 No Content", [*allowed, *_what_it_may(environ)])
                return []

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            return start_response(status, [*headers, *allowed], *error)

        return self._app(environ, start)


def _is_preflight(environ: dict[str, Any]) -> bool:
    """Whether this is a CORS preflight request."""
    asks = "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    return asks and environ["REQUEST_METHOD"] == "OPTIONS"


def _what_it_may(environ: dict[str, Any]) -> list[tuple[str, str]]:
    """The preflight's response headers. Any requested header is allowed: the origin is trusted."""
    headers = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
    if not _NAMES.fullmatch(headers):
        headers = ""
    return [
        ("Access-Control-Allow-Methods", METHODS),
        ("Access-Control-Allow-Headers", headers),
        ("Access-Control-Max-Age", str(REMEMBER_S)),
    ]
