"""CORS: lets pages of allowed origins use the server from a browser."""

import re

from ..requests.exchange import Exchange
from .guard import Guard

METHODS = "GET, POST, PUT, DELETE"
# Response headers exposed to pages, besides the CORS-safelisted ones.
SHOWN = (
    "Link, X-Total-Count, Retry-After, "
    "X-Queue-Task-Id, X-Queue-Wait-Ms, X-Queue-Backend, X-Queue-Model, "
    "X-Queue-Ignored"
)
REMEMBER_S = 600
_NAMES = re.compile(r"[\w!#$%&'*+.^`|~, -]*", re.ASCII)  # only lists of names are echoed

CorsHeaders = tuple[tuple[str, str], ...]
_NOBODY: CorsHeaders = (("Vary", "Origin"),)


def headers(guard: Guard, exchange: Exchange) -> CorsHeaders:
    """The headers of a response that tell browsers which origin may read it."""
    origin = exchange.headers.get("origin")
    if origin is None or not guard.is_friend(origin, exchange.path):
        return _NOBODY
    allowed = (("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", SHOWN))
    return _NOBODY + allowed


def is_preflight(guard: Guard, exchange: Exchange) -> bool:
    """Whether this is a CORS preflight request of an allowed origin."""
    asks = "access-control-request-method" in exchange.headers
    return asks and exchange.method == "OPTIONS" and headers(guard, exchange) is not _NOBODY


def permissions(exchange: Exchange) -> CorsHeaders:
    """The preflight's response headers. Any requested header is allowed: the origin is trusted."""
    names = exchange.headers.get("access-control-request-headers", "")
    return (
        ("Access-Control-Allow-Methods", METHODS),
        ("Access-Control-Allow-Headers", names if _NAMES.fullmatch(names) else ""),
        ("Access-Control-Max-Age", str(REMEMBER_S)),
    )
